"""What a run says of its memory, beside what the kernel says."""

import errno
import json
import os
import subprocess
import sys
import time

import cage

MIB = 1 << 20

# Fills a mapping with what compresses to a quarter, gives all of it back, and waits.
GIVES_BACK = """
import mmap, os, sys
m = mmap.mmap(-1, 96 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, len(m), 4096):
    m[at:at + 4096] = (os.urandom(1000) + bytes(1048)) * 2
m.close()
print("given back", flush=True)
sys.stdin.read()
"""


def kib_of(pid, name):
    with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as f:
        return int(f.read().split("\n%s:" % name)[1].split()[0])


def figures_of(suite, launcher):
    """The only process of the run."""
    text = subprocess.run([suite.steward, "ps", "--json", str(launcher)], stdout=subprocess.PIPE, check=True, timeout=20).stdout
    return json.loads(text)["runs"][0]["processes"][0]


def given_back(suite):
    """What a program has given back is nobody's: not in the figures, and not in memory."""
    argv = suite.prefix(64 * MIB, ["--swap", "pool"]) + [sys.executable, "-c", GIVES_BACK]
    run = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    told = resident = None
    try:
        run.stdout.readline()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            process = figures_of(suite, run.pid)
            told = sum(process[kind + "_bytes"] for kind in ("managed", "unmanaged", "pool", "own"))
            resident = kib_of(process["pid"], "Rss") * 1024
            if process["state"] == "engaged" and resident < 24 * MIB and abs(told - resident) < 4 * MIB:
                return []
            time.sleep(0.1)
    finally:
        run.stdin.close()
        run.stdout.close()
        run.wait(20)
    return ["%.1f MiB are resident, %.1f are said to be in use: %s" % (resident / MIB, told / MIB, process)]


def forked(suite):
    """What fork shares is in the summary's peak once, and what both have changed is in it twice."""
    if suite.no_cage:
        return suite.no_cage
    stats = os.path.join(suite.work, "stats.json")
    argv = suite.prefix(24 * MIB, ["--stats", stats]) + [suite.tool("verifier"), "fork-write", "64"]
    with cage.Cage("forked", None, swap=False) as c:
        got = cage.run(c.prefix + argv, 60, c, env=dict(os.environ, TMPDIR=suite.work))
    if got.status != 0:
        return ["status %d; %s" % (got.status, got.stderr)]
    with open(stats, encoding="utf-8") as f:
        peak = json.load(f)["peak"]["total_bytes"]
    # The launcher looks twenty times a second, the kernel always.
    if not 0.6 * got.peak < peak < got.peak + 4 * MIB:
        return ["the summary's peak is %.1f MiB, that of the cgroup %.1f" % (peak / MIB, got.peak / MIB)]
    return []


# Comes under pressure once, fits from then on, and uses all that it has between two children.
HAS_CHILDREN = """
use POSIX ();
my $scratch = "y" x 30_000_000;
undef $scratch;
my @a = map { chr(65 + $_ %% 26) x 4000 . $_ } 1 .. 8000;
my $sum = 0;
for my $round (1 .. 60) { %s; $sum += length($_) + ord(substr($_, 2000, 1)) for @a }
print "$sum\\n";
"""


def short_children(suite, child):
    stats = os.path.join(suite.work, "stats.json")
    argv = ["perl", "-e", HAS_CHILDREN % child]
    native = cage.run(argv, 60)
    got = suite.limited(lambda prefix: list(prefix) + argv, 56 * MIB, 8 * MIB, 60, ["--stats", stats])
    problems = suite.problems(native, got)
    if not problems:
        with open(stats, encoding="utf-8") as f:
            out = json.load(f)["counters"]["pswpout"]
        # 22 000 for the pressure and the first child; 150 000 when half is evicted for each.
        if out > 50000:
            problems.append("%d pages were evicted" % out)
    return problems


def children_exec(suite):
    """A process whose children call exec at once evicts for the first one, which might have been another, and for no more."""
    return short_children(suite, 'system("true")')


def children_end(suite):
    """A process whose children end at once evicts for the first one, and for no more."""
    return short_children(suite, "my $pid = fork; POSIX::_exit(0) if $pid == 0; waitpid($pid, 0)")


