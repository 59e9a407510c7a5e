"""steward explain: golden pictures and figures, machine files that are wrong, processes."""
import os
import random
import re
import subprocess
import tempfile

from browser import browser
from tap import eq, main, scratch, steward

MACHINES = os.environ["MACHINES"]


def machine(name):
    return os.path.join(MACHINES, name + ".yaml")


def explain(*args):
    """stdout of what must work, and of which no line is wider than a terminal."""
    r = steward("explain", *args)
    eq((r.returncode, r.stderr), (0, ""))
    for line in r.stdout.splitlines():
        assert len(line) <= 80, line
    return r.stdout


def fails(args, status, line):
    r = steward("explain", *args)
    eq(r.stderr, f"steward: {line}\n")
    eq(r.returncode, status)
    eq(r.stdout, "")


def test_layout_of_a_32_bit_program_without_random_offsets():
    eq(explain("layout", "--machine", machine("i386-4g"), "--fixed"), """\
A new 32-bit program on i386-4g, stack limit 8 MiB, without random offsets.

      c0000000 ┬──────────────────────────┐ the kernel's from here on
               │ stack        ↓ 8 MiB     │ grows when touched
      bf800000 ├──────────────────────────┤ its limit
               │ guard gap      1 MiB     │ never mapped
      bf700000 ├──────────────────────────┤
               ┊                          ┊ 128 MiB are kept for the stack
      b8000000 ├──────────────────────────┤ mmap_base
               │ mappings     ↓           │ libraries first, then mmap
               │                          │
               ┊ free                     ┊ 2.8 GiB
               │ heap         ↑           │ brk
               │                          │
        550000 ├──────────────────────────┤ start_brk
               │ bss            256 KiB   │ zeros
        510000 ├──────────────────────────┤
               │ data           64 KiB    │ the file's, private
        500000 ├──────────────────────────┤
               │ text           1 MiB     │ the file's
        400000 ├──────────────────────────┤
               ┊ free                     ┊ 4 MiB
             0 ┴──────────────────────────┘

Every start has these addresses: an attacker knows them.
""")


def test_layout_is_random_by_its_seed_alone():
    one = explain("layout", "--seed", "1")
    eq(one, explain("layout", "--seed", "1"))
    eq(one, explain("layout", "--set", "seed=1"))
    assert one != explain("layout", "--seed", "2")
    assert "random, 28 bits" in one and "random, 22 bits" in one and "random, 18 bits" in one, one
    fixed = explain("layout", "--fixed")
    assert " 7ffff7fff000 ├" in fixed and " 7ffffffff000 ┬" in fixed and " 555555554000 ├" in fixed, fixed


def test_watermarks_of_a_machine_known_from_proc_zoneinfo():
    zones = "[{name: DMA, size: 15360K, reserve_ratio: 256}, {name: DMA32, start: 16M, size: 3091660K, " \
            "reserve_ratio: 256}, {name: Normal, start: 4G, size: 6684672K, reserve_ratio: 32}]"
    out = explain("watermarks", "--set", "memory.zones=" + zones, "--set", "vm.min_free_kbytes=67584")
    for row in (r"DMA +0 +3840 +26 +32 +38", r"DMA32 +0 +772915 +5334 +6667 +8000",
                r"Normal +0 +1671168 +11534 +14417 +17300"):
        assert re.search("^" + row + "$", out, re.M), out
    for text in ("DMA keeps 3019 pages", "DMA keeps 9547 pages", "DMA32 keeps 6528 pages"):
        assert text in out, out
    eq(out.count(" keeps "), 3)


