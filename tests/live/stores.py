"""Places to swap to: whatever they are, and whatever becomes of them, the program finds its data or is stopped."""

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import cage

MIB = 1 << 20
BUDGET = 16 * MIB
SLACK = 8 * MIB  # of the hard limit, as in run.py
FOOTPRINT = "64"  # MiB
STOPPED = re.compile(r"steward: (page 0x[0-9a-f]+ is lost: (checksum mismatch|read error|broken seal) in \S+, slot \d+|out of (room|memory): .*); .+")
FAULT_SEEDS = range(2, 14)


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


class Quota:
    """A control group with a CPU quota, version 1 or 2; None if there are none here. It is wide: nobody is held up by it."""

    FILES = (("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "10000000"), ("/sys/fs/cgroup", "cpu.max", "10000000 100000"))

    def __enter__(self):
        self.path = None
        for top, name, text in self.FILES:
            path = os.path.join(top, "steward-quota.%d" % os.getpid())
            try:
                os.mkdir(path)
            except OSError:
                continue
            try:
                with open(os.path.join(path, name), "w", encoding="ascii") as f:
                    f.write(text)
                self.path = path
                break
            except OSError:
                os.rmdir(path)
        return self.path

    def __exit__(self, *_):
        if self.path:
            os.rmdir(self.path)


def pollers(launcher):
    """The CPUs that threads of the launcher keep awake: at idle priority (policy 5), on one each."""
    cpus = set()
    for task in os.listdir("/proc/%d/task" % launcher):
        try:
            with open("/proc/%d/task/%s/stat" % (launcher, task), encoding="ascii", errors="replace") as f:
                policy = int(f.read().rpartition(")")[2].split()[38])
            if policy == os.SCHED_IDLE:
                cpus.add(tuple(os.sched_getaffinity(int(task))))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return cpus


def cpus_awake(suite):
    """A CPU on which somebody waits for a fast disk is kept awake, unless CPU time is counted out or it is not wished."""
    command, problems = [suite.tool("verifier"), "random-write", FOOTPRINT], []
    native = cage.run(command, 60)
    with tempfile.TemporaryDirectory(prefix="awake.", dir="/dev/shm") as folder, Quota() as quota:
        cases = [([], [], ""), (["--no-haltpoll"], [], "--no-haltpoll"), ([], ["sh", "-c", 'ulimit -t 1000; exec "$@"', "sh"], "ulimit -t")]
        if quota:
            cases.append(([], ["sh", "-c", 'echo $$ > %s/cgroup.procs; exec "$@"' % quota, "sh"], "CPU quota"))
        for options, enter, why in cases:
            kept = set()

            def look(process, kept=kept):
                while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    kept |= pollers(process.pid)
                    time.sleep(0.01)

            got = cage.run(enter + suite.prefix(BUDGET, ["-v", "--swap", "file:" + folder] + options) + command, 120, before_wait=look)
            problems += suite.problems(native, got)
            said = "not kept awake for them: " in got.stderr and why in got.stderr
            if any(len(cpus) != 1 for cpus in kept) or bool(kept) != (why == "") or said != (why != ""):
                problems.append("%s: CPUs %s, %s" % (why or "as it is", kept, got.stderr))
    return problems


def was_stopped(got, *words):
    """The run was stopped by one line that has these words (patterns), and had shown nothing."""
    lines = [line for line in got.stderr.splitlines() if STOPPED.match(line)]
    problems = ["%r is not said" % w for w in words if not any(re.search(w, line) for line in lines)]
    if got.timed_out or got.status != 137 or got.size or len(lines) != 1 or "is wrong" in got.stderr:
        problems.append("status %d, %d bytes of output%s, %r" % (
            got.status, got.size, ", timeout" if got.timed_out else "", got.stderr[-600:]))
    return problems


def faults(suite):
    """On a disk that fails by a seed, the output is right, or the program is stopped because it lasts."""
    command = [suite.tool("verifier"), "random-write", "24"]
    native = cage.run(command, 60)
    problems = []
    for seed in FAULT_SEEDS:
        options = ["--swap", "pool,max=1M", "--swap", "file:" + suite.work, "--debug-store-faults", "%d:4" % seed]
        got = cage.run(suite.prefix(12 * MIB, options) + command, 60)
        wrong = suite.problems(native, got) if got.status == 0 or seed % 2 == 0 else was_stopped(got)
        problems += ["seed %d: %s" % (seed, p) for p in wrong]
    return problems


class Tmpfs:
    """A small disk."""

    def __init__(self, folder, size):
        self.folder = folder
        self.mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%d" % size, "none", folder], check=False,
                                      stderr=subprocess.DEVNULL).returncode == 0

    def __enter__(self):
        return self.mounted

    def __exit__(self, *_):
        if self.mounted:
            subprocess.run(["umount", "--lazy", self.folder], check=False)


def disk_full(suite):
    """A disk that is full holds what it has; the program is stopped when nothing else takes its pages."""
    command = [suite.tool("verifier"), "random-write", "32"]
    native = cage.run(command, 60)
    with tempfile.TemporaryDirectory(prefix="full.", dir=suite.work) as folder:
        with Tmpfs(folder, 2 * MIB) as mounted:
            if not mounted:
                return "a tmpfs cannot be mounted"
            place = ["--swap", "file:%s,prio=1" % folder]
            got = cage.run(suite.prefix(BUDGET, place + ["--swap", "file:" + suite.work]) + command, 60)
            problems = suite.problems(native, got)
            if ", full" not in got.stderr:
                problems.append("the disk was not full: %r" % got.stderr[-600:])
            got = cage.run(suite.prefix(BUDGET, place) + command, 60)
            problems += was_stopped(got, "raise --ram")
    return problems


def spoiled(suite, spoil, word, options=""):
    """
    The program on a file that is spoiled all the time from outside. If it is a neighbour of the page touched that cannot be
    read, the file only takes no more pages: then the program may be out of room before it touches one that is lost.
    """
    with tempfile.TemporaryDirectory(prefix="spoiled.", dir=suite.work) as folder:
        path = sparse(folder, "swap", 512 * MIB)
        ended = threading.Event()

        def keep_spoiling():
            while not ended.wait(0.1):
                spoil(path)

        spoiler = threading.Thread(target=keep_spoiling, daemon=True)
        spoiler.start()
        got = cage.run(suite.prefix(BUDGET, ["--swap", "file:" + path + options]) + [suite.tool("verifier"), "random-write", "128"], 60)
        ended.set()
        spoiler.join()
    return was_stopped(got, word + "|has failed with", re.escape("file:" + path))


def overwrite(path):
    with open(path, "r+b") as f:
        f.seek(4096)
        for _ in range(160):
            f.write(b"\xa5" * MIB)


def file_overwritten(suite):
    """A swap file that somebody else writes to stops the program, which sees nothing of it."""
    return spoiled(suite, overwrite, "checksum mismatch") + spoiled(suite, overwrite, "broken seal", ",encrypt")


def looks_random(path):
    """No byte comes so often in a page as to tell something: of 4096 random ones 16 are the same, sixty never."""
    with open(path, "rb") as f:
        f.seek(4096)
        pages = [f.read(4096) for _ in range(512)]
    counts = [max(page.count(bytes([b])) for b in range(256)) for page in pages if any(page)]
    return len(counts) > 100 and max(counts) < 60


def sealed(suite):
    """Pages that are to be encrypted cannot be read in the file."""
    problems = []
    with tempfile.TemporaryDirectory(prefix="sealed.", dir=suite.work) as folder:
        for options, random in (("", False), (",encrypt", True)):
            path = sparse(folder, "swap", 256 * MIB)
            problems += run_on(suite, "fork-write", ["file:" + path + options])
            if looks_random(path) != random:
                problems.append("with %r the file looks random: %s" % (options, not random))
    return problems


def file_cut(suite):
    """So does one that is cut."""
    return spoiled(suite, lambda path: os.truncate(path, 2 * MIB), "is lost")


class Server:
    """nbdkit on a socket, over a file that outlives it; with TLS if wanted."""

    def __init__(self, folder, tls=False):
        self.path = sparse(folder, "export", 256 * MIB)
        self.socket = os.path.join(folder, "socket")
        self.uri = "nbd+unix:///?socket=" + self.socket
        self.options = []
        self.process = None
        if tls:
            keys = os.path.join(folder, "keys")
            with open(keys, "w") as f:
                f.write("me:%s\n" % os.urandom(32).hex())
            self.uri = "nbds+unix://me@/?socket=%s&tls-psk-file=%s" % (self.socket, keys)
            self.options = ["--tls=require", "--tls-psk=" + keys]

    def argv(self):
        return ["nbdkit", "--foreground", *self.options, "--unix", self.socket, "file", self.path]

    def start(self):
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        self.process = subprocess.Popen(self.argv(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not os.path.exists(self.socket) and time.monotonic() < deadline:
            time.sleep(0.01)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()


class Qcow2(Server):
    """qemu-nbd over a file that grows as it is written to."""

    def __init__(self, folder):
        super().__init__(folder)
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", self.path, "256M"], check=True)

    def argv(self):
        return ["qemu-nbd", "--persistent", "--shared=8", "--format=qcow2", "--socket", self.socket, self.path]


class Once(Qcow2):
    """Ends with its first client, as qemu-nbd does if nothing is said."""

    def argv(self):
        return [word for word in super().argv() if word != "--persistent"]


def on_server(suite, mode="random-write", options="", meanwhile=None, places=(), mib="64", make=Server):
    """The verifier with its pages on a server, to which meanwhile(server) does something. Returns native, got, the URI."""
    command = [suite.tool("verifier"), mode, mib]
    native = cage.run(command, 60)
    with tempfile.TemporaryDirectory(prefix="nbd.", dir="/tmp") as folder, make(folder) as server:
        swap = ["--swap", server.uri + options]
        for place in places:
            swap += ["--swap", place]
        ended = threading.Event()

        def help_along():
            if meanwhile is not None:
                meanwhile(server)
            # nbdkit dies with the thread that has started it.
            ended.wait()

        helper = threading.Thread(target=help_along, daemon=True)
        helper.start()
        got = suite.limited(lambda prefix: list(prefix) + command, BUDGET, SLACK, 120, swap)
        ended.set()
        helper.join()
    return native, got, server.uri


def no_nbd():
    return None if shutil.which("nbdkit") else "needs nbdkit"


def server(suite):
    """Pages on an NBD server come back, to processes that fork too, over TLS, and at a rate if one is asked for."""
    if no_nbd():
        return no_nbd()
    native, got, _ = on_server(suite, "fork-nested", ",encrypt", mib="48")
    problems = suite.problems(native, got)
    native, got, _ = on_server(suite, "random-write", ",connections=4,rate=16M", mib="32")
    problems += suite.problems(native, got)
    problems += suite.problems(*on_server(suite, make=functools.partial(Server, tls=True), mib="32")[:2])
    if got.seconds < 1:  # at least 16 MiB go there
        problems.append("%.1f s are too short for the rate" % got.seconds)
    return problems


# A child that lives on as a small program; its parent then writes its memory again and again.
FORK_AND_EXEC = """
import os
memory = bytearray(40 << 20)
def touch():
    for at in range(0, len(memory), 4096):
        memory[at : at + 8] = os.urandom(8)
touch()
child = os.fork()
if child == 0:
    os.execvp("sleep", ["sleep", "100"])
for _ in range(6):
    touch()
os.kill(child, 9)
os.waitpid(child, 0)
print("done")
"""


def server_exec(suite):
    """A program that a child executes holds nothing on the server that its parent has freed."""
    if no_nbd():
        return no_nbd()
    with tempfile.TemporaryDirectory(prefix="nbd.", dir="/tmp") as folder, Server(folder) as export:
        swap = ["--swap", export.uri + ",size=80M"]
        got = cage.run(suite.prefix(20 * MIB, swap) + [sys.executable, "-c", FORK_AND_EXEC], 120)
    if got.timed_out or got.status != 0 or got.size != len("done\n"):
        return ["status %d, %d bytes of output%s, %r" % (got.status, got.size, ", timeout" if got.timed_out else "", got.stderr[-600:])]
    return []


def qcow2(suite):
    """So they do from qemu-nbd, which serves them from an image; one that ends with its first client is refused."""
    if shutil.which("qemu-nbd") is None:
        return "needs qemu-nbd"
    problems = suite.problems(*on_server(suite, "threads", make=Qcow2)[:2])
    _, got, uri = on_server(suite, make=Once)
    if got.status != 125 or got.size or not got.stderr.startswith("steward: %s: it took one connection" % uri) or got.stderr.count("\n") != 1:
        problems.append("status %d, %d bytes of output, %r" % (got.status, got.size, got.stderr[-600:]))
    return problems


def server_restarted(suite):
    """A server that is killed and comes back loses nothing."""
    def restart(server):
        for _ in range(2):
            time.sleep(0.5)
            server.kill()
            time.sleep(0.7)
            server.start()

    if no_nbd():
        return no_nbd()
    native, got, _ = on_server(suite, meanwhile=restart)
    problems = suite.problems(native, got)
    if "connection lost" not in got.stderr:
        problems.append("nothing is said of it: %r" % got.stderr[-600:])
    return problems


def server_stopped(suite):
    """A server that hangs for a while is waited for."""
    def hang(server):
        time.sleep(0.5)
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(2)
        server.process.send_signal(signal.SIGCONT)

    if no_nbd():
        return no_nbd()
    problems = []
    # One thread waits for each page; of several, many pages are on their way.
    for mode, options in (("random-write", ""), ("threads", ",encrypt")):
        native, got, _ = on_server(suite, mode, options, meanwhile=hang)
        problems += ["%s: %s" % (mode, p) for p in suite.problems(native, got)]
    return problems


def server_gone(suite):
    """A server that is gone for good: the program is stopped at its deadline when it needs a page from there."""
    def kill(server):
        time.sleep(0.5)
        server.kill()

    if no_nbd():
        return no_nbd()
    _, got, uri = on_server(suite, options=",deadline=2", meanwhile=kill, places=["file:/tmp"], mib="256")
    return was_stopped(got, re.escape("in " + uri))


@contextlib.contextmanager
def two_servers():
    """Both end with the block, whatever has become of them."""
    with tempfile.TemporaryDirectory(prefix="nbd.", dir="/tmp") as one, tempfile.TemporaryDirectory(prefix="nbd.", dir="/tmp") as two, \
            Server(one) as first, Server(two) as second:
        yield first, second


def server_mirrored(suite):
    """With a mirror the loss of one server loses nothing."""
    if no_nbd():
        return no_nbd()
    command = [suite.tool("verifier"), "fork-write", "64"]
    native = cage.run(command, 60)
    problems = []
    for lost in range(2):
        with two_servers() as (first, second):
            swap = ["--swap", "%s,mirror=%s,deadline=5" % (first.uri, second.uri)]
            killer = threading.Timer(0.4, (first, second)[lost].process.kill)
            killer.start()
            got = cage.run(suite.prefix(BUDGET, swap) + command, 120)
            killer.join()
        problems += ["server %d lost: %s" % (lost, p) for p in suite.problems(native, got)]
    return problems


def mirror_back(suite):
    """One of two servers that comes back, or hangs for a while, takes part again."""
    if no_nbd():
        return no_nbd()
    command = [suite.tool("verifier"), "random-write", "96"]
    native = cage.run(command, 60)
    problems = []
    for restarted in range(2):
        with two_servers() as (first, second):
            got = []
            swap = ["--swap", "%s,mirror=%s" % (first.uri, second.uri)]
            runner = threading.Thread(target=lambda s=swap: got.append(cage.run(suite.prefix(BUDGET, s) + command, 120)), daemon=True)
            runner.start()
            time.sleep(0.4)
            # nbdkit dies with the thread that has started it, so it is the run that has one of its own.
            if restarted:
                first.kill()
                time.sleep(0.3)
                first.start()
            else:
                first.process.send_signal(signal.SIGSTOP)
                time.sleep(1)
                first.process.send_signal(signal.SIGCONT)
            since = time.time()
            runner.join()
            problems += ["%s: %s" % ("restarted" if restarted else "stopped", p) for p in suite.problems(native, got[0])]
            if restarted and got[0].seconds > 2 and os.stat(first.path).st_mtime < since:
                problems.append("nothing was written to the server that is back")
    return problems


STORES = [places_of_every_kind, block_device, cpus_awake, faults, disk_full, file_overwritten, file_cut, sealed, server, server_exec, qcow2, server_restarted,
          server_stopped, server_gone, server_mirrored, mirror_back]
