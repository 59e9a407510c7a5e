"""steward explain: golden pictures and figures, machine files that are wrong, processes."""
import os
import re
import subprocess
import tempfile

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
        while b"sleep" not in open(f"/proc/{child.pid}/cmdline", "rb").read():
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


def test_processes_that_cannot_be_looked_at():
    fails(["layout", "4194304"], 1, "process 4194304: there is none; check the number")
    fails(["tables", "4194304"], 1, "process 4194304: there is none; check the number")
    fails(["layout", "x"], 2, "x: not a process number; write one as ps shows it")
    fails(["layout", "0"], 2, "0: not a process number; write one as ps shows it")
    fails(["layout", "1", "2"], 2, "2: too much; steward explain layout [PID]")
    fails(["layout", "1", "--fixed"], 2, "--fixed: too much; steward explain layout [PID]")
    fails(["layout", "--fixed", "1"], 2, "1: a process is on no machine of a file; leave one of them out")
    fails(["tables", "--pages", "7", "1"], 2, "1: a process has its own pages and machine; leave the options out")


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
    fails(["machine", "--set", "vm.swappiness=900"], 2, "--set: vm.swappiness: out of range; write 0 to 200")
    fails(["machine", "--set", "cpu.node=[1]"], 2,
          "--set: cpu.node: CPU 0 is on node 1, which has no zone; add one or change it")
    fails(["machine", "--set", "name"], 2, '--set: "name" is not an assignment; write it as vm.swappiness=10')


def test_output_that_cannot_be_written():
    for topic in ("keys", "layout", "machine", "tables", "watermarks"):
        with open("/dev/full", "w") as full:
            r = subprocess.run([os.environ["STEWARD"], "explain", topic], stdout=full, stderr=subprocess.PIPE, text=True)
        eq(r.stderr, "steward: standard output: No space left on device; send it somewhere else\n")
        eq(r.returncode, 1)


main(globals())
