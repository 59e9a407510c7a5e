"""The heap of a process of a run: what it allocates and frees is seen from outside, whether it fits or is paged, and in its children."""
import contextlib
import json
import os
import re
import subprocess

from running import children_of, printed, process_of
from tap import STEWARD, Skip, environment, eq, main
from terminal import terminal

K = 1 << 10
M = 1 << 20
# Each line of input is a step; before and after it nothing is allocated that matters.
PROGRAM = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = (ctypes.c_size_t,)
libc.free.argtypes = (ctypes.c_void_p,)
class mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]
libc.mallinfo2.restype = mallinfo2
blocks = (ctypes.c_void_p * 50000)()
taken = 0
def take(n, size):
    global taken
    for taken in range(taken, taken + n):
        blocks[taken] = libc.malloc(size)
        ctypes.memset(blocks[taken], 1, size)
    taken += 1
def drop(first, end, step):
    for i in range(first, end, step):
        libc.free(blocks[i])
def child():
    if os.fork() == 0:
        take(3000, 1000)
        print("ready", flush=True)
        sys.stdin.readline()
        os._exit(0)
print("ready", flush=True)
for line in sys.stdin:
    exec(line)
    info = libc.mallinfo2()
    print(info.uordblks + info.hblkhd, flush=True)
"""


class Program:
    def __init__(self, run):
        self.run = run

    def do(self, step):
        """What the program's own mallinfo2 says is in use after it."""
        self.run.stdin.write(step + "\n")
        self.run.stdin.flush()
        return int(self.run.stdout.readline())

    def heaps(self):
        """By pid."""
        one, = json.loads(printed("ps", "--json", str(self.run.pid)))["runs"]
        return {p["pid"]: p["heap"] for p in one["processes"]}

    def heap(self):
        return self.heaps()[process_of(self.run)]


@contextlib.contextmanager
def program(ram):
    p = subprocess.Popen([STEWARD, "run", "--ram", ram, "/usr/bin/python3", "-c", PROGRAM], text=True, stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(STEWARD_PRELOAD=os.environ["STEWARD_LIBRARY"]))
    try:
        if p.stdout.readline() != "ready\n":
            raise Skip(p.stderr.read())
        yield Program(p)
    finally:
        p.communicate()


def near(got, want, tolerance):
    assert abs(got - want) <= tolerance, (got, want)


def parts_make_the_whole(heap):
    eq(heap["held_bytes"], sum(heap[k + "_bytes"] for k in ("live", "free_slots", "cached", "free_chunks", "meta")))


def steps(ram):
    with program(ram) as p:
        p.do("take(100, 100)")
        start = p.heap()
        own = p.do("take(40000, 100)")
        small = p.heap()
        # A block of 100 bytes is one of 112. A thread may have some stacks full.
        near(small["live_bytes"] - start["live_bytes"], 40000 * 112, 256 * K)
        near(small["live_bytes"], own, 256 * K)
        near(small["slots_bytes"] - start["slots_bytes"], 40000 * 112, 256 * K)
        own = p.do("drop(0, 40000, 2)")
        half = p.heap()
        near(half["live_bytes"], own, 256 * K)
        near(half["free_slots_bytes"] - small["free_slots_bytes"], 20000 * 112, 256 * K)
        own = p.do("take(10, 2 << 20); take(100, 100000)")
        large = p.heap()
        near(large["mapped_bytes"] - half["mapped_bytes"], 20 * M, 10 * 8 * K)
        near(large["live_bytes"] - half["live_bytes"], 20 * M + 100 * 100000, 256 * K)
        own = p.do("drop(40110, 40210, 2)")
        holes = p.heap()
        near(holes["live_bytes"], own, 256 * K)
        near(holes["free_chunks_bytes"] - large["free_chunks_bytes"], 50 * 100000, 256 * K)
        for heap in (start, small, half, large, holes):
            parts_make_the_whole(heap)
        sizes = {s["slot_bytes"]: s for s in json.loads(printed("maps", "--json", str(process_of(p.run))))["heap"]["sizes"]}
        near(sizes[112]["slots"] - sizes[112]["used_slots"], 20000, 1500)
        near(sizes[112]["used_slots"], 20100, 1500)
        state, = {q["state"] for q in json.loads(printed("ps", "--json", str(p.run.pid)))["runs"][0]["processes"]}
        return state


def test_of_a_program_that_fits():
    eq(steps("256M"), "native")


def test_of_a_program_that_is_paged():
    eq(steps("20M"), "engaged")


def test_a_child_has_its_parents_heap_and_goes_its_own_way():
    with program("256M") as p:
        p.do("take(40000, 100)")
        before = p.heap()
        p.run.stdin.write("child()\n")
        p.run.stdin.flush()
        lines = {p.run.stdout.readline(), p.run.stdout.readline()}
        assert "ready\n" in lines, lines
        parent = process_of(p.run)
        child, = children_of(parent)
        heaps = p.heaps()
        near(heaps[parent]["live_bytes"], before["live_bytes"], 256 * K)
        near(heaps[child]["live_bytes"], before["live_bytes"] + 3000 * 1024, 256 * K)
        p.run.stdin.write("\n\n")
        p.run.stdin.flush()


def test_the_map_of_its_memory():
    """Where the blocks are that the program freed, and those whose pages are alike, is to be seen on a screen."""
    with program("20M") as p:
        p.do("take(400, 100000)")
        p.do("drop(100, 300, 1)")
        with terminal(str(p.run.pid), "-d", "100ms") as t:
            t.until(lambda text: "q quit" in text)
            text = t.press("m", lambda text: "f free" in text)
            cells = "".join(re.findall(r"^(?:map|   )      ([#spozf. ]+)$", text, re.M))
            # 40 MB, of which half is free, or was and is dropped; the other half is of one word where it is not in memory.
            assert cells.count("f") > 0, text
            assert 60 <= sum(map(cells.count, "f.")) <= 180, text
            assert 30 <= sum(map(cells.count, "#sz")) <= 180, text
            eq(t.quit(), 0)


main(globals())
