"""steward top in a terminal that remembers what it was told to show."""
import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time

from tap import STEWARD, environment

try:
    import pyte
except ImportError:
    sys.exit("python3-pyte is missing; run: make deps")


class Terminal:
    """steward top in a terminal of 24 rows. Its screen is what a person would see."""

    def __init__(self, *args, cols=80, **env):
        self.screen = pyte.Screen(cols, 24)
        self.stream = pyte.ByteStream(self.screen)
        fd, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, cols, 0, 0))
        self.process = subprocess.Popen([STEWARD, "top", *args], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                        env=environment(TERM="linux", **env))
        os.close(slave)
        self.fd = fd

    def text(self):
        return "\n".join(line.rstrip() for line in self.screen.display) + "\n"

    def until(self, seen, seconds=20):
        """Reads what comes until seen(text) is true."""
        deadline = time.monotonic() + seconds
        while not seen(self.text()):
            assert time.monotonic() < deadline, self.text()
            if select.select([self.fd], [], [], 0.2)[0]:
                self.stream.feed(os.read(self.fd, 65536))
        return self.text()

    def settled(self):
        """Reads until nothing has come for a moment: a screen may come in parts."""
        while select.select([self.fd], [], [], 0.3)[0]:
            self.stream.feed(os.read(self.fd, 65536))
        return self.text()

    def press(self, keys, seen):
        os.write(self.fd, keys.encode())
        return self.until(seen)

    def quit(self):
        os.write(self.fd, b"q")
        with contextlib.suppress(OSError):
            while os.read(self.fd, 65536):
                pass
        os.close(self.fd)
        return self.process.wait(20)


@contextlib.contextmanager
def terminal(*args, **more):
    t = Terminal(*args, **more)
    try:
        yield t
    finally:
        if t.process.poll() is None:
            t.process.kill()
            t.process.wait()
