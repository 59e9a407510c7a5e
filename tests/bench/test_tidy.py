"""What the benchmarks set up on a machine is gone when they are ended, whenever that is, and however often they are told."""
import glob
import os
import signal
import subprocess
import sys
import time

from tap import Skip, eq, main, scratch

SOURCE = os.environ["SOURCE"]
FOLDERS = [os.path.join(SOURCE, "bench"), os.path.join(SOURCE, "tests", "live")]

# As the benchmarks do it: swap, a group, a program in it.
PROGRAM = """
import sys
sys.path[:0] = %r
import cage, kernelswap
cage.end_tidily()
print("begun", flush=True)
while True:
    with kernelswap.SwapFile(sys.argv[1], 16 << 20), cage.Cage("tidy", 64 << 20, swap=True) as c:
        print("up", flush=True)
        cage.run(c.prefix + ["sleep", "6543"], 60, c)
""" % FOLDERS


def why_not():
    if os.geteuid() != 0:
        return "swap takes root"
    sys.path[:0] = FOLDERS
    import cage
    return cage.why_not()


def swap_is_on(path):
    with open("/proc/swaps", encoding="ascii") as f:
        return any(line.split()[0] == path for line in f)


def running(words):
    """Processes whose command is that."""
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as f:
                found += [path] if f.read().decode(errors="replace").split("\0")[:-1] == words else []
        except OSError:
            pass
    return found


def end(path, word, delay, signals):
    """Starts the program, and some time after it has said the word sends it signals in a row. Returns its status."""
    p = subprocess.Popen([sys.executable, "-c", PROGRAM, path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    while p.stdout.readline().strip() != word:
        assert p.poll() is None, "it ended by itself"
    time.sleep(delay)
    for number in signals:
        p.send_signal(number)
        time.sleep(0.01)
    status = p.wait(timeout=60)
    p.stdout.close()
    left = [x for x in glob.glob("/sys/fs/cgroup/**/steward-tidy-%d" % p.pid, recursive=True)]
    eq((left, swap_is_on(path), os.path.exists(path), running(["sleep", "6543"])), ([], False, False, []))
    return status


def test_a_signal_takes_down_what_is_up():
    why = why_not()
    if why:
        raise Skip(why)
    with scratch() as d:
        path = os.path.join(d, "swap")
        with open(path, "wb") as f:
            f.write(bytes(1 << 20))
        # Not every file system has swap files.
        if subprocess.run("mkswap %s && swapon %s && swapoff %s" % (path, path, path), shell=True, capture_output=True).returncode != 0:
            raise Skip("no swap file in " + d)
        os.unlink(path)
        term, intr = signal.SIGTERM, signal.SIGINT
        eq(end(path, "up", 0.3, [term]), 143)
        # As timeout(1) does, and somebody who is impatient.
        eq(end(path, "up", 0.3, [term, term, term]), 143)
        eq(end(path, "up", 0.3, [intr, intr, intr]), -signal.SIGINT)
        for i in range(8):
            eq(end(path, "begun", i * 0.01, [term, term, intr]), 143)


def test_every_benchmark_ends_so():
    users = [p for p in glob.glob(os.path.join(SOURCE, "bench", "*.py")) if "import cage" in open(p, encoding="utf-8").read()]
    assert len(users) >= 6, users
    eq([p for p in users if "cage.end_tidily()" not in open(p, encoding="utf-8").read()], [])


main(globals())