def fault_times(suite):
    """No fault took longer than the run, also where memory of threads was out that is given back to the kernel."""
    stats = os.path.join(suite.work, "stats.json")
    argv = suite.prefix(16 * MIB, ["--stats", stats, "--swap", "file:" + suite.work]) + [suite.tool("verifier"), "fork-threads", "64"]
    got = cage.run(argv, 60)
    if got.status != 0:
        return ["status %d; %s" % (got.status, got.stderr)]
    with open(stats, encoding="utf-8") as f:
        figures = json.load(f)
    longest, wall = figures["fault_ns"]["max"], figures["time"]["wall_ns"]
    return ["a fault took %.1f s of %.1f" % (longest / 1e9, wall / 1e9)] if longest > wall else []


# Takes much more than it touches, a little of each piece at a time.
TOUCHES_LITTLE = """
import mmap
pieces = [mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) for _ in range(12)]
for at in range(0, 3 << 20, 4096):
    for i, m in enumerate(pieces):
        m[at] = (i + at // 4096) % 251
for m in pieces[::3]:
    m.resize(80 << 20)
print(sum(m[at] for m in pieces for at in range(0, 3 << 20, 4096)))
"""


def sparse(suite):
    """A program that touches little of what it takes fits, if that does; and it can still resize it."""
    stats = os.path.join(suite.work, "stats.json")
    argv = [sys.executable, "-c", TOUCHES_LITTLE]
    native = cage.run(argv, 60)
    got = cage.run(suite.prefix(96 * MIB, ["--stats", stats]) + argv, 60)
    problems = suite.problems(native, got)
    if problems:
        return problems
    with open(stats, encoding="utf-8") as f:
        return [] if json.load(f)["fitted"] else ["it did not fit: " + got.stderr]


# Goes through a mapped file again and again, as through code, and through as much other memory that compresses well.
READS_FILE = """
import hashlib, mmap, os, sys, time
path, mib, heap = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with open(path, "w+b") as f:
    for i in range(mib):
        f.write(bytes([i]) * (1 << 20))
    f.flush()
    os.fsync(f.fileno())
    m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
os.unlink(path)
b, sums, end = bytearray(range(256)) * (heap << 12), set(), time.monotonic() + float(sys.argv[4])
while time.monotonic() < end:
    sums.add(hashlib.sha256(m[::4096]).hexdigest())
print(sums, hashlib.sha256(b).hexdigest())
"""


def mapped_file(suite):
    """In a limit that files count in, a program that waits for its files is left room for them."""
    if suite.no_cage:
        return "no cgroup here"
    stats = os.path.join(suite.work, "stats.json")
    argv = [sys.executable, "-c", READS_FILE, os.path.join(suite.work, "file"), "30", "32"]
    native = cage.run(argv + ["0.1"], 60)
    got = suite.limited(lambda prefix: prefix + argv + ["5"], 40 * MIB, 8 * MIB, 60, ["--swap", "pool", "--stats", stats])
    problems = suite.problems(native, got)
    if problems:
        return problems
    with open(stats, encoding="utf-8") as f:
        left = json.load(f)["budget"]["page_cache_peak_bytes"]
    return [] if 4 * MIB < left <= 20 * MIB else ["%.1f MiB were left to the page cache" % (left / MIB)]


# Reads a mapped file once, as a program its code at the start, and then goes through other memory for a while.
READS_ONCE = """
import hashlib, mmap, os, random, sys, time
path, mib, heap, end = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), time.monotonic() + float(sys.argv[4])
with open(path, "w+b") as f:
    for i in range(mib):
        f.write(bytes([i]) * (1 << 20))
    f.flush()
    m = mmap.mmap(f.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
os.unlink(path)
before = hashlib.sha256(m[::4096]).hexdigest()
b = bytearray(range(256)) * (heap << 12)
while time.monotonic() < end:
    b[random.randrange(len(b)) & ~255] = 0
with open("/proc/self/statm") as f:
    mapped = int(f.read().split()[2])
print(hashlib.sha256(m[::4096]).hexdigest() == before, hashlib.sha256(b).hexdigest())
print(mapped >> 8, file=sys.stderr)
"""


