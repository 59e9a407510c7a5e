"""The kernel's swap for the benchmarks: zram, a swap file, and zswap before one; taken
down again whatever happens."""

import atexit
import os
import subprocess
import sys
import threading

ZRAM = "/sys/block/zram0"


def _write(path, value):
    with open(path, "w") as f:
        f.write(str(value))


def _read(path):
    with open(path) as f:
        return f.read()


def _active(path):
    return any(line.split()[0] == path for line in _read("/proc/swaps").splitlines()[1:])


def demand_no_other(bench):
    """One line and status 1 if swap areas are on before we begin: they would mix into the figures."""
    others = [line.split()[0] for line in _read("/proc/swaps").splitlines()[1:]]
    if others:
        sys.exit("%s: cannot compare: swap is on already (%s); swapoff first" % (bench, ", ".join(others)))


def drop_page_cache():
    """Clean pages of files that nobody maps: the next cgroup that reads them is charged for them."""
    _write("/proc/sys/vm/drop_caches", 1)


class Zram:
    """
    with Zram(bytes) as z: …; z.peak is the largest memory of the device, pool and all, in bytes; z.stored: the bytes of the pages in it
    when they were most, and z.used: the memory that they took then.
    """

    device = "/dev/zram0"

    def __init__(self, size):
        self.size = size
        self.peak = self.stored = self.used = 0
        self._stop = threading.Event()
        self._poller = threading.Thread(target=self._poll, daemon=True)

    @staticmethod
    def why_not():
        if os.geteuid() != 0:
            return "needs root"
        if not os.path.exists(ZRAM):
            subprocess.run(["modprobe", "zram"], stderr=subprocess.DEVNULL, check=False)
        if not os.path.exists(ZRAM):
            return "no /dev/zram0"
        if int(_read(ZRAM + "/disksize")) != 0:
            return "/dev/zram0 is in use"
        if "lz4" not in _read(ZRAM + "/comp_algorithm").replace("[", " ").replace("]", " ").split():
            return "zram has no lz4"
        return None

    def __enter__(self):
        atexit.register(self._take_down)
        try:
            _write(ZRAM + "/reset", 1)
            _write(ZRAM + "/comp_algorithm", "lz4")
            _write(ZRAM + "/disksize", self.size)
            subprocess.run(["mkswap", self.device], check=True, stdout=subprocess.DEVNULL)
            subprocess.run(["swapon", self.device], check=True)
        except BaseException:
            self._take_down()
            raise
        self._poller.start()
        return self

    def _sample(self):
        fields = _read(ZRAM + "/mm_stat").split()
        self.peak = max(self.peak, int(fields[2]), int(fields[4]))
        if int(fields[0]) > self.stored:
            self.stored, self.used = int(fields[0]), int(fields[2])

    def _poll(self):
        while not self._stop.wait(0.05):
            self._sample()

    def _take_down(self):
        if _active(self.device):
            subprocess.run(["swapoff", self.device], check=False)
        _write(ZRAM + "/reset", 1)
        atexit.unregister(self._take_down)

    def __exit__(self, *_):
        self._stop.set()
        self._poller.join()
        self._sample()
        self._take_down()


class SwapFile:
    """with SwapFile(path, bytes): …; the file is removed at the end."""

    def __init__(self, path, size):
        self.path = path
        self.size = size

    def __enter__(self):
        atexit.register(self.__exit__)
        try:
            fd = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            try:
                os.posix_fallocate(fd, 0, self.size)
                os.fsync(fd)
            finally:
                os.close(fd)
            subprocess.run(["mkswap", self.path], check=True, stdout=subprocess.DEVNULL)
            subprocess.run(["swapon", self.path], check=True)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if _active(self.path):
            subprocess.run(["swapoff", self.path], check=False)
        if os.path.exists(self.path):
            os.unlink(self.path)
        atexit.unregister(self.__exit__)


class Zswap:
    """
    with Zswap() as z: …; before whatever swap is on, with the smallest pool that can be had. z.compressor: the fastest that
    the kernel has; z.peak: its largest memory, in bytes.
    """

    folder = "/sys/module/zswap/parameters/"
    names = ("compressor", "max_pool_percent", "enabled")
    compressors = ("lz4", "lzo-rle", "lzo")

    def __init__(self):
        self.before = {}
        self.compressor = None
        self.peak = 0
        self._stop = threading.Event()
        self._poller = threading.Thread(target=self._poll, daemon=True)

    @classmethod
    def why_not(cls):
        if not os.path.isdir(cls.folder):
            return "the kernel has no zswap"
        if _read(cls.folder + "enabled").strip() == "Y":
            return "zswap is on already"
        return None

    @staticmethod
    def pool_max():
        """Bytes that a pool of the smallest size may take."""
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 100

    def _fastest(self):
        for name in self.compressors:
            try:
                _write(self.folder + "compressor", name)
                return name
            except OSError:
                continue  # not in this kernel
        return self.before["compressor"]

    def __enter__(self):
        try:
            self.before = {name: _read(self.folder + name).strip() for name in self.names}
            atexit.register(self._put_back)
            self.compressor = self._fastest()
            _write(self.folder + "max_pool_percent", 1)
            _write(self.folder + "enabled", "Y")
        except BaseException:
            self._put_back()
            raise
        self._poller.start()
        return self

    def _poll(self):
        while not self._stop.wait(0.05):
            for line in _read("/proc/meminfo").splitlines():
                if line.startswith("Zswap:"):
                    self.peak = max(self.peak, int(line.split()[1]) << 10)

    def _put_back(self):
        for name, value in reversed(self.before.items()):
            _write(self.folder + name, value)
        atexit.unregister(self._put_back)

    def __exit__(self, *_):
        self._stop.set()
        self._poller.join()
        self._put_back()
