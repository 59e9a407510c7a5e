"""Memory cgroups (v1 and v2) and a runner that measures a command inside one.

A Cage is a cgroup with a hard limit. Commands enter it by a prefix, so that
only they are inside, not the test that waits for them:

    cage = Cage("name", limit_bytes, swap=False)
    result = run(cage.prefix + ["prog", "arg"], cage=cage, timeout=60)
    cage.oom_kills(), cage.peak(); cage.close()

patient=True keeps the OOM killer out (v1): Linux 6.18 declares a cgroup out of
memory while all its pages are recently used and swap is free, and ends one run
in two of the real programs; a patient cage lifts the limit by 64 KiB for a
moment instead, which makes the kernel try again, and counts that in stalls.

Only processes that are in the cage, or were started by run(), are ever killed,
each by its pid.

A program that makes cages, or swap (bench/kernelswap.py), calls end_tidily() first: then it leaves none behind when it
is ended by a signal.
"""

import atexit
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

ENTER = 'echo $$ > "$0" && exec "$@"'


def _mounts():
    """Where the memory controller is mounted: (version, path), or None."""
    found = None
    with open("/proc/self/mountinfo") as f:
        for line in f:
            left, right = line.split(" - ", 1)
            path, (kind, _, options) = left.split()[4], right.split()[:3]
            if kind == "cgroup" and "memory" in options.split(","):
                return 1, path
            if kind == "cgroup2" and found is None:
                with open(os.path.join(path, "cgroup.controllers")) as c:
                    if "memory" in c.read().split():
                        found = 2, path
    return found


def _write(path, value):
    with open(path, "w") as f:
        f.write(str(value))


def _read(path):
    with open(path) as f:
        return f.read()


def end_tidily():
    """From now on SIGTERM, SIGINT and SIGHUP end the program as an exception does, and only the first one: what it takes down then
    is taken down, although timeout(1) sends two of them, and people press Ctrl-C again. What has come up and is not yet in
    its `with` goes by atexit."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def end(number, _):
        for n in numbers:
            signal.signal(n, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)

    for n in numbers:
        signal.signal(n, end)


def why_not():
    """None if cages can be made here, otherwise the reason in a few words."""
    try:
        mount = _mounts()
        if mount is None:
            return "no memory controller"
        Cage("probe", 64 << 20, swap=False).close()
    except OSError as e:
        return "no cgroup can be made: %s" % e.strerror
    return None


class Cage:
    def __init__(self, name, limit, swap, patient=False):
        """limit in bytes, or None for accounting only; swap: whether its pages may go to the kernel's swap."""
        self.stalls = 0
        self._closing = threading.Event()
        self._patience = None
        mount = _mounts()
        if mount is None:
            raise OSError(0, "no memory controller")
        self.version, root = mount
        self.path = os.path.join(root, "steward-%s-%d" % (name, os.getpid()))
        if self.version == 2:
            _write(os.path.join(root, "cgroup.subtree_control"), "+memory")
        atexit.register(self.close)
        try:
            os.mkdir(self.path)
        except OSError:
            atexit.unregister(self.close)
            raise
        try:
            self._limit(limit, swap)
        except OSError:
            self.close()
            raise
        if patient and self.version == 1:
            _write(self._file("memory.oom_control"), 1)
            self._patience = threading.Thread(target=self._be_patient, args=(limit,), daemon=True)
            self._patience.start()

    def _limit(self, limit, swap):
        if self.version == 1:
            if limit is not None:
                _write(self._file("memory.limit_in_bytes"), limit)
            if not swap:
                _write(self._file("memory.swappiness"), 0)
                if limit is not None and os.path.exists(self._file("memory.memsw.limit_in_bytes")):
                    _write(self._file("memory.memsw.limit_in_bytes"), limit)
        else:
            if limit is not None:
                _write(self._file("memory.max"), limit)
            if not swap and os.path.exists(self._file("memory.swap.max")):
                _write(self._file("memory.swap.max"), 0)

    def _be_patient(self, limit):
        while not self._closing.wait(0.005):
            if "under_oom 1" not in _read(self._file("memory.oom_control")):
                continue
            self.stalls += 1
            for value in (limit + (64 << 10), limit):
                try:
                    _write(self._file("memory.limit_in_bytes"), value)
                except OSError:
                    pass  # EBUSY: nothing could be reclaimed down to the limit; the next round tries again

    def _file(self, name):
        return os.path.join(self.path, name)

    @property
    def prefix(self):
        return ["/bin/sh", "-c", ENTER, self._file("cgroup.procs")]

    def pids(self):
        try:
            return [int(p) for p in _read(self._file("cgroup.procs")).split()]
        except FileNotFoundError:
            return []  # closed

    def oom_kills(self):
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        for line in _read(self._file(name)).splitlines():
            key, value = line.split()
            if key == "oom_kill":
                return int(value)
        return 0

    def peak(self):
        """Largest charge in bytes, page cache included; 0 where the kernel does not tell (v2 before 5.19)."""
        name = "memory.max_usage_in_bytes" if self.version == 1 else "memory.peak"
        return int(_read(self._file(name))) if os.path.exists(self._file(name)) else 0

    def usage(self):
        """Charge in bytes at this moment, page cache included."""
        return int(_read(self._file("memory.usage_in_bytes" if self.version == 1 else "memory.current")))

    def programs(self):
        """What of the charge is memory of programs, in bytes: without the page cache, and without what the kernel has for them."""
        stat = dict(line.split() for line in _read(self._file("memory.stat")).splitlines())
        return int(stat["rss" if self.version == 1 else "anon"]) + int(stat["shmem"])

    def kill(self):
        """Ends every process in the cage."""
        for _ in range(200):
            pids = self.pids()
            if not pids:
                return
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.02)

    def close(self):
        self.kill()
        self._closing.set()
        if self._patience is not None:
            self._patience.join()
        for _ in range(100):
            self.kill()  # one that was just started may enter as late as this
            try:
                os.rmdir(self.path)
                break
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.02)
        atexit.unregister(self.close)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Result:
    """How a command ended. status: exit status, 128 + n for a signal, as a shell would say."""

    def __init__(self, **fields):
        self.__dict__.update(fields)


