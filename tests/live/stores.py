"""Places to swap to: whatever they are, and whatever becomes of them, the program finds its data or is stopped."""

import os
import shutil
import subprocess
import tempfile

import cage

MIB = 1 << 20
BUDGET = 16 * MIB
FOOTPRINT = "64"  # MiB


def sparse(folder, name, size):
    path = os.path.join(folder, name)
    with open(path, "wb") as f:
        f.truncate(size)
    return path


class Loop:
    """A loop device over a file; None if there are none here."""

    def __init__(self, path):
        got = subprocess.run(["losetup", "--find", "--show", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                             check=False)
        self.device = got.stdout.strip() if got.returncode == 0 else None

    def __enter__(self):
        return self.device

    def __exit__(self, *_):
        if self.device:
            subprocess.run(["losetup", "--detach", self.device], check=False)


def run_on(suite, mode, places, budget=BUDGET):
    """The verifier with these --swap arguments, and alone: what differs."""
    command = [suite.tool("verifier"), mode, FOOTPRINT]
    native = cage.run(command, 60)
    options = [word for place in places for word in ("--swap", place)]
    got = cage.run(suite.prefix(budget, options) + command, 120, env=dict(os.environ, TMPDIR=suite.work))
    return ["%s on %s: %s" % (mode, " ".join(places), p) for p in suite.problems(native, got)]


def places_of_every_kind(suite):
    """Files of processes that fork, used in turn, and one in a directory without a pool hold what was written."""
    problems = []
    with tempfile.TemporaryDirectory(prefix="places.", dir=suite.work) as folder:
        files = [sparse(folder, name, 256 * MIB) for name in "ab"]
        problems += run_on(suite, "fork-nested", ["file:%s,prio=1" % f for f in files] + ["pool"])
        problems += run_on(suite, "random-write", ["file:" + folder])
    return problems


def block_device(suite):
    """A block device is used as it is."""
    if os.geteuid() != 0 or shutil.which("losetup") is None:
        return "needs root and losetup"
    with tempfile.TemporaryDirectory(prefix="loop.", dir=suite.work) as folder:
        with Loop(sparse(folder, "disk", 128 * MIB)) as device:
            if device is None:
                return "no loop device"
            problems = run_on(suite, "random-write", ["pool,max=2M", "file:" + device])
            with open(device, "rb") as f:
                first, rest = f.read(4096), f.read(64 * MIB)
    if any(first):
        problems.append("the first page was overwritten")
    if not any(rest):
        problems.append("nothing was written")
    return problems


STORES = [places_of_every_kind, block_device]
