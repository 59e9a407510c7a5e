"""steward maps: of what a program says that it has touched, each page is in one place, and of the rest none is anywhere."""
import contextlib
import json
import os
import re
import signal
import subprocess
import time

from running import printed, process_of, running
from tap import STEWARD, Skip, environment, eq, main, steward

M = 1 << 20
# Four areas that the kernel cannot merge with others, because what lies above each has other rights; enough of it, since
# Steward would take an area above a small guard for a stack.
PROGRAM = """
import ctypes, mmap, random
libc = ctypes.CDLL(None)
def area(size, touched, content):
    m = mmap.mmap(-1, (size << 20) + (1 << 17), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start = ctypes.addressof(ctypes.c_char.from_buffer(m))
    assert libc.mprotect(ctypes.c_void_p(start + (size << 20)), 1 << 17, 0) == 0
    for i in range(0, touched << 20, 4096):
        m[i:i + 4096] = content()
    print(start, flush=True)
    return m
rng = random.Random(1)
noise = area(20, 16, lambda: rng.randbytes(4096))
text = area(24, 20, lambda: rng.randbytes(1024) * 4)
word = area(8, 8, lambda: b"steward!" * 512)
never = area(8, 0, None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = (ctypes.c_void_p,)
blocks = [libc.malloc(100000) for _ in range(40)]
for b in blocks:
    ctypes.memset(b, 1, 100000)
for b in blocks[::2]:
    libc.free(b)
print("ready", flush=True)
input()
"""


@contextlib.contextmanager
def engaged(**env):
    """The program in a third of its memory, with the real library. Gives the launcher's pid, its own, and the addresses of its four areas."""
    p = subprocess.Popen([STEWARD, "run", "--ram", "20M", "/usr/bin/python3", "-c", PROGRAM], text=True, stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         env=environment(STEWARD_PRELOAD=os.environ["STEWARD_LIBRARY"], **env))
    try:
        said = []
        while not said or said[-1] not in ("ready\n", ""):
            said.append(p.stdout.readline())
        if said[-1] == "":
            raise Skip(p.stderr.read())
        yield p.pid, process_of(p), [int(address) for address in said[:4]]
    finally:
        p.communicate("\n")


def maps_json(pid):
    return json.loads(printed("maps", "--json", str(pid)))


def counters(pid):
    run, = json.loads(printed("ps", "--json", str(pid)))["runs"]
    return run["counters"]


def maps_at_rest(pid):
    """The kernel's figures and the process's are of two moments: a page that moves in between is in two places, or in none."""
    moves = ("pgfault", "pswpout", "pgdeactivate", "pgdiscard", "pgclean")
    for _ in range(100):
        before, said, after = counters(pid), maps_json(pid), counters(pid)
        if all(before[c] == after[c] for c in moves):
            return said
        time.sleep(0.1)
    raise AssertionError("the pager does not come to rest")


WINDOW = 32 * 4096  # a stream of first touches is given pages ahead, zeros
PLACES = ("mapped", "sample", "pool", "swap_file", "same")


def in_places(text, start=0, size=1 << 47):
    """Bytes of [start, start + size) in each place; areas lie within it, or outside."""
    within = [a for a in text["areas"] if start <= a["start"] and a["end"] <= start + size]
    return {place: sum(a[place + "_bytes"] for a in within) for place in PLACES}


def test_every_touched_page_is_in_one_place():
    with engaged() as (_, pid, (noise, text, word, never)):
        said = maps_at_rest(pid)
    eq((said["pid"], said["state"], said["answered"]), (pid, "engaged", True))
    for start, size, touched in ((noise, 20, 16), (text, 24, 20), (word, 8, 8), (never, 8, 0)):
        got = sum(in_places(said, start, size * M).values())
        assert touched * M <= got <= touched * M + WINDOW * (0 < touched < size), (got, touched)
    # Noise is not for the pool; what repeats is. A word takes no room at all.
    for start, size, place, least in ((noise, 20, "swap_file", 8), (text, 24, "pool", 8), (word, 8, "same", 4)):
        got = in_places(said, start, size * M)
        assert got[place] > least * M, got
        assert sum(n for p, n in got.items() if p not in ("mapped", "sample", place)) <= WINDOW, got


