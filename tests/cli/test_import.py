"""steward import: each format, its borders, and what it says of input that is none."""
import gzip
import io
import lzma
import os
import random
import signal
import struct
import subprocess
import time
import zipfile

from tap import STEWARD, environment, eq, main, scratch

LACKEY = """==1== Lackey, an example Valgrind tool
==1== Command: ./job -x
==1==
I  04001000,3
I  04001003,5
 S 1ffeffeffc,8
 L 1ffefff000,4
 M 00600000,4
I  04001ffe,4
==1== 
"""
LACKEY_TAKES = "--from lackey takes text of valgrind --tool=lackey --trace-mem=yes"


def command(*args, data=b""):
    return subprocess.run([STEWARD, *args], input=data, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def convert(form, data):
    """Status, message and dump of an import of data, from a file and from a pipe; both must be alike."""
    results = []
    with scratch() as d:
        source, out = os.path.join(d, "in"), os.path.join(d, "out.stw")
        with open(source, "wb") as f:
            f.write(data)
        for name in (source, "-"):
            r = command("import", "--from", form, name, "-o", out, data=data)
            text = r.stderr.decode().replace(source, "IN").replace("standard input", "IN")
            dump = None
            if r.returncode == 0:
                dump = command("trace", "dump", out).stdout.decode()
                os.unlink(out)
            eq(sorted(os.listdir(d)), ["in"])
            results.append((r.returncode, text, dump))
    eq(results[0], results[1])
    return results[0]


def imports(form, data, lines):
    if isinstance(data, str):
        data = data.encode()
    status, text, dump = convert(form, data)
    eq((status, text), (0, ""))
    eq(dump.splitlines(), [f"{i} {line}" for i, line in enumerate(lines)])


def refuses(form, data, message):
    if isinstance(data, str):
        data = data.encode()
    eq(convert(form, data), (2, f"steward: IN: {message}\n", None))


def access(page, flags, n=1, who="0.0"):
    return f"{who} access flags={flags} page={page:#x} n={n}"


LACKEY_EVENTS = ['0.0 task "./job -x"', access(0x4001, "--x", 2), access(0x1ffefe, "-w-"), access(0x1ffeff, "-w-"),
                 access(0x1ffeff, "r--"), access(0x600, "-w-"), access(0x4001, "--x"), access(0x4002, "--x")]


def lackey_pages():
    return [line.replace("0x1ffefe", hex(0x1ffeffeffc >> 12)).replace("0x1ffeff ", hex(0x1ffefff000 >> 12) + " ")
            for line in LACKEY_EVENTS]


def test_lackey():
    imports("lackey", LACKEY, lackey_pages())


def test_lackey_with_other_line_ends():
    imports("lackey", LACKEY.replace("\n", "\r\n"), lackey_pages())
    imports("lackey", LACKEY.rstrip("=1 \n"), lackey_pages())


def test_lackey_without_a_command():
    imports("lackey", " L 1000,1\n", ['0.0 task "lackey"', access(1, "r--")])


def test_lackey_that_is_none():
    why = "line {}: it is not a line of lackey; " + LACKEY_TAKES
    refuses("lackey", "I  1000,1\nhello\n", why.format(2))
    refuses("lackey", "\n\n\nI 1000,1\n", why.format(4))
    refuses("lackey", " X 1000,1\n", why.format(1))
    why = "line {}: an access without address and size; " + LACKEY_TAKES
    for bad in ("1000", "1000,", ",1xxx", "1000,1x", "12345678901234567,1", "1000,99999999999999999999"):
        refuses("lackey", f"I  1000,1\n L {bad}\n", why.format(2))
    refuses("lackey", " L 1000,2000000000\n", "line 1: an access of more bytes than can be; " + LACKEY_TAKES)
    refuses("lackey", " L ffffffffffffffff,2\n", "line 1: an access of more bytes than can be; " + LACKEY_TAKES)
    imports("lackey", " L fffffffffffffff0,16\n", ['0.0 task "lackey"', access(2**52 - 1, "r--")])


def test_nothing_at_all():
    for form, text in (("lackey", "text of valgrind --tool=lackey --trace-mem=yes"),
                       ("perf", "text of perf script, of the event page-faults"),
                       ("csv", "text: columns that a first line names, or a letter and an address a line"),
                       ("oracle-general", "libCacheSim's oracleGeneral: records of 24 bytes"),
                       ("drmemtrace", "DynamoRIO's drmemtrace, offline: entries of 12 bytes"),
                       ("champsim", "ChampSim's instruction traces: records of 64 bytes")):
        refuses(form, b"", f"there is no access in it; --from {form} takes {text}")


def test_a_line_that_does_not_end():
    refuses("lackey", "I  1000,1\n" + "x" * 300000, "line 2: a line that does not end; " + LACKEY_TAKES)


def test_perf():
    imports("perf", """# captured on: a day
            bash 10297/10297   694.800173: page-faults:     56214340f764 _edata ffffffff8177539a elf_load
     Web Content 20/21 [001]   694.800175: page-faults:u:   7f0b40226110 [unknown] 7f0b4020d7ad foo(int, char)

            bash 10297/10297   694.900173: page-faults:     7f0b4020cb70 _start     7f0b4020cb70 _start
\t    7f0b4020cb70 _start+0x0
            bash 10297/10298   694.900174: page-faults:     7f0b4020c000            7f0b4020cb70
            bash 10297/10297   694.8: page-faults:     1000 add 2000 main
""", ['0.0 task "bash"', access(0x56214340f, "-w-"), '1.1 task "Web Content"', access(0x7f0b40226, "-w-", who="1.1"),
      "0.0 time ns=100000000", access(0x7f0b4020c, "--x"), access(0x7f0b4020c, "--x", who="0.2"), access(1, "-w-")])
    with scratch() as d:
        out = os.path.join(d, "t")
        command("import", "--from", "perf", "-", "-o", out, data=b"a 1/1 1.0: page-faults: 1000 f 2000 g\n")
        text = command("trace", "info", out).stdout.decode()
        assert "touches    1, samples: the first ones of an interval, not all\n" in text, text


def test_perf_that_is_none():
    takes = "; --from perf takes text of perf script, of the event page-faults"
    good = "bash 1/1 1.0: page-faults: 1000 f 2000 g\n"
    refuses("perf", good + "hello\n", "line 2: it is not a line of perf script" + takes)
    for bad in ("cycles: 1000 f 2000 g", "page-faults:", "page-faults: [unknown]"):
        refuses("perf", f"{good}bash 1/1 2.0: {bad}\n", "line 2: it is not a page fault with its address" + takes)
    for bad in ("bash 1 2.0: page-faults: 1000", "bash 1/1 2: page-faults: 1000", "bash 1/ 2.0: page-faults: 1000",
                "bash 1/1 2.0000000000: page-faults: 1000", "bash 1/1 99999999999999999.0: page-faults: 1000"):
        refuses("perf", good + bad + "\n", "line 2: it is not a line of perf script" + takes)


def test_csv_with_columns():
    imports("csv", """# mine
task,rw,address,size,remark
one,R,0x1fff,2,"x"
 two , write ,8192,1,
one,X,0x3000,0,

one,R,4096
""", ['0.0 task "one"', access(1, "r--"), access(2, "r--"), '1.0 task "two"', access(2, "-w-", who="1.0"),
      access(3, "--x"), access(1, "r--")])
    imports("csv", "Page,Count,thread,op\n7,3,100,store\n7,1,100,store\n0x8,1,200,load\n",
            ['0.0 task "csv"', access(7, "-w-", 4), access(8, "r--", who="0.1")])
    imports("csv", "address\r\n4096\r\n", ['0.0 task "csv"', access(1, "r--")])


def test_csv_of_courses():
    imports("csv", "R 0x41f7a0\ns 0x1fffff50 1\nl 0x1fffff50 1\n0041f7a0 W\n0x7ffe0000: R 0x41f7a0\n0 1000\n1 2000\n"
            "2 3000\ni,4000\n",
            ['0.0 task "csv"', access(0x41f, "r--"), access(0x1ffff, "-w-"), access(0x1ffff, "r--"),
             access(0x41f, "-w-"), access(0x41f, "r--"), access(1, "r--"), access(2, "-w-"), access(3, "--x"), access(4, "--x")])


def test_csv_that_is_none():
    takes = "; --from csv takes text: columns that a first line names, or a letter and an address a line"
    for bad, why in (("R,zz", "a number is none"), ("R,", "a number is none"), ("R,-1", "a number is none"),
                     ("R,0x", "a number is none"), ("Q,1", "rw is none of R, W and X"),
                     ("R", "a line without an address or page"),
                     ("R,99999999999999999999", "a number is none"), ("R,4503599627370496", "an access out of range")):
        refuses("csv", "rw,page\nR,1\n" + bad + "\n", f"line 3: {why}{takes}")
    refuses("csv", "page,count\n1,0\n", "line 2: an access out of range" + takes)
    plain = "it is not a letter (R, W, X, l, s, i) and an address"
    for bad in ("hello world", "R", "R 0xzz", "0x1000", "0x1000: R", "R 11112222333344445"):
        refuses("csv", "R 1000\n" + bad + "\n", f"line 2: {plain}{takes}")
    refuses("csv", "name,value\n1,2\n", f"line 1: {plain}{takes}")


def oracle(*objects):
    return b"".join(struct.pack("<IQIq", i, o, 4096, -1) for i, o in enumerate(objects))


def test_oracle_general():
    imports("oracle-general", oracle(5, 5, 2**35 - 1, 2**35, 2**64 - 1, 2**35, 0),
            ['0.0 task "oracleGeneral"', access(5, "r--", 2), access(2**35 - 1, "r--"), access(2**35, "r--"),
             access(2**35 + 1, "r--"), access(2**35, "r--"), access(0, "r--")])
    refuses("oracle-general", oracle(1, 2)[:-1], "byte 24: the last record is cut; --from oracle-general takes "
            "libCacheSim's oracleGeneral: records of 24 bytes")


def test_many_objects_keep_their_pages():
    rng = random.Random(4)
    names = [rng.randrange(2**36, 2**64) for _ in range(3000)]
    asked = [rng.choice(names) for _ in range(10000)]
    page, want = {}, []
    for name in asked:
        page.setdefault(name, 2**35 + len(page))
        if want and want[-1][0] == page[name]:
            want[-1][1] += 1
        else:
            want.append([page[name], 1])
    imports("oracle-general", oracle(*asked), ['0.0 task "oracleGeneral"'] + [access(p, "r--", n) for p, n in want])


def entry(kind, size, address):
    return struct.pack("<HHQ", kind, size, address)


DRMEMTRACE = (entry(25, 0, 6), entry(22, 0, 500), entry(24, 0, 400), entry(28, 2, 123), entry(47, 4, 0xdeadbeef),
              entry(10, 4, 0x1000), entry(0, 8, 0x1ffc), entry(1, 4, 0x5000), entry(17, 2, 0x0203),
              entry(31, 2, 0x7000), entry(22, 0, 501), entry(24, 0, 401), entry(16, 1, 0x8fff), entry(17, 2, 0x0101), entry(22, 0, 500),
              entry(2, 8, 0x9000), entry(10, 0, 0xa000), entry(48, 2, 0xb000), entry(26, 0, 0))
DRMEMTRACE_EVENTS = ['0.0 task "drmemtrace"', access(1, "--x"), access(1, "r--"), access(2, "r--"), access(5, "-w-"),
                     access(1, "--x", 2), access(7, "--x"), '1.1 task "drmemtrace"', access(8, "--x", who="1.1"),
                     access(9, "--x", 2, who="1.1"), access(0xb, "--x")]


def test_drmemtrace():
    imports("drmemtrace", b"".join(DRMEMTRACE), DRMEMTRACE_EVENTS)
    imports("drmemtrace", entry(25, 0, 2) + entry(1, 4, 0x5000), ['0.0 task "drmemtrace"', access(5, "-w-")])


def test_drmemtrace_that_is_none():
    takes = "; --from drmemtrace takes DynamoRIO's drmemtrace, offline: entries of 12 bytes"
    head = entry(25, 0, 6)
    refuses("drmemtrace", entry(10, 4, 0x1000), "byte 12: it does not begin with the header of a drmemtrace" + takes)
    refuses("drmemtrace", head + entry(64, 4, 0x1000), "byte 24: an entry of an unknown type" + takes)
    refuses("drmemtrace", head + entry(17, 9, 0x1000), "byte 24: a bundle of more instructions than can be" + takes)
    refuses("drmemtrace", head + entry(10, 4, 0x1000)[:5], "byte 12: the last record is cut" + takes)
    threads = b"".join(entry(22, 0, i) for i in range(65537))
    refuses("drmemtrace", head + threads, f"byte {12 * 65538}: more than 65536 threads" + takes)


def test_champsim():
    record = struct.pack("<QBB2s4s2Q4Q", 0x401000, 0, 0, b"", b"", 0x7000, 0, 0x5000, 0, 0, 0x6000)
    eq(len(record), 64)
    imports("champsim", record * 2, ['0.0 task "ChampSim"'] + [access(0x401, "--x"), access(5, "r--"), access(6, "r--"),
                                                               access(7, "-w-")] * 2)
    refuses("champsim", record + record[:63], "byte 64: the last record is cut; --from champsim takes "
            "ChampSim's instruction traces: records of 64 bytes")


def zipped(parts, method=zipfile.ZIP_DEFLATED, stream=False, zip64=False):
    class Pipe(io.RawIOBase):
        """Not seekable: zipfile writes descriptors behind the members."""
        def __init__(self):
            self.data = b""

        def writable(self):
            return True

        def write(self, b):
            self.data += bytes(b)
            return len(b)

    raw = Pipe() if stream else io.BytesIO()
    with zipfile.ZipFile(raw, "w", method) as z:
        for i, part in enumerate(parts):
            with z.open(f"chunk.{i:04}", "w", force_zip64=zip64) as member:
                member.write(part)
    return raw.data if stream else raw.getvalue()


def packings(data):
    half = len(data) // 24 * 12
    parts = [data[:half], b"", data[half:]]
    yield gzip.compress(data)
    yield gzip.compress(parts[0]) + gzip.compress(b"") + gzip.compress(parts[2])
    yield lzma.compress(data)
    yield lzma.compress(parts[0]) + lzma.compress(parts[2])
    yield zipped(parts)
    yield zipped(parts, zipfile.ZIP_STORED)
    yield zipped(parts, stream=True)
    yield zipped(parts, stream=True, zip64=True)


def test_packed_input():
    rng = random.Random(1)
    pages = [rng.randrange(1, 2**20) for _ in range(50000)]
    data = entry(25, 0, 6) + b"".join(entry(rng.randrange(2), 8, p << 12) for p in pages)
    plain = convert("drmemtrace", data)
    eq(plain[:2], (0, ""))
    for packed in packings(data):
        eq(convert("drmemtrace", packed), plain)


def test_packed_input_that_is_cut_or_damaged():
    rng = random.Random(2)
    data = entry(25, 0, 6) + b"".join(entry(rng.randrange(2), 8, rng.randrange(2**40)) for _ in range(300))
    for packed in packings(data):
        ends = len(packed) if packed[:2] != b"PK" else packed.index(b"PK\1\2")
        for cut in [rng.randrange(8, ends) for _ in range(6)]:
            status, text, _ = convert("drmemtrace", packed[:cut])
            # Between two members a gzip or xz file may end: then only records are missing.
            assert status == 2 or packed[:2] != b"PK", (cut, text)
            assert status == 0 or "byte" in text or "no access" in text, text
    packed = bytearray(gzip.compress(data))
    packed[len(packed) // 2] ^= 0xff
    status, text, _ = convert("drmemtrace", bytes(packed))
    eq(status, 2)
    assert text.startswith("steward: IN: byte"), text
    refuses("drmemtrace", gzip.compress(data)[:200], "byte (packed) 200: the packed data ends before its end; "
            "--from drmemtrace takes DynamoRIO's drmemtrace, offline: entries of 12 bytes")


def test_slow_pipes():
    data = gzip.compress(LACKEY.encode())
    with scratch() as d:
        out = os.path.join(d, "t")
        p = subprocess.Popen([STEWARD, "import", "--from", "lackey", "-", "-o", out], stdin=subprocess.PIPE)
        for i in range(len(data)):
            os.write(p.stdin.fileno(), data[i:i + 1])
            if i < 8:
                time.sleep(0.01)
        p.stdin.close()
        eq(p.wait(), 0)
        eq(os.listdir(d), ["t"])


def usage(args, line):
    r = subprocess.run([STEWARD, "import", *args], env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True)
    eq((r.returncode, r.stderr, r.stdout), (2, f"steward: {line}\n", ""))


def test_wrong_usage():
    usage([], "import: the format is missing; write --from lackey|perf|csv|oracle-general|drmemtrace|champsim")
    usage(["--from", "xyz", "-"],
          '--from: "xyz" is unknown; use lackey, perf, csv, oracle-general, drmemtrace or champsim')
    usage(["--from", "csv", "-"], "import: the output is missing; write -o FILE")
    usage(["--from", "csv", "-o", "x"], "import: the input is missing; name a file, or -")
    usage(["--from", "csv", "-o", "x", "a", "b"], "b: one input at a time; leave it out")
    usage(["--from", "csv", "-o", "", "a"], "--output: the file name is empty; give one")
    usage(["a", "--from", "csv", "-o", "x", "--", "-b"], "-b: one input at a time; leave it out")
    usage(["--from", "csv", "-o", "x", "/no/such"],
          "/no/such: it cannot be opened (No such file or directory); check the name")
    usage(["--from", "csv", "-o", "/no/such/x", "-"],
          "/no/such/x: it cannot be written (No such file or directory); give -o another file")


def test_input_that_cannot_be_read():
    r = subprocess.run([STEWARD, "import", "--from", "csv", "/", "-o", "/dev/null"], stderr=subprocess.PIPE, text=True)
    eq((r.returncode, r.stderr), (1, "steward: /: it cannot be read (Is a directory); correct that and try again\n"))


def test_output_that_cannot_be_written():
    r = command("import", "--from", "csv", "-", "-o", "/dev/full", data=b"R 1\n")
    eq((r.returncode, r.stderr), (1, b"steward: /dev/full: it cannot be written (No space left on device); "
                                  b"make room or give -o another file\n"))


def test_output_goes_to_standard_output_too():
    r = command("import", "--from", "csv", "-", "-o", "-", data=b"R 1000\n")
    dump = command("trace", "dump", "-", data=r.stdout).stdout
    eq(dump.decode().splitlines(), ['0 0.0 task "csv"', "1 " + access(1, "r--")])


def test_an_old_output_stays_until_there_is_a_new_one():
    with scratch() as d:
        out = os.path.join(d, "t")
        with open(out, "w") as f:
            f.write("old")
        eq(command("import", "--from", "csv", "-", "-o", out, data=b"rubbish\n").returncode, 2)
        with open(out) as f:
            eq(f.read(), "old")
        eq(os.listdir(d), ["t"])


def test_nothing_is_left_behind_by_a_signal():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with scratch() as d:
            out = os.path.join(d, "t")
            p = subprocess.Popen([STEWARD, "import", "--from", "csv", "-", "-o", out], stdin=subprocess.PIPE)
            for _ in range(1000):
                if os.path.exists(out + ".tmp"):
                    break
                time.sleep(0.01)
            time.sleep(0.05)
            p.send_signal(number)
            eq(p.wait(), -number)
            p.stdin.close()
            eq(os.listdir(d), [])


main(globals())