def run(argv, timeout, cage=None, env=None, cwd=None, keep=1 << 16, before_wait=None):
    """Runs argv, hashing its stdout as it comes (nothing is stored, so no page
    cache fills the cage); past the timeout what it started is killed."""
    errors = tempfile.TemporaryFile()
    began = time.monotonic()
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                               env=env, cwd=cwd, start_new_session=True)
    timed_out = threading.Event()

    def expire():
        timed_out.set()
        if cage is not None:
            cage.kill()
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    # Ctrl-C may come at any line from here on, and no thread may be left that the interpreter would wait for at its end.
    timer = threading.Timer(timeout, expire)
    timer.daemon = True
    digest, size, head, ended = hashlib.sha256(), 0, b"", None
    try:
        timer.start()
        if before_wait is not None:
            before_wait(process)
        while True:
            chunk = os.read(process.stdout.fileno(), 1 << 16)
            if not chunk:
                break
            digest.update(chunk)
            size += len(chunk)
            if len(head) < keep:
                head += chunk[:keep - len(head)]
        ended = os.wait4(process.pid, 0)
    except BaseException:
        if ended is None:
            expire()
            try:
                os.wait4(process.pid, 0)
            except ChildProcessError:
                pass  # reaped in the very moment of the interruption
        raise
    finally:
        timer.cancel()
        process.stdout.close()
    _, wait_status, usage = ended
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(wait_status)
    status = process.returncode if process.returncode >= 0 else 128 - process.returncode
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - 4000))
    tail = errors.read().decode(errors="replace")
    errors.close()
    return Result(status=status, digest=digest.hexdigest(), size=size, head=head, stderr=tail, seconds=seconds,
                  rss_mib=usage.ru_maxrss / 1024, timed_out=timed_out.is_set(),
                  oom_kills=cage.oom_kills() if cage is not None else 0,
                  peak=cage.peak() if cage is not None else 0)