def test_free_blocks_of_the_heap():
    with engaged() as (_, pid, _):
        free = sum(a["discardable_bytes"] for a in maps_at_rest(pid)["areas"]) // 4096
        dropped = counters(pid)["pgdiscard"]
    # 20 blocks of 100000 bytes, which are 24 pages and what shares one with its neighbours; the interpreter has some, too.
    assert free > 200 and 20 * 22 <= free + dropped <= 20 * 25 + 256, (free, dropped)


def test_table_and_totals():
    with engaged() as (_, pid, _):
        text = printed("maps", str(pid)).splitlines()
    eq(text[0], "     ADDRESS   SIZE MAPPED SAMPLE   POOL   FILE   SAME   FREE      AREA")
    for line in text[1:-2]:
        assert re.fullmatch(r"[0-9a-f]{12}( +[0-9.]+[KMGT]?){7} [r-][w-][x-][ps] \S.*", line), line
    assert re.fullmatch(r" {7}total( +[0-9.]+[KMGT]?){7}", text[-2]), text[-2]
    assert re.fullmatch(r"page tables: [0-9.]+[KM] of the kernel; Steward's, frames from leaf to root: \d+, \d+, \d+, 1", text[-1]), text
    assert any(line.endswith(" [steward]") for line in text), text
    assert any(line.endswith(" [heap]") for line in text), text


def test_a_process_that_fits():
    with running(STUB="fit") as run:
        pid = process_of(run)
        said = maps_json(pid)
        with open(f"/proc/{pid}/statm") as f:
            resident = int(f.read().split()[1]) * 4096
        text = printed("maps", str(pid))
    eq((said["state"], said["answered"], said["table_frames"]), ("native", True, []))
    whole = in_places(said)
    eq((whole["mapped"], whole["sample"], whole["pool"]), (resident, 0, 0))
    assert re.search(r"^page tables: \d+K of the kernel$", text, re.M), text


def test_a_process_that_does_not_answer():
    line = "steward: {0}: it does not answer, so what only it knows is missing; see whether it is stopped\n"
    with running(STUB="pressure") as run:
        pid = process_of(run)
        r = steward("maps", "--json", str(pid))
        eq((r.stderr, r.returncode), (line.format(pid), 1))
        said = json.loads(r.stdout)
    eq(said["answered"], False)
    eq({a["pool_bytes"] for a in said["areas"] if a["name"] == "[heap]"}, {None})


def test_a_process_that_is_stopped_answers_later():
    with engaged() as (launcher, pid, _):
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        r = steward("maps", str(pid))
        assert time.monotonic() - began < 20, "it hung"
        eq(r.returncode, 1)
        assert re.search(r"^[0-9a-f]{12} +\S+ +\S+( +-){5} rw-p \[anon\]$", r.stdout, re.M), r.stdout
        # The launcher has stopped with it, as a shell's job does. It lets the process go on when it does so itself.
        os.kill(launcher, signal.SIGCONT)
        while steward("maps", str(pid)).returncode != 0 and time.monotonic() - began < 30:
            time.sleep(0.05)
        eq(maps_json(pid)["answered"], True)


def test_several_ask_at_once():
    with engaged() as (_, pid, (noise, _, _, _)):
        maps_at_rest(pid)
        asking = [subprocess.Popen([STEWARD, "maps", "--json", str(pid)], stdout=subprocess.PIPE, env=environment()) for _ in range(5)]
        answers = [json.loads(p.communicate()[0]) for p in asking]
        eq([p.returncode for p in asking], [0] * 5)
    for said in answers:
        places = in_places(said, noise, 20 * M)
        assert 16 * M <= sum(places.values()) <= 16 * M + WINDOW, places


def test_json_is_documented():
    with running(STUB="fit") as run:
        said = maps_json(process_of(run))
    with open(os.path.join(os.environ["DOCS_DIR"], "see-schema.md")) as f:
        doc = f.read()
    for key in (*said, *said["areas"][0]):
        assert f"`{key}`" in doc, f"docs/see-schema.md does not tell about {key}"


def test_what_has_no_maps():
    r = steward("maps")
    eq((r.stderr, r.returncode), ("steward: maps: no process given; steward ps has their pids\n", 2))
    r = steward("maps", "1", "2")
    eq((r.stderr, r.returncode), ("steward: 2: one process at a time; leave it out\n", 2))
    with running(STUB="fit") as run:
        r = steward("maps", str(run.pid))
        eq((r.stderr, r.returncode), (f"steward: {run.pid}: Steward is not in it; steward ps {run.pid} shows the processes of its run\n", 1))


main(globals())
