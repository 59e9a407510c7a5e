"""
steward trace, on traces that this file writes by itself from docs/trace-format.md: so that the document, and not only
the program, says what a trace is.
"""
import ctypes
import json
import os
import re
import struct
import subprocess

from tap import STEWARD, Skip, environment, eq, main, scratch

KINDS = ("access task fork exec exit mmap munmap mprotect mremap drop file read write fsync time note").split()
NO_TASK = ("file", "note")


def xxh3(data):
    try:
        function = ctypes.CDLL("libxxhash.so.0").XXH3_64bits
    except OSError:
        raise Skip("no libxxhash.so.0 here")
    function.restype, function.argtypes = ctypes.c_uint64, (ctypes.c_char_p, ctypes.c_size_t)
    return function(data, len(data))


def summed(data):
    return data + struct.pack("<Q", xxh3(data))


def leb128(n):
    out = b""
    while n >= 128:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def stored_frame(data):
    """A zstd frame of one block that is not compressed (RFC 8878, 3.1.1)."""
    assert len(data) < 128 << 10
    return bytes.fromhex("28b52ffda0") + struct.pack("<I", len(data)) + struct.pack("<I", 1 | len(data) << 3)[:3] + data


class Block:
    def __init__(self):
        self.control, self.low, self.high = b"", b"", b""
        self.events, self.touches = 0, 0
        self.who, self.guess = (0, 0), {}

    def number(self, n):
        return n.to_bytes((n.bit_length() + 7) // 8, "little")

    def switch(self, who):
        if who != self.who:
            self.control += bytes([3])
            self.high += leb128(who[0]) + leb128(who[1])
            self.who = who

    def access(self, who, kind, page, n):
        self.switch(who)
        key = ((31 * who[0] + who[1]) % 64, kind == 2)
        far = page - self.guess.get(key, 0)
        distance, count = self.number(2 * far if far >= 0 else -2 * far - 1), self.number(n - 1)
        self.guess[key] = page
        self.control += bytes([kind | len(distance) << 2 | len(count) << 5])
        self.low += distance[:2]
        self.high += distance[2:] + count
        self.events += 1
        self.touches += n

    def other(self, who, kind, *numbers, text=None):
        if kind not in NO_TASK:
            self.switch(who)
        self.control += bytes([3 | KINDS.index(kind) << 2])
        self.high += b"".join(leb128(n) for n in numbers)
        if text is not None:
            self.high += leb128(len(text)) + text + b"\0"
        self.events += 1

    def bytes(self):
        packed = stored_frame(self.control + self.low + self.high)
        head = struct.pack("<4sIIIIIQQ", b"SBLK", len(packed), len(self.control), len(self.low), len(self.high),
                           self.events, self.touches, xxh3(packed))
        return summed(head) + packed


def trace(*blocks, sampled=False):
    data = summed(struct.pack("<8sHBBI", b"STWTRACE", 1, 12, sampled, 0)) + b"".join(b.bytes() for b in blocks)
    events, touches = sum(b.events for b in blocks), sum(b.touches for b in blocks)
    return data + summed(struct.pack("<4sIQQQ", b"SEND", 0, events, touches, len(data) + 40))


def everything():
    a, b = Block(), Block()
    me, thread, child = (3, 0), (3, 7), (4, 0)
    a.other(me, "note", text=b"made: by hand")
    a.other(me, "task", text=b'a "name"\\\n\xc3\xa4')
    a.other(me, "file", 52, 1, text=b"/lib/libc.so.6")
    a.other(me, "mmap", 5 | 8, 0x7f0000000, 52, 0, 1)
    a.other(thread, "mmap", 3 | 16 | 32 | 64, 0x100, 9, 0, 0)
    a.access(thread, 0, 0x100, 1)
    a.access(thread, 1, 0x100, 300)
    a.access(thread, 2, 0x7f0000001, 1)
    a.access(thread, 1, 0xff, 2**52 - 1)
    b.other(me, "fork", 4)
    b.other(child, "mprotect", 1, 0x100, 2)
    b.access(child, 0, 2**52 - 1, 2)
    b.access(child, 0, 0, 1)
    b.other(child, "mremap", 0x100, 2, 0x300)
    b.other(child, "drop", 0x300, 1)
    b.other(child, "munmap", 0x300, 2)
    b.other(child, "read", 3, 1, 1)
    b.other(child, "write", 1, 0, 1)
    b.other(child, "fsync", 1)
    b.other(child, "time", 1500000000)
    b.other(child, "exec", text=b"")
    b.other(child, "exit")
    b.other(me, "time", 500000000)
    return trace(a, b, sampled=True)


DUMP = r'''0 - note "made: by hand"
1 3.0 task "a \"name\"\\\x0aä"
2 - file n=52 file=1 "/lib/libc.so.6"
3 3.0 mmap flags=r-x,shared page=0x7f0000000 n=52 file=1 at=0
4 3.7 mmap flags=rw-,heap,stack,locked page=0x100 n=9 file=0 at=0
5 3.7 access flags=r-- page=0x100 n=1
6 3.7 access flags=-w- page=0x100 n=300
7 3.7 access flags=--x page=0x7f0000001 n=1
8 3.7 access flags=-w- page=0xff n=4503599627370495
9 3.0 fork child=4
10 4.0 mprotect flags=r-- page=0x100 n=2
11 4.0 access flags=r-- page=0xfffffffffffff n=2
12 4.0 access flags=r-- page=0x0 n=1
13 4.0 mremap page=0x100 n=2 to=0x300
14 4.0 drop page=0x300 n=1
15 4.0 munmap page=0x300 n=2
16 4.0 read n=3 file=1 at=1
17 4.0 write n=1 file=1 at=0
18 4.0 fsync file=1
19 4.0 time ns=1500000000
20 4.0 exec ""
21 4.0 exit
22 3.0 time ns=500000000
'''


def run(*args, data=b""):
    """The command on data, in a file and as standard input; the results must be alike."""
    with scratch() as d:
        name = os.path.join(d, "t.stw")
        with open(name, "wb") as f:
            f.write(data)
        results = []
        for which in (name, "-"):
            r = subprocess.run([STEWARD, "trace", *args, which], input=data, env=environment(), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
            text = r.stderr.decode().replace(name, "T").replace("standard input", "T")
            results.append((r.returncode, r.stdout.decode(), text))
        eq(results[0], results[1])
        return results[0]


def test_dump():
    eq(run("dump", data=everything()), (0, DUMP, ""))


def test_dump_of_a_part():
    lines = DUMP.splitlines(True)
    eq(run("dump", "--from", "5", "--count", "3", data=everything()), (0, "".join(lines[5:8]), ""))
    eq(run("dump", "--from", "22", data=everything()), (0, lines[22], ""))
    eq(run("dump", "--from", "23", data=everything()), (0, "", ""))
    eq(run("dump", "--count", "0", data=everything()), (0, "", ""))
    eq(run("dump", "--from", str(2**64 - 1), "--count", "9", data=everything()), (0, "", ""))


def test_info():
    touches = 1 + 300 + 1 + 2**52 - 1 + 2 + 1
    data = everything()
    status, out, err = run("info", data=data)
    eq((status, err), (0, ""))
    eq(out, f"""size       {len(data)} B, 0.00 bytes a touch
touches    {touches}, samples: the first ones of an interval, not all
  read     4
  write    {300 + 2**52 - 1}
  execute  1
footprint  5 pages, 20 KiB
time       2.000 s of the programs' own, all threads together
events     23
  access   6
  task     1
  fork     1
  exec     1
  exit     1
  mmap     2
  munmap   1
  mprotect 1
  mremap   1
  drop     1
  file     1
  read     1
  write    1
  fsync    1
  time     2
  note     1
tasks      2
  3                 3 pages  a "name"\\?ä
  4                 2 pages  
files      1
  1                52 pages  /lib/libc.so.6
note       made: by hand
""")


def test_info_as_json():
    data = everything()
    status, out, err = run("info", "--json", "-", data=data)
    eq((status, err), (0, ""))
    info = json.loads(out)
    kinds = info.pop("events_by_kind")
    eq({k: n for k, n in kinds.items() if n != 1}, {"access": 6, "mmap": 2, "time": 2})
    eq(list(kinds), KINDS)
    eq(info, {"schema": 1, "size_bytes": len(data), "bytes_per_touch": 0.0, "sampled": True, "touches": 2**52 + 304,
              "reads": 4, "writes": 2**52 + 299, "executes": 1, "footprint_pages": 5, "time_ns": 2000000000, "events": 23,
              "tasks": [{"task": 3, "name": 'a "name"\\\nä', "touched_pages": 3},
                        {"task": 4, "name": "", "touched_pages": 2}],
              "files": [{"file": 1, "name": "/lib/libc.so.6", "pages": 52}], "notes": ["made: by hand"]})


def test_json_in_a_file():
    with scratch() as d:
        out = os.path.join(d, "j")
        status, text, err = run("info", "--json", out, data=everything())
        eq((status, err), (0, ""))
        assert text.startswith("size "), text
        with open(out) as f:
            eq(json.load(f)["events"], 23)
        eq(os.listdir(d), ["j"])
    status, _, err = run("info", "--json", "/dev/full", data=everything())
    eq((status, err), (1, "steward: /dev/full: it cannot be written (No space left on device); "
                       "give --json another file\n"))


def test_many_tasks_are_cut():
    b = Block()
    for i in range(100):
        b.other((i, 0), "task", text=b"t")
        b.access((i, 0), 0, 5, 2)
    status, out, _ = run("info", data=trace(b))
    eq(status, 0)
    assert "\n  … and 84 more\n" in out, out
    assert "footprint  100 pages, 400 KiB\n" in out, out


def test_the_example_of_the_document():
    b = Block()
    b.other((0, 0), "task", text=b"a")
    b.access((0, 0), 0, 5, 1)
    b.access((0, 0), 1, 4, 3)
    with open(os.path.join(os.environ["DOCS_DIR"], "trace-format.md"), encoding="utf-8") as f:
        example = f.read().split("\n## Example\n")[1]
    streams, name = {"control": b"", "low": b"", "high": b""}, None
    for label, data in re.findall(r"^    (\w*) +((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:  |$)", example, re.M):
        name = label or name
        streams[name] += bytes.fromhex(data)
    eq(streams, {"control": b.control, "low": b.low, "high": b.high})
    eq(run("dump", data=trace(b))[1].splitlines(),
       ['0 0.0 task "a"', "1 0.0 access flags=r-- page=0x5 n=1", "2 0.0 access flags=-w- page=0x4 n=3"])


def test_what_import_writes_is_read_by_the_document():
    """The other way round: sizes and checksums of a file that the program wrote."""
    data = subprocess.run([STEWARD, "import", "--from", "csv", "-", "-o", "-"], input=b"R 1000\nW 2000\n" * 1000,
                          stdout=subprocess.PIPE, check=True).stdout
    eq(data[:24], summed(struct.pack("<8sHBBI", b"STWTRACE", 1, 12, 0, 0)))
    magic, packed, control, low, high, events, touches, packed_sum = struct.unpack("<4sIIIIIQQ", data[24:64])
    eq((magic, control, events, touches), (b"SBLK", 2001, 2001, 2000))
    eq(data[24:72], summed(data[24:64]))
    eq(packed_sum, xxh3(data[72:72 + packed]))
    eq(data[72 + packed:], summed(struct.pack("<4sIQQQ", b"SEND", 0, 2001, 2000, len(data))))


def test_damage():
    data = everything()
    block = len(data) - 40
    for command in ("dump", "info"):
        eq(run(command, data=b"hello"), (2, "", "steward: T: it is not a trace of Steward; steward import makes one\n"))
        eq(run(command, data=b""), (2, "", "steward: T: it is not a trace of Steward; steward import makes one\n"))
        bad = bytearray(data)
        bad[100] ^= 1
        eq(run(command, data=bytes(bad)),
           (2, "", "steward: T: damaged at byte 24 (the checksum of a block does not fit); get or make it again\n"))
    status, out, err = run("dump", data=data[:-1])
    eq((status, out), (2, DUMP))
    eq(err, f"steward: T: cut at byte {len(data) - 1} (the trace ends before its end); get or make it again\n")
    bad = bytearray(data)
    bad[block + 9] ^= 1
    eq(run("info", data=bytes(bad)),
       (2, "", f"steward: T: damaged at byte {block} (its end is damaged); get or make it again\n"))
    newer = summed(struct.pack("<8sHBBI", b"STWTRACE", 2, 12, 0, 0)) + data[24:]
    eq(run("info", data=newer)[2],
       "steward: T: it was written by another version of Steward; steward import makes one\n")


def usage(args, line):
    r = subprocess.run([STEWARD, "trace", *args], env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True)
    eq((r.returncode, r.stderr, r.stdout), (2, f"steward: {line}\n", ""))


def test_wrong_usage():
    usage([], "trace: info or dump is missing; steward trace info|dump [OPTION…] FILE")
    usage(["show", "x"], "show: trace knows info and dump only; steward trace info|dump [OPTION…] FILE")
    usage(["info"], "trace: no trace given; name a file, or -")
    usage(["info", "a", "b"], "b: one trace at a time; leave it out")
    usage(["info", "--from", "1", "a"], "--from: it is for dump only; leave it out")
    usage(["info", "--count=1", "a"], "--count: it is for dump only; leave it out")
    usage(["dump", "--json", "x", "a"], "--json: it is for info only; leave it out")
    usage(["info", "--json=", "a"], "--json: the file name is empty; give one")
    for bad in ("", "x", "-1", "1x", "99999999999999999999"):
        usage(["dump", "--count", bad, "a"], f'--count: "{bad}" is not a number of events; write it as 1000')
    usage(["info", "/no/such"], "/no/such: it cannot be opened (No such file or directory); check the name")


def test_output_that_cannot_be_written():
    for command in ("dump", "info"):
        with open("/dev/full", "w") as full:
            r = subprocess.run([STEWARD, "trace", command, "-"], input=everything(), stdout=full,
                               stderr=subprocess.PIPE)
        eq((r.returncode, r.stderr),
           (1, b"steward: standard output: No space left on device; send it somewhere else\n"))


main(globals())
