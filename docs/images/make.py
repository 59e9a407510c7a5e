"""Makes the pictures of the README: a run as `steward top` shows it, and its report. `make images` runs this.

    make.py BUILD
"""
import base64
import fcntl
import html
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import time

HERE = os.path.dirname(os.path.abspath(__file__))
os.environ.setdefault("STEWARD", os.path.abspath(os.path.join(sys.argv[1], "src/cli/steward")))
os.environ.setdefault("STEWARD_STUB", "")
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "../../tests/cli"))

import pyte  # noqa: E402
from browser import browser  # noqa: E402

STEWARD = os.environ["STEWARD"]
COLUMNS, LINES, SECONDS = 92, 24, 12
# Three processes that keep coming back to a part of what they have, and move on.
WORK = """
import os, random, time
n = (24, 40, 56)
for i in (0, 1):
    if os.fork() == 0: break
else: i = 2
a = bytearray(n[i] << 20)
for at in range(0, len(a), 4096): a[at:at + 1024] = random.randbytes(1024)
end = time.time() + %d
while time.time() < end:
    base = random.randrange(len(a) // 2)
    for k in range(60000): a[base + random.randrange(len(a) // 3)] ^= 1
while i == 2:
    try: os.wait()
    except ChildProcessError: break
""" % SECONDS
COLOURS = {"black": "#000", "red": "#e06c75", "green": "#7ec699", "brown": "#e5c07b", "blue": "#61afef", "magenta": "#c678dd",
           "cyan": "#56b6c2", "white": "#dcdfe4", "default": None}


def watch(pid):
    """The screen of steward top after some seconds."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    child, fd = pty.fork()
    if child == 0:
        os.environ.update(TERM="linux", LC_ALL="C.UTF-8")
        os.execv(STEWARD, [STEWARD, "top", str(pid)])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    until = time.time() + SECONDS / 2
    os.set_blocking(fd, False)
    while time.time() < until:
        try:
            stream.feed(os.read(fd, 65536))
        except BlockingIOError:
            time.sleep(0.05)
    os.write(fd, b"q")
    os.waitpid(child, 0)
    return screen


def colour(name, default):
    return COLOURS.get(name, f"#{name}") or default


def cell(c):
    fore, back = colour(c.fg, "#dcdfe4"), colour(c.bg, "#1b1d21")
    if c.reverse:
        fore, back = back, fore
    weight = ";font-weight:bold" if c.bold else ""
    return f'<span style="color:{fore};background:{back}{weight}">{html.escape(c.data)}</span>'


def as_page(screen):
    rows = ("".join(cell(screen.buffer[y][x]) for x in range(COLUMNS)) for y in range(LINES))
    return ('<!DOCTYPE html><meta charset="utf-8"><style>body{margin:0;background:#1b1d21}pre{margin:0;padding:10px;display:inline-block;'
            'font:14px/1.25 "DejaVu Sans Mono",monospace}</style><pre>' + "\n".join(rows) + "</pre>")


def picture(page, name, width, element, height):
    with browser(page, width=width) as b:
        # The picture is taken without the scroll bar, and would be cut by its width.
        b.run("document.documentElement.style.overflow = 'hidden'")
        x, y, w, h = b.run(f"new Promise(done => setTimeout(() => {{ const r = {element}.getBoundingClientRect();"
                           "done([r.x, r.y, r.width, r.height]) }, 300))")
        shot = b.call("Page.captureScreenshot", format="png", captureBeyondViewport=True,
                      clip={"x": x, "y": y, "width": w, "height": min(h, height), "scale": 1})
    with open(os.path.join(HERE, name), "wb") as f:
        f.write(base64.b64decode(shot["data"]))


def main():
    with tempfile.TemporaryDirectory(prefix="steward-images-") as d:
        recording, page, top = (os.path.join(d, name) for name in ("job.stwrun", "job.html", "top.html"))
        with open(os.path.join(d, "job.py"), "w") as f:
            f.write(WORK)
        run = subprocess.Popen([STEWARD, "run", "--ram", "96M", "--record", "job.stwrun", "/usr/bin/python3", "job.py"], cwd=d)
        time.sleep(2)
        with open(top, "w") as f:
            f.write(as_page(watch(run.pid)))
        run.wait()
        subprocess.run([STEWARD, "report", "job.stwrun", "-o", page], cwd=d, check=True)
        picture(top, "top.png", 900, "document.querySelector('pre')", 700)
        picture(page, "report.png", 900, "document.body", 1080)


main()
