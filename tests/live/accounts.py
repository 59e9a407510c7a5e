"""What a run says of its memory, beside what the kernel says."""

import json
import subprocess
import sys
import time

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


ACCOUNTS = [given_back]
