#!/usr/bin/python3
"""make demo: a Python job on this machine's own source files, in all the memory it wants, then in a quarter of it.

    demo.py BUILD_DIR

The second run is `steward run`. Where memory cgroups can be made (as root), it is also caged by the kernel, at the
budget + 8 MiB and without swap: not Steward's word but the kernel's. A third run shows what the same cage does to
the job without Steward. Exit status 0 if both outputs are the same, byte for byte.
"""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "tests", "live"))

import cage  # noqa: E402

PYTHON = "/usr/bin/python3"
WHERE = ["/usr/lib", "/usr/include", "/usr/share/perl", "/usr/share/perl5"]
KINDS = (".py", ".h", ".pm", ".pl", ".c")
TEXT_MIB_MAX = 12
TEXT_MIB_MIN = 4
SHARE = 4
MIB = 1 << 20


def texts():
    """Source files that any machine with a C compiler and Python has, up to TEXT_MIB_MAX; their total size."""
    paths, total = [], 0
    for top in WHERE:
        for folder, folders, names in os.walk(top):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                if not name.endswith(KINDS) or not os.path.isfile(path) or not os.access(path, os.R_OK):
                    continue
                paths.append(path)
                total += os.path.getsize(path)
                if total >= TEXT_MIB_MAX * MIB:
                    return paths, total
    return paths, total


def say(text):
    print(text, flush=True)


def fail(text):
    say("demo: " + text)
    sys.exit(1)


def main():
    steward = os.path.join(sys.argv[1], "src", "cli", "steward")
    if not os.access(steward, os.X_OK):
        fail("%s: not built; run make" % steward)
    doctor = subprocess.run([steward, "doctor"], stdout=subprocess.PIPE, text=True)
    if doctor.returncode != 0:
        say(doctor.stdout)
        fail("this machine does not allow what steward run needs; the last line above says what would")
    paths, size = texts()
    if size < TEXT_MIB_MIN * MIB:
        fail("only %d source files here, too few for a job of some size" % len(paths))
    with tempfile.NamedTemporaryFile("w", prefix="steward-demo-", encoding="utf-8", errors="surrogateescape") as f:
        f.write("".join(path + "\n" for path in paths))
        f.flush()
        show([PYTHON, os.path.join(HERE, "keywords.py"), f.name], steward, len(paths), size)


def show(job, steward, files, size):
    say("The job: python3 examples/keywords.py, on %d source files of this machine (%.0f MB).\n" % (files, size / 1e6))

    say("1. Without Steward, memory unlimited")
    alone = cage.run(job, timeout=300)
    if alone.status != 0:
        fail("the job itself failed: " + alone.stderr)
    budget = int(alone.rss_mib / SHARE)
    say("  peak              %.0f MiB" % alone.rss_mib)
    say("  time              %.2f s elapsed" % alone.seconds)
    say("  output            %d bytes, sha256 %.16s\n" % (alone.size, alone.digest))

    why = cage.why_not()
    limit = (budget + 8) * MIB
    say("2. steward run --ram %dM" % budget + ("" if why else ", in a cgroup that the kernel kills above %d MiB" % (budget + 8)))
    jail = None if why else cage.Cage("demo", limit, swap=False)
    try:
        inside = cage.run((jail.prefix if jail else []) + [steward, "run", "--ram", "%dM" % budget, "--"] + job,
                          timeout=600, cage=jail)
    finally:
        if jail:
            jail.close()
    say(inside.stderr.rstrip())
    say("  output            %d bytes, sha256 %.16s\n" % (inside.size, inside.digest))

    if why:
        say("3. The same limit without Steward: not shown, %s" % why)
    else:
        say("3. Without Steward, in the same cgroup")
        with cage.Cage("demo", limit, swap=False) as jail:
            caged = cage.run(jail.prefix + job, timeout=300, cage=jail)
        say("  status            %d%s\n" % (caged.status, ", killed for want of memory" if caged.oom_kills else ""))

    if inside.status != 0 or (inside.size, inside.digest) != (alone.size, alone.digest):
        fail("the outputs differ, or the job failed inside the budget (status %d)" % inside.status)
    say("Same output, byte for byte, with %d MiB instead of %.0f; %.1f s instead of %.1f."
        % (budget, alone.rss_mib, inside.seconds, alone.seconds))


main()