def test_watermarks_follow_from_the_steps_shown():
    for name in ("laptop-8g", "server-2node", "i386-4g", "x86-64-la57", "container-512m"):
        out = explain("watermarks", "--machine", machine(name))
        steps = re.findall(r"MIN  = (\d+) × (\d+) / (\d+) = (\d+),.*\n.*MIN / 4 = (\d+) and (\d+) × (\d+) / 10000 = (\d+)\n"
                           r".*= (\d+), HIGH .*= (\d+)\n", out)
        assert len(steps) >= 2, out
        for step in steps:
            pages, zone, total, low_min, quarter, again, factor, scaled, low, high = map(int, step)
            eq(pages * zone // total, low_min)
            eq((low_min // 4, again * factor // 10000, again), (quarter, scaled, zone))
            gap = max(quarter, scaled)
            eq((low, high), (low_min + gap, low_min + 2 * gap))
    assert "at its 512 MiB, who allocates reclaims at once" in explain("watermarks", "-m", machine("container-512m"))


def test_tables_of_a_program_in_one_piece():
    eq(explain("tables", "--spread", "dense", "--pages", "512", "--set", "seed=3"), """\
512 pages, 2 MiB, in one piece, of a 64-bit program.

page tables          index bits           memory   of program       walk
1 level: an array    36                    5 MiB     250.00 %          1
2 levels             18+18                 4 MiB     200.00 %          2
3 levels             12+12+12             96 KiB       4.69 %          3
4 levels: x86-64     9+9+9+9              20 KiB       0.98 %          4
5 levels: la57       9+9+9+9+9            24 KiB       1.17 %          5

Walk: entries, of 8 bytes, that a TLB miss loads if no page-walk cache helps.
An array is 512 GiB whole; counted are the 4 MiB blocks in use.
""")


def memory_of(out, name):
    size, unit = re.search("^" + name + r" .*?([\d.]+) ([KMG])iB", out, re.M).groups()
    return float(size) * {"K": 1, "M": 1024, "G": 1024 * 1024}[unit]


def test_tables_of_a_32_bit_program():
    out = explain("tables", "--spread", "dense", "--pages", "1024", "--machine", machine("i386-4g"))
    # One directory and, as the program does not begin at a multiple of 4 MiB, two tables, each of 8 KiB.
    eq(memory_of(out, "2 levels: i386"), 24)
    # The 4 MiB block in use, and the frame that names the blocks.
    eq(memory_of(out, "1 level: an array"), 4 * 1024)
    # 32 bytes take a frame, as do directory and three tables.
    eq(memory_of(out, "3 levels: PAE"), 20)


def test_more_levels_need_less_memory_where_pages_are_few():
    out = explain("tables", "--spread", "random", "--pages", "1000")
    # Nobody shares a leaf; of 35 bits the first level has 2^8 entries in use, the second mostly one a page.
    assert 2 * 4 * 1000 <= memory_of(out, "4 levels: x86-64") <= 3 * 4 * 1001 + 4, out
    assert "1 level: an array    36             over 256 MiB" in out, out


def test_a_process_is_drawn_as_proc_has_it():
    child = subprocess.Popen(["sleep", "100"])
    try:
        # Asleep, it maps nothing any more.
        while not re.search(r"\(sleep\) S ", open(f"/proc/{child.pid}/stat").read()):
            pass
        out = explain("layout", str(child.pid))
        with open(f"/proc/{child.pid}/maps") as f:
            maps = f.read()
        tables = explain("tables", str(child.pid))
    finally:
        child.kill()
        child.wait()
    assert out.startswith(f"sleep (process {child.pid})\n"), out
    for name, drawn in ((r"\[stack\]", "stack"), (r"\[heap\]", "heap")):
        start, end = re.search(r"^(\w+)-(\w+) .*" + name, maps, re.M).groups()
        assert re.search(rf"{end.lstrip('0')} [┬├]─+.\n *│ {drawn} .*\n *{start.lstrip('0')} ├", out), out
    assert "program: sleep" in out and "[vdso]" in out, out
    # The kernel keeps a table whose last page is gone; otherwise it has the same ones.
    kernel = int(re.search("The kernel's own tables of it have (\\d+) KiB, less their root of 4 KiB", tables).group(1))
    assert 0 <= kernel + 4 - memory_of(tables, "4 levels: x86-64") <= 16, tables


def free_frames(row):
    return sum(int(blocks) << order for order, blocks in enumerate(row.split()[:11]))


def walks(out):
    """For each address: (address, offset, [the text of each access])."""
    for part in re.split(r"\n(?=0x)", out)[1:]:
        head, *accesses = re.split(r"\n  \d\. ", part)
        indexes = [int(n) for n in re.search("^  index (.*)$", head, re.M).group(1).split()]
        yield int(head.split()[0], 16), indexes, accesses


def check_walk(out, bits, first=0):
    """Bits: of the levels, root first. What is shown is what follows from the address and the entries."""
    for address, indexes, accesses in walks(out):
        shift, want = 12 + sum(bits), []
        for width in bits:
            shift -= width
            want.append(address >> shift & (1 << width) - 1)
        eq(indexes, want + [address & 4095])
        table = None
        for level, at, value in re.findall(r"^ +(\d) +0x(\w+)  (\w{16})  ", accesses[0], re.M):
            index = indexes[len(bits) - int(level)]
            if table is not None:
                eq(int(at, 16), table + 8 * index)
            table = int(value, 16) & 0xffffffffff000
        eq(int(re.search("physical address 0x(\\w+)", accesses[0]).group(1), 16), table | address & 4095)


def test_walks_follow_from_the_address_and_the_entries():
    addresses = ["0x7f1234567abc", "0x1000", "0x7fffffffffff"]
    check_walk(explain("walk", *addresses), [9, 9, 9, 9])
    check_walk(explain("walk", "--machine", machine("x86-64-la57"), "0xff12345678abc"), [9, 9, 9, 9, 9])
    check_walk(explain("walk", "--machine", machine("i386-4g"), "0xbffff123", "0x1000"), [10, 10])
    check_walk(explain("walk", "--set", "paging.bits=[12, 12, 12]", addresses[0]), [12, 12, 12])
    check_walk(explain("walk", "--set", "paging.bits=[20]", "0xdeadbeef"), [20])


def test_a_second_touch_hits_and_a_neighbour_saves_most_of_the_walk():
    (_, _, first), (_, _, second) = walks(explain("walk", "0x7f1234567abc", "0x7f1234568000"))
    assert first[0].startswith("read: no TLB has it: a walk of 4 loads\n"), first
    eq(first[0].count(" +A"), 4)
    eq(first[1].splitlines()[0], "read: L1 data has it")
    assert "not for this: a walk of 1 load\n" in first[2] and first[2].count(" +D") == 1, first
    assert "a page-walk cache saves the 3 above level 1" in second[0], second


def test_a_huge_page_is_a_level_shorter():
    (_, _, accesses), = walks(explain("walk", "--set", "paging.thp=yes", "--pages", "1024", "0x40201234"))
    assert "a walk of 3 loads" in accesses[0] and " huge 0x" in accesses[0] and " frame 0x" not in accesses[0], accesses
    entry = int(re.search(r"^ +2 +0x\w+  (\w{16})", accesses[0], re.M).group(1), 16)
    eq(int(re.search("address 0x(\\w+)", accesses[0]).group(1), 16), (entry & 0xfffffffe00000) + 0x1234)


def test_addresses_that_are_nobodys():
    out = explain("walk", "0x800000000000", "0xffff800000000000", "0xfff7800000000000")
    eq(out.count("Not canonical: bits 63 to 47"), 2)
    eq(out.count("The kernel's half"), 1)
    assert "addresses have 32 bits: there is no such one" in explain("walk", "-m", machine("i386-4g"), "0x100000000")
    out = explain("walk", "--pages", "0", "0x1000")
    assert "page fault: the program has nothing there, or not for this: SIGSEGV" in out, out
    assert "2. " not in out, out


def test_an_address_of_a_process_is_walked():
    child = subprocess.Popen(["sleep", "100"])
    try:
        while b"sleep" not in open(f"/proc/{child.pid}/cmdline", "rb").read():
            pass
        with open(f"/proc/{child.pid}/maps") as f:
            maps = f.read()
        stack = re.search(r"^\w+-(\w+) .*\[stack\]", maps, re.M).group(1)
        code = re.search(r"^(\w+)-\w+ r-xp", maps, re.M).group(1)
        out = explain("walk", str(child.pid), hex(int(stack, 16) - 8), "0x" + code, "0x10")
    finally:
        child.kill()
        child.wait()
    check_walk(out.rsplit("\n0x10\n", 1)[0], [9, 9, 9, 9])
    (_, _, on_stack), (_, _, in_code), (_, _, nowhere) = walks(out)
    assert " +D" in on_stack[2] and " nx " in on_stack[2], out
    assert in_code[2].startswith("fetch: ") and " write" not in in_code[0].split("frame")[1], out
    assert "SIGSEGV" in nowhere[0], out


def acts(out):
    return re.split(r"\n\n(?=The )", out)[1:]


def counters(act):
    text = re.search(r"^  counters  (.*?)\n  time", act, re.M | re.S).group(1)
    return {name: int(n) for name, n in re.findall(r"(\w+) \+(\d+)", text)}


def test_a_first_write_takes_a_frame_and_its_tables():
    act, = acts(explain("fault", "write"))
    before = free_frames(re.search("before(.*)", act).group(1))
    after = free_frames(re.search("after (.*)", act).group(1))
    tables = int(re.search(r"(\d+) of the frames are new page tables", act).group(1))
    eq(before - after, tables + 1)
    eq(counters(act), {"pgfault": 1, "pgminor": 1})
    frame = re.search("^  frame     (0x\\w+)", act, re.M).group(1)
    assert f"\n  entry     frame {frame} user write nx A D\n" in act, act
    assert "inactive anonymous" in act, act


def test_each_fault_is_what_it_is_called():
    want = {
        "read": [{"pgfault": 1, "pgminor": 1}],
        "cow": [{"pgfault": 1, "pgcow": 1}, {"pgfault": 1, "pgreuse": 1}],
        "file": [{"pgfault": 1, "pgmajfault": 1, "pgfilein": 32}, {"pgfault": 1, "pgminor": 1, "pgaround": 15}],
        "invalid": [{"pgfault": 1}, {"pgfault": 1}],
    }
    for name, each in want.items():
        eq([counters(act) for act in acts(explain("fault", name))], each)
    swap = counters(acts(explain("fault", "swap"))[0])
    eq((swap["pgmajfault"], swap["pswpin"]), (1, 1))
    soft = acts(explain("fault", "--set", "vm.accessed_bits=no", "soft"))[0]
    eq(counters(soft)["pgsoft"], 1)
    assert "not mapped" in soft and "active anonymous" in soft, soft


def test_all_faults_are_told_on_any_machine():
    for name in ("laptop-8g", "server-2node", "i386-4g", "x86-64-la57", "container-512m"):
        eq(explain("fault", "--machine", machine(name)).count(" fault. A page"), 4)
    assert "has no room in swap" in explain("fault", "--set", "swap=[]", "swap")


def rows(out):
    """The passes of a table: (who, priority, free, four lists, kept, activated, swapped, dropped)."""
    return [(who, *map(int, rest.split())) for who, rest in re.findall(r"^(kswapd|direct) +(.*)$", out, re.M)]


def test_reclaim_keeps_its_marks():
    out = explain("reclaim")
    low, high = map(int, re.search(r"LOW (\d+), HIGH (\d+)", out).groups())
    wakes = int(re.search(r"After \d+ pages (\d+) are free", out).group(1))
    assert wakes <= low + 1, out
    alone = rows(out.split("\n3. ")[0])
    assert alone and all(who == "kswapd" for who, *_ in alone), out
    eq([row[1] for row in alone], sorted((row[1] for row in alone), reverse=True))
    assert alone[-2][2] < high <= alone[-1][2] or alone[-1][2] >= high, out
    assert any(who == "direct" for who, *_ in rows(out.split("\n3. ")[1])), out
    for *_, kept, activated, swapped, dropped in alone:
        assert kept + activated + swapped + dropped > 0, out
    eq(explain("reclaim"), out)


def test_the_oom_killer_takes_who_has_most_points():
    out = explain("reclaim", "oom")
    total = int(re.search(r"thousandths of (\d+) pages, which are all memory and swap", out).group(1))
    tasks = re.findall(r"^ +\d+ (\w+) +(\d+) +(\d+) +(\d+) +(-?\d+) +(\S+)( +◄)?$", out, re.M)
    eq(len(tasks), 3)
    points = {}
    for name, rss, swap, tables, adj, shown, victim in tasks:
        if adj == "-1000":
            eq(shown, "never")
            continue
        points[name] = int(rss) + int(swap) + int(tables) + int(adj) * (total // 1000)
        eq(points[name], int(shown))
        eq(bool(victim), name == "worker")
    eq(max(points, key=points.get), "worker")
    assert f"it has the most memory: {points['worker']} points" in " ".join(out.split()), out


def test_reclaim_of_machines_of_other_kinds():
    out = explain("reclaim", "--machine", machine("container-512m"))
    assert "The limit was reached" in out and "kswapd_wake             0" in out, out
    assert "\n3. It writes on.\n" in explain("reclaim", "--set", "cpu.count=1")
    out = explain("reclaim", "--set", "swap=[]", "oom")
    assert "nobody" not in out and "killed task 1" in out, out
    eq(sum(row[-2] for row in rows(out)), 0)


def chunks(out):
    """The heap at the end: (address, size, what)."""
    text = out.split("\nThe heap, chunk by chunk\n")[1]
    return [(int(at, 16), int(size), what) for at, size, what in re.findall(r"^  0x(\w+) +(\d+)  (.*)$", text, re.M)]


def test_the_heap_is_tiled_by_chunks_whatever_was_asked():
    rand = random.Random(3)
    for _ in range(20):
        words, live = [], []
        for _ in range(40):
            if live and rand.random() < 0.45:
                words.append("free:%d" % live.pop(rand.randrange(len(live))))
            else:
                live.append(1 + sum(not w.startswith("free") for w in words))
                words.append(str(rand.choice([1, 24, 100, 500, 1000, 1024, 3000, 9000, 70000])))
        out = explain("alloc", *words)
        tiles = chunks(out)
        for (at, size, what), (next_at, _, next_what) in zip(tiles, tiles[1:]):
            eq(at + size, next_at)
            eq(size % 16, 0)
            assert not (what.startswith("free") and next_what.startswith(("free", "top"))), out
        eq(sorted(int(n) for n in re.findall(r"block (\d+), \d+ asked", out)), sorted(live))
        # Each request is told to its end, and each step says where from.
        eq(out.count("\n  block     "), sum(not w.startswith("free") for w in words))
        eq(out.count("\n  merge     ") >= sum(w.startswith("free") for w in words), True)


def test_requests_are_served_where_the_bins_say():
    out = explain("alloc", "100", "100", "100", "free:1", "500", "100", "free:3", "300000", "free:6")
    steps = out.split("\n\n")
    assert "bin 7, for exactly this size, is empty" in steps[1] and "there is no heap yet" in steps[1], out
    assert "in the unsorted bin" in steps[4], out
    assert "112 does not fit: sorted into small bin 7" in steps[5], out
    assert "bin 7 has a chunk of exactly this size: taken" in steps[6], out
    assert "mmap      296 KiB at" in steps[8] and "74 pages by minor fault" in steps[8], out
    assert "munmap    296 KiB" in steps[9] and "threshold from now on only blocks from 296 KiB" in steps[9], out


def test_slabs_and_the_cache_serve_before_the_bins():
    out = explain("alloc", "--slabs", "100", "100", "112", "free:1", "100", "9000")
    steps = out.split("\n\n")
    assert "made of a chunk of the arena, 4096 bytes, 36 slots" in steps[1] and "brk" in steps[1], out
    assert "slot      number 0" in steps[1] and "usable: 112 bytes" in steps[1], out
    assert "filled with 2 slots" in steps[2] and "slot      number 1" in steps[2] and "made of" not in steps[2], out
    assert "the newest is taken" in steps[3] and "0 bytes are left over" in steps[3], out
    slot = re.search(r"block     (0x[0-9a-f]+)", steps[1])[1]
    assert f"free of block 1, {slot}, slot 0 of the slab at {slot}" in steps[4] and "cache     takes the slot" in steps[4], out
    assert "block     " + slot in steps[5], out
    assert "chunk     9008 bytes" in steps[6] and "top       cut from its low end" in steps[6], out
    heap = out.split("The heap, chunk by chunk\n")[1]
    assert "slab: 36 slots of 112, 33 free, 0 at hand" in heap, out
    eq(sorted(re.findall(r"slot (\d+) +112  block (\d+)", heap)), [("0", "4"), ("1", "2"), ("2", "3")])


def test_a_slab_without_a_slot_in_use_goes_back():
    out = explain("alloc", "--slabs", *["8000"] * 40, *[f"free:{n}" for n in range(1, 25)])
    eq(out.count("made of a chunk of the arena") >= 2, True)
    assert "without a slot in use: its chunk goes back to the arena" in out, out
    assert "older ones went back to their slabs" in out, out


def test_a_chunk_that_the_cache_kept_is_taken_again():
    out = explain("alloc", "--slabs", *["60000"] * 8, "20000", "free:9", "20000")
    assert "cache     keeps the chunk" in out, out
    assert "cache     has a chunk of 20016 bytes: taken" in out, out


def test_requests_with_slabs_are_told_to_their_end():
    rand = random.Random(5)
    for _ in range(10):
        words, live = ["--slabs"], []
        for _ in range(60):
            if live and rand.random() < 0.45:
                words.append("free:%d" % live.pop(rand.randrange(len(live))))
            else:
                live.append(sum(not w.startswith("free") for w in words))
                words.append(str(rand.choice([1, 24, 100, 500, 1000, 1024, 3000, 9000, 70000, 200000])))
        out = explain("alloc", *words)
        eq(sorted(int(n) for n in re.findall(r"block (\d+), (?:\d+ asked|a mapping)", out)), sorted(live))
        eq(out.count("\n  block     "), sum(not w.startswith("free") for w in words[1:]))


def bin_of(size):
    """The classical bins: one size each below 1024 bytes, then ranges of 64, 512, 4096, 32768 and 262144."""
    if size < 1024:
        return "small %d" % (size >> 4)
    for shift, first, last in ((6, 48, 48), (9, 91, 20), (12, 110, 10), (15, 119, 4), (18, 124, 2)):
        if size >> shift <= last:
            return "large %d" % (first + (size >> shift))
    return "large 126"


def parsed(text):
    """A chunk as the player has it: (address, size, what)."""
    at, size, what = re.match(r"(0x\w+): (\d+) ?(.*)", text).groups()
    return int(at, 16), int(size), what


def check_step(step, live):
    """Each chunk is in its place, and nothing else is anywhere."""
    heap = step["heap"]
    tiles = [parsed(c) for c in heap["chunks"]]
    for (at, size, _), (next_at, _, _) in zip(tiles, tiles[1:]):
        eq(at + size, next_at)
    eq(tiles[-1][2] if tiles else "top", "top")
    eq(sorted(what for _, _, what in tiles if what.startswith("block")), sorted(live))
    binned = {b["name"]: [parsed(c)[:2] for c in b["chunks"]] for b in heap["bins"]}
    eq(sorted(c for found in binned.values() for c in found), sorted(t[:2] for t in tiles if t[2] == "free"))
    for name, found in binned.items():
        assert name == "unsorted" or {bin_of(size) for _, size in found} == {name}, (name, found)
        assert name == "unsorted" or int(name.split()[1]) in heap["binmap"], heap
        assert not name.startswith("large") or [size for _, size in found] == sorted(size for _, size in found), found


def test_requests_are_played_with_the_bins_as_they_were():
    rand = random.Random(7)
    words, live, lives = [], [], []
    for _ in range(60):
        if live and rand.random() < 0.5:
            words.append("free:%d" % live.pop(rand.randrange(len(live))))
        else:
            live.append(1 + sum(not w.startswith("free") for w in words))
            words.append(str(rand.choice([24, 100, 500, 1000, 1024, 3000, 9000, 70000])))
        lives.append(["block %d" % n for n in live])
    with scratch() as d:
        page = os.path.join(d, "page.html")
        # The page is all that it changes.
        out = explain("alloc", "--report", page, *words)
        eq(out, explain("alloc", *words))
        with browser(page) as b:
            steps = b.run("steward.data.inputs[0].sections[0].items[0].steps.steps")
            eq([s["text"] for s in steps], re.findall(r"^(\d+\. malloc.*|free of block.*)$", out, re.M))
            for step, blocks in zip(steps, lives):
                check_step(step, blocks)
            told = [line for s in steps for line in s["also"]]
            eq([line.replace(":", "", 1).split() for line in told if line.startswith(("unsorted", "split", "merge", "binmap"))],
               [line.split() for line in out.splitlines() if line.startswith(("  unsorted", "  split", "  merge", "  binmap"))])
            check_player(b, steps)


def check_player(b, steps):
    """Forward and back; a bin stands in its row, and what came into it with this step is marked."""
    click = "[...document.querySelectorAll('.controls button')].find(b => b.textContent.includes('%s')).click()"
    row = "[...document.querySelectorAll('.box tr')].find(r => r.firstChild.textContent === 'unsorted')"
    at = next(i for i, s in enumerate(steps) if s["heap"]["bins"] and s["heap"]["bins"][0]["name"] == "unsorted")
    for _ in range(at):
        b.run(click % "forward")
    eq(b.run("document.querySelector('.sentence').textContent"), steps[at]["text"])
    eq(b.run(f"[...{row}.querySelectorAll('.chip.new')].map(c => c.textContent)"), steps[at]["heap"]["bins"][0]["chunks"])
    b.run(click % "back")
    eq(b.run(f"{row} === undefined"), True)
    eq(b.run("document.querySelector('.sentence').textContent"), steps[at - 1]["text"])


def test_the_cache_is_played_where_it_is_in_use():
    with scratch() as d:
        page = os.path.join(d, "page.html")
        explain("alloc", "--slabs", "--report", page, "100", "100", "free:1", "300000")
        with browser(page, width=360) as b:
            steps = b.run("steward.data.inputs[0].sections[0].items[0].steps.steps")
            eq([s["heap"]["cache"] for s in steps], [[], ["112 bytes: 1 slot"], ["112 bytes: 2 slots"], ["112 bytes: 2 slots"]])
            assert "slab" in " ".join(steps[-1]["heap"]["chunks"]), steps[-1]
            assert b.run("document.documentElement.scrollWidth") <= 360


def test_a_request_that_the_machine_has_no_memory_for():
    r = steward("explain", "alloc", "--set", "memory.zones=[{name: Normal, size: 16M}]", "--set", "swap=[]", "64M")
    eq((r.returncode, r.stderr), (1, "steward: laptop-8g: out of memory: the program was killed; give the machine more\n"))


def test_tables_of_what_a_trace_touched():
    with scratch() as d:
        csv, trace = os.path.join(d, "t.csv"), os.path.join(d, "t.stw")
        with open(csv, "w") as f:
            f.write("task,page,rw\n" + "".join(f"{task},{page},W\n" for task in (1, 2) for page in range(100000, 100512)))
        eq(steward("import", "--from", "csv", "-o", trace, csv).returncode, 0)
        out = explain("tables", trace)
        assert out.startswith(f"{trace}: 1024 pages touched, 4 MiB, by 2 tasks.\n"), out
        # Page 100000 is 160 behind a multiple of 512: two leaves of either kind, a table of each level above, for each of the tasks.
        eq(memory_of(out, "4 levels: x86-64"), 2 * (2 + 3) * 4)
        eq(memory_of(out, "2 levels: i386"), 2 * (1 + 2) * 8)
        with open(trace, "r+b") as f:
            f.truncate(40)
        r = steward("explain", "tables", trace)
        eq((r.returncode, r.stdout), (2, ""))
        assert r.stderr.startswith(f"steward: {trace}: cut at byte "), r.stderr


def test_processes_that_cannot_be_looked_at():
    fails(["layout", "4194304"], 1, "process 4194304: there is none; check the number")
    fails(["tables", "4194304"], 1, "process 4194304: there is none; check the number")
    fails(["layout", "x"], 2, "x: not a process number; write one as ps shows it")
    fails(["layout", "0"], 2, "0: not a process number; write one as ps shows it")
    fails(["layout", "1", "2"], 2, "2: too much; steward explain layout [PID]")
    fails(["layout", "1", "--fixed"], 2, "--fixed: too much; steward explain layout [PID]")
    fails(["layout", "--fixed", "1"], 2, "1: a process is on no machine of a file; leave one of them out")
    fails(["tables", "--pages", "7", "1"], 2, "1: a process and a trace have their own pages and machine; leave the options out")


def test_a_machine_comes_back_from_what_is_printed():
    for name in ("laptop-8g", "server-2node", "i386-4g", "x86-64-la57", "container-512m"):
        out = explain_wide("machine", "--machine", machine(name))
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
            f.write(out)
            f.flush()
            eq(explain_wide("machine", "--machine", f.name), out)
    eq(explain_wide("machine"), explain_wide("machine", "--machine", machine("laptop-8g")))


def explain_wide(*args):
    r = steward("explain", *args)
    eq((r.returncode, r.stderr), (0, ""))
    return r.stdout


def test_keys_are_those_of_a_machine_that_is_printed():
    keys = explain("keys")
    section = ""
    for line in explain_wide("machine").splitlines():
        name, indent = re.match(r"( *)([a-z_]*)", line).group(2, 1)
        if not name:
            continue
        section = section if indent else ""
        if line == name + ":" and name != "swap":
            section = name + "."
        else:
            assert re.search("^" + re.escape(section + name) + "$", keys, re.M), section + name
    assert "zen4: AMD Zen 4\n    CPUID 80000005h" in keys, keys


def test_wrong_machine_files_are_told_with_their_line():
    with scratch() as d:
        path = os.path.join(d, "m.yaml")

        def says(text, line):
            with open(path, "wb") as f:
                f.write(text)
            fails(["machine", "--machine", path], 2, line)

        says(b"vm:\n  swapiness: 3\n", f"{path}:2: vm.swapiness: unknown key; did you mean vm.swappiness?")
        says(b"memory:\n  limit: 12Q\n", f"{path}:2: memory.limit: not a size; write it as 512M or 1.5G")
        says(b"", f"{path}: empty; give the keys that are to differ, see docs/machine-files.md")
        says(b"\x00\x01\xff", f"{path}:1: not YAML: control characters are not allowed; correct it")
    fails(["machine", "-m", "/no/such"], 2, "/no/such: it cannot be read (No such file or directory); check the name")
    fails(["machine", "-m", "/"], 2, "/: it cannot be read (Is a directory); check the name")


def test_wrong_usage():
    fails([], 2, "explain: no topic given; see steward explain --help")
    fails(["everything"], 2, "everything: unknown topic; see steward explain --help")
    fails(["--machine", "x"], 2, "--machine: unknown topic; see steward explain --help")
    fails(["watermarks", "here"], 2, "here: explain watermarks takes no argument; leave it out")
    fails(["watermarks", "--seed", "1"], 2, "--seed: explain watermarks does not use it; leave it out")
    fails(["layout", "--seed", "one"], 2, '--seed: "one" is not a whole number; write digits only')
    fails(["tables", "--pages", "99999999999"], 2, "--pages: 99999999999 is too large; the most is 16777216")
    fails(["tables", "--pages", "300000", "-m", machine("i386-4g")], 2,
          "--pages: more than 262144 do not fit into 32 bits; give fewer")
    fails(["tables", "--spread", "thin"], 2, '--spread: "thin" is unknown; use program, dense or random')
    fails(["walk"], 2, "walk: no address given; write one as 0x7f1234567000")
    fails(["walk", "0x"], 2, "0x: not an address; write it as 0x7f1234567000")
    fails(["walk", "0x10000000000000000"], 2, "0x10000000000000000: not an address; write it as 0x7f1234567000")
    fails(["walk", "1", "2"], 2, "2: not an address; write it as 0x7f1234567000")
    fails(["walk", "4194304", "0x1"], 1, "process 4194304: there is none; check the number")
    fails(["walk", "--pages", "1", "1", "0x1"], 2, "--pages: a process has its own pages; leave it out")
    fails(["walk", "--pages", "65537", "0x1"], 2, "--pages: 65537 is too large; the most is 65536")
    fails(["fault", "page"], 2, "page: no such fault; use read, write, cow, swap, file, soft or invalid")
    fails(["fault", "--seed", "1"], 2, "--seed: explain fault does not use it; leave it out")
    fails(["reclaim", "again"], 2, "again: not a scenario; there is oom")
    fails(["reclaim", "--set", "vm.policy=second-chance"], 2,
          "machine: shown are the lists of two-list with accessed bits; leave vm.policy and vm.accessed_bits")
    fails(["reclaim", "-m", machine("server-2node")], 2,
          "server-2node: 128 GiB take too long to fill; take a machine of at most 16 GiB")
    fails(["alloc"], 2, "alloc: no size given; write some: steward explain alloc 100 64K free:1")
    fails(["alloc", "100", "x"], 2, "x: not a size; write it as 100 or 64K, or free:1 for the first block")
    fails(["alloc", "2G"], 2, "2G: too large to be shown; the most is 1 GiB")
    fails(["alloc", "1", "free:x"], 2, "free:x: which block? number the requests from 1: free:1")
    fails(["alloc", "-m", machine("i386-4g"), "1"], 2,
          "i386-4g: the allocator is a 64-bit one; take a machine of at least 47 bits")
    r = steward("explain", "alloc", "1", "free:1", "free:1")
    eq((r.returncode, r.stderr), (2, "steward: free:1: there is no such block then; number the requests from 1\n"))
    fails(["tables", "/no/such"], 2, "/no/such: it cannot be opened (No such file or directory); check the name")
    fails(["machine", "--set", "vm.swappiness=900"], 2, "--set: vm.swappiness: out of range; write 0 to 200")
    fails(["machine", "--set", "cpu.node=[1]"], 2,
          "--set: cpu.node: CPU 0 is on node 1, which has no zone; add one or change it")
    fails(["machine", "--set", "name"], 2, '--set: "name" is not an assignment; write it as vm.swappiness=10')


def test_output_that_cannot_be_written():
    for topic in ("alloc 1", "fault", "keys", "layout", "machine", "reclaim", "tables", "walk 0x1", "watermarks"):
        with open("/dev/full", "w") as full:
            r = subprocess.run([os.environ["STEWARD"], "explain", *topic.split()], stdout=full, stderr=subprocess.PIPE, text=True)
        eq(r.stderr, "steward: standard output: No space left on device; send it somewhere else\n")
        eq(r.returncode, 1)


main(globals())
