"""steward bench: the touches are right and counted, the sides are measured or say why not, nothing is left behind."""
import glob
import json
import os
import signal
import subprocess
import time

from tap import STEWARD, environment, eq, main, scratch, steward

WORKLOADS = ("random-read random-rw sequential sequential-rw reverse strided streams4 hot80 zipf moving-hot random-2t random-8t").split()
SMALL = ("--limit", "6M", "--touches", "400")
# Others may measure beside us, with swap and groups of their own: ours are known by a size that nobody else has.
SIZE = (24 << 20) + (os.getpid() % 1024 << 12)


def size(pages=0):
    return "--size", "%dK" % (SIZE // 1024 + 4 * pages)


def swaps(pages=0):
    """Those on a device of twice so much data; the area has a header."""
    with open("/proc/swaps", encoding="ascii") as f:
        return [line.split()[0] for line in f.readlines()[1:] if int(line.split()[2]) == 2 * (SIZE // 1024 + 4 * pages) - 4]


def groups(pid):
    return glob.glob("/sys/fs/cgroup/**/steward-bench-%d-*" % pid, recursive=True)


def test_touches_of_every_workload():
    r = steward("bench", "--touch", "--size", "8M", "--touches", "1000", "--only", ",".join(WORKLOADS))
    eq((r.stderr, r.returncode), ("", 0))
    found = json.loads(r.stdout)
    eq((found["pages"], found["verified"]), (2048, True))
    eq([(w["workload"], w["touches"]) for w in found["results"]], [("first-touch", 2048)] + [(w, 1000) for w in WORKLOADS])


def test_the_sides_and_the_table():
    with scratch() as d:
        out = os.path.join(d, "bench.json")
        with subprocess.Popen([STEWARD, "bench", *size(), *SMALL, "--only", "sequential,hot80", "--json", out], text=True,
                              env=environment(STEWARD_PRELOAD=None), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as bench:
            stdout, stderr = bench.communicate(timeout=90)
        eq((stderr, bench.returncode), ("", 0))
        with open(out, encoding="utf-8") as f:
            found = json.load(f)
    eq((found["schema"], found["size_bytes"], found["limit_bytes"], found["touches"]), (1, SIZE, 6 << 20, 400))
    sides = ["native", "steward"] + (["kernel"] if os.geteuid() == 0 else [])
    for side in sides:
        eq(sorted(found[side]), ["first-touch", "hot80", "sequential"])
        for row in found[side].values():
            assert 0 < row["touch_ns"] < 10**8 and row["fault_p50_ns"] <= row["fault_p99_ns"], (side, row)
    # What the kernel's swap took on top of the limit is the third side's too: at most all that was out, and not nothing.
    assert 6 << 20 < found["ram_bytes"] < 30 << 20, found["ram_bytes"]
    # Data that does not fit is slower than data that does.
    assert found["steward"]["sequential"]["fault_p99_ns"] > 0, found
    rows = [line.split()[0] for line in stdout.splitlines()[3:6]]
    eq(rows, ["first-touch", "sequential", "hot80"])
    eq((swaps(), groups(bench.pid)), ([], []))


def test_without_root_the_kernels_side_says_so():
    if os.geteuid() != 0:
        return
    with scratch() as d:
        os.chmod(d, 0o755)
        nobody = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
        # As a user who may have a userfaultfd: an inherited descriptor of the device.
        r = subprocess.run([*nobody, STEWARD, "bench", *size(), *SMALL, "--only", "hot80"], env=environment(STEWARD_PRELOAD=None), timeout=90,
                           text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
    assert "kernel, zram: not measured: it takes root to set a limit and swap\n" in r.stdout, r


def test_killed_it_leaves_no_swap_and_no_group():
    # So many touches that they are quick in memory, and take far longer than it takes to be killed in the group.
    bench = subprocess.Popen([STEWARD, "bench", *size(10000), "--touches", "2000000", "--only", "random-read"],
                             env=environment(STEWARD_PRELOAD=None), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not groups(bench.pid) and bench.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    assert groups(bench.pid) or os.geteuid() != 0, "no group was made"
    assert len(swaps(10000)) == len(groups(bench.pid)), "its swap is not known by its size"
    bench.send_signal(signal.SIGKILL)
    bench.wait()
    while (groups(bench.pid) or swaps(10000)) and time.monotonic() < end:
        time.sleep(0.05)
    eq((swaps(10000), groups(bench.pid)), ([], []))


def test_what_is_wrong_is_told():
    for args, why in (
            (("--size", "1M"), '--size: "1M" is no size of 4M or more; write it as 256M or 1G'),
            (("--size", "8M", "--limit", "8M"), "--limit: 8 MiB holds all of the data; use less, or more --size"),
            (("--touches", "x"), '--touches: "x" is no number from 100 to 4294967295; leave it out for 50000'),
            (("ls",), "ls: bench takes no operands; steward run runs a command"),
            (("--only", "hot80,,zipf"), None), (("--only", "hot"), None)):
        r = steward("bench", *args)
        eq((r.stdout, r.returncode), ("", 2))
        if why is not None:
            eq(r.stderr, f"steward: {why}\n")
        else:
            assert r.stderr.startswith("steward: --only: no workload "), r.stderr


main(globals())
