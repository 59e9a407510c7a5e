"""Trees of processes under one budget: outputs as without it, and a hard limit around all of them that nobody runs into."""

import json
import os
import threading

import cage
import jobs

MIB = 1 << 20
SLACK = 8 * MIB
# Page tables and task structures of processes that have ended, until the kernel frees them: up to a second on a busy machine.
OF_THE_DEAD = 96 * MIB


def same(suite, argv, ram_mib, timeout=60, slack=SLACK, **more):
    native = cage.run(argv, timeout, **more)
    got = suite.limited(lambda prefix: list(prefix) + argv, ram_mib * MIB, slack, timeout, **more)
    return ["%s; %s" % (p, got.stderr[-400:]) for p in suite.problems(native, got)]


def preforking_server(suite):
    """A server with a hundred children: what they share counts once."""
    # 72 MiB in all by itself, of which 40 are shared: counted in each child they would be 4 GiB.
    stats = os.path.join(suite.work, "stats.json")
    argv = [suite.tool("prefork"), "100", "24", "16", "128"]
    native = cage.run(argv, 60)
    got = suite.limited(lambda prefix: list(prefix) + argv, 96 * MIB, SLACK, 60, ["--stats", stats])
    problems = suite.problems(native, got)
    if problems:
        return problems
    with open(stats, encoding="utf-8") as f:
        peak = json.load(f)["peak"]["total_bytes"]
    # Looked at one after the other, while processes come and go: what is shared may be in it a few times, not a hundred.
    if not 48 * MIB < peak < 4 * 72 * MIB:
        problems.append("the summary's peak is %.1f MiB, that of the cgroup %.1f" % (peak / MIB, got.peak / MIB))
    return problems


def heirs_of_much(suite):
    """Three children change all that their parent has, which is most of the budget."""
    # Their engines begin when nearly nothing is free, and each takes its first pages only when another has given them; and each page that
    # the kernel copies for them is one of their frames: not even half the slack.
    return (same(suite, [suite.tool("prefork"), "3", "1", "48", "45000"], 62, 120, SLACK // 2) +
            same(suite, [suite.tool("prefork"), "3", "4", "96", "90000"], 160, 120, SLACK // 2))


def short_processes(suite):
    """Two hundred short processes, eight at a time, beside one that is under pressure."""
    script = ("%s random-write 48 & sum=$(seq 200 | xargs -P 8 -n 1 sh -c 'echo $0 | tr 0-9 a-j' | sort | cksum); wait; echo $sum"
              % suite.tool("verifier"))
    argv, ram, largest, over = ["sh", "-c", script], 40 * MIB, [0], threading.Event()
    native = cage.run(argv, 60)
    with cage.Cage("live", ram + SLACK + OF_THE_DEAD, swap=False) as c:

        def look():
            while not over.wait(0.002):
                largest[0] = max(largest[0], c.programs())

        looker = threading.Thread(target=look, daemon=True)
        try:
            got = cage.run(c.prefix + suite.prefix(ram) + argv, 60, c, before_wait=lambda process: looker.start())
        finally:
            over.set()
        looker.join()
    problems = ["%s; %s" % (p, got.stderr[-400:]) for p in suite.problems(native, got)]
    if not 20 * MIB < largest[0] < ram + SLACK:
        problems.append("%.1f MiB of programs at a time" % (largest[0] / MIB))
    return problems


# Has a MiB that it has not touched, sleeps, and touches it when all others do.
SLEEPER = ("import mmap, sys, time; m = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); "
           "time.sleep(max(float(sys.argv[1]) - time.time(), 0)); m[:] = bytes([65 + int(sys.argv[2])]) * len(m); print(m[5], m.rfind(m[5:6]))")


def sleepers(suite):
    """Six processes that sleep, lend what they have not touched, and touch it all at once, beside one that is under pressure."""
    script = ("{ %s random-write 32 & end=$(($(date +%%s) + 3)); for i in 1 2 3 4 5 6; do python3 -I -S -c \"$0\" $end $i & done; wait; } | sort"
              % suite.tool("verifier"))
    return same(suite, ["sh", "-c", script, SLEEPER], 48)


def pipeline(suite):
    """A pipeline of three programs that each want all of the budget."""
    return same(suite, ["sh", "-c", "seq 300000 | LC_ALL=C sort -r -S 200M | xz -7 -T1 -c | cksum"], 40)


def parallel_make(suite):
    """make -j2, compilers of forty MiB each."""
    folder = os.path.join(suite.work, "make")
    os.mkdir(folder)
    with open(os.path.join(folder, "Makefile"), "w", encoding="ascii") as f:
        f.write("all: a.s b.s c.s\n\t@cat a.s b.s c.s | cksum\n%.s: %.c\n\t@gcc -O1 -S -o $@ $<\nclean:\n\t@rm -f *.s\n.PHONY: clean all\n")
    for n, name in enumerate("abc"):
        with open(os.path.join(folder, name + ".c"), "w", encoding="ascii") as f:
            jobs.make_gcc(f, functions=25 + n)
    return same(suite, ["sh", "-c", "make -s -j2 all && make -s clean"], 72, cwd=folder)


TREES = [preforking_server, heirs_of_much, short_processes, sleepers, pipeline, parallel_make]