def file_aged(suite):
    """What a program has mapped of files and does not use is not in its page tables for long, and what it does is the file's."""
    argv = [sys.executable, "-c", READS_ONCE, os.path.join(suite.work, "file"), "16", "48"]
    native = cage.run(argv + ["0.1"], 60)
    got = cage.run(suite.prefix(40 * MIB, ["--swap", "pool"]) + argv + ["3"], 60, env=dict(os.environ, TMPDIR=suite.work))
    problems = suite.problems(native, got)
    if problems:
        return problems
    mapped = int(got.stderr.split()[0])
    return [] if mapped <= 8 < 16 <= int(native.stderr) else ["%d MiB of files were mapped at the end, %s without Steward" % (mapped, native.stderr)]


def same_in_cage(suite, script, ram):
    """A Python script in a budget, with a wall 8 MiB beyond it, does what it does without."""
    if suite.no_cage:
        return suite.no_cage
    argv = [sys.executable, "-c", script]
    got = suite.limited(lambda prefix: prefix + argv, ram, 8 * MIB, 60)
    return suite.problems(cage.run(argv, 60), got)


# Fills shared memory, and goes through other memory that compresses well.
SHARES = """
import hashlib, mmap, time
m, b = mmap.mmap(-1, 24 << 20), bytearray(range(256)) * (16 << 12)
for i in range(0, len(m), 4096):
    m[i:i + 4096] = bytes([i >> 12 & 255]) * 4096
time.sleep(0.5)
b += bytes(range(256)) * (32 << 12)
print(hashlib.sha256(b).hexdigest(), hashlib.sha256(m).hexdigest())
"""


def shared_memory(suite):
    """Shared memory counts however much it is, for nobody can drop it."""
    return same_in_cage(suite, SHARES, 56 * MIB)


# Whether all may be locked, and that the program goes on in any case.
LOCKS_ALL = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print(libc.mlockall(1), ctypes.get_errno(), sum(bytearray(range(256)) * 1000))
"""


def locked_all(suite):
    """mlockall is refused: it would bring in all that is only reserved"""
    got = suite.limited(lambda prefix: prefix + [sys.executable, "-c", LOCKS_ALL], 48 * MIB, 8 * MIB, 60)
    want = "-1 %d %d" % (errno.ENOMEM, sum(range(256)) * 1000)
    return [] if got.status == 0 and got.head.decode().strip() == want else ["status %d, %s %s" % (got.status, got.head, got.stderr)]


# Writes a file in memory that it does not map, and has more other memory than there is, which compresses well.
WRITES_SHMEM = """
import hashlib, os, time
b, fd = bytearray(range(256)) * (60 << 12), os.memfd_create("file")
for i in range(24):
    os.write(fd, bytes([i]) * (1 << 20))
    time.sleep(0.1)
for k in range(3):
    for i in range(0, len(b), 4096):
        b[i] = k
print(hashlib.sha256(b).hexdigest(), hashlib.sha256(os.pread(fd, 24 << 20, 0)).hexdigest())
"""


def unmapped(suite):
    """Memory that a limit around the run counts and no process does is left room for."""
    return same_in_cage(suite, WRITES_SHMEM, 48 * MIB)


# Fills a file in memory without mapping it.
FILLS_FILE = """
import os
fd = os.memfd_create("file")
for i in range(96):
    os.write(fd, bytes(1 << 20))
"""


def killed_at_limit(suite):
    """Who was killed at a limit around the run is told so"""
    if suite.no_cage:
        return suite.no_cage
    got = suite.limited(lambda prefix: prefix + [sys.executable, "-c", FILLS_FILE], 32 * MIB, 8 * MIB, 60)
    said = "the kernel killed 1 of the processes: the memory limit around the run was reached (/" in got.stderr
    return [] if got.status == 137 and got.oom_kills == 1 and said else ["status %d, %d kills: %s" % (got.status, got.oom_kills, got.stderr)]


ACCOUNTS = [given_back, sparse, file_aged, forked, children_exec, children_end, fault_times, killed_at_limit, locked_all, mapped_file, shared_memory, unmapped]
