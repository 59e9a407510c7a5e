"""Reads *.stwrun as docs/flight-format.md says, without anything of Steward's: an oracle for what the command makes of it."""
import struct
import zlib

HEADER = 4096
KINDS = {1: "sample", 2: "event", 3: "end", 4: "map", 5: "oom"}
USE = ["managed", "pool", "own", "unmanaged", "swapped", "pooled", "pool_bytes", "filed"]
HEAP = ["held", "live", "mapped", "slots", "free_slots", "cached", "free_chunks", "meta"]
FRAMES = ["online", "free", "min", "low", "high", "active", "inactive", "sample"]


class Numbers:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self):
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value

    def bytes(self):
        n = self.number()
        self.at += n
        return self.data[self.at - n:self.at]

    def text(self):
        return self.bytes().decode(errors="replace")

    def group(self, names=None):
        numbers = [self.number() for _ in range(self.number())]
        return dict(zip(names, numbers)) if names else numbers


def header(data):
    magic, version, size, ring, zero, total = struct.unpack_from("<8sIIQII", data)
    assert (magic, version, zero) == (b"STWRUN\r\n", 1, 0)
    assert zlib.crc32(data[:28] + bytes(4) + data[32:32 + size]) == total
    n = Numbers(data[32:32 + size])
    run = n.group(["launcher", "began", "interval_ns"])
    run.update(ring_bytes=ring, command=n.text(), budget_from=n.text(), counters=n.text().split(" "))
    run["areas"] = [{"name": n.text(), "pool": bool(n.number())} for _ in range(n.number())]
    return run


def process(n, run):
    p = n.group(["pid", "parent", "state", "start", "age_ns", "granted"])
    p.update(comm=n.text(), use=n.group(USE + HEAP), frames=n.group(FRAMES), counters=n.group(run["counters"]))
    return p


def sample(n, run):
    s = n.group(["ram", "reserved", "free", "asked"])
    s.update(use=n.group(USE + HEAP), frames=n.group(FRAMES), counters=n.group(run["counters"]))
    s["faults"] = n.group(["count", "sum", "max"])
    pairs = n.group()
    s["histogram"] = dict(zip(pairs[::2], pairs[1::2]))
    s["areas"] = [n.group(["used", "errors", "state"]) for _ in range(n.number())]
    s["processes"] = [process(n, run) for _ in range(n.number())]
    return s


def area(n, end):
    a = n.group(["gap", "pages", "flags", "part_pages"])
    a.update(start=end + a["gap"], managed=bool(a["flags"] & 1), own=bool(a["flags"] & 2), name=n.text(), rights=n.text())
    a["parts"] = [n.group(["mapped", "sample", "pool", "filed", "same", "discardable"]) for _ in range(n.number())]
    return a


def address_space(n):
    m = n.group(["pid", "start"])
    m["areas"], end = [], 0
    for _ in range(n.number()):
        m["areas"].append(area(n, end))
        end = m["areas"][-1]["start"] + m["areas"][-1]["pages"]
    return m


def signed(v):
    return v >> 1 ^ -(v & 1)


def oom(n):
    o = {"what": n.text(), "victim": n.number(), "tasks": []}
    for _ in range(n.number()):
        t = n.group(["pid", "resident", "swapped", "tables_bytes", "adj", "never", "points"])
        t.update(adj=signed(t["adj"]), points=signed(t["points"]), name=n.text())
        o["tasks"].append(t)
    return o


def payload(kind, data, run):
    n = Numbers(data)
    if kind == "sample":
        record = sample(n, run)
    elif kind == "event":
        record = {"bad": bool(n.number()), "text": n.text()}
    elif kind == "map":
        record = address_space(n)
    elif kind == "oom":
        record = oom(n)
    else:
        record = {"fatal": n.text(), "json": n.text()}
    assert n.at == len(data), (kind, n.at, len(data))
    return record


def blocks(data):
    """(offset, seq, ns, kind, payload) of whole blocks, wherever they lie."""
    at = HEADER
    while at + 32 <= len(data):
        magic, size, seq, ns, kind, total = struct.unpack_from("<4sIQQII", data, at)
        body = data[at + 32:at + 32 + size]
        if magic == b"RBLK" and len(body) == size and zlib.crc32(data[at:at + 28] + bytes(4) + body) == total:
            yield at, seq, ns, KINDS[kind], body
            at += (32 + size + 7) // 8 * 8
        else:
            at += 8


def block(seq, ns, kind, body):
    number = next(n for n, name in KINDS.items() if name == kind)
    head = struct.pack("<4sIQQI", b"RBLK", len(body), seq, ns, number)
    whole = head + struct.pack("<I", zlib.crc32(head + bytes(4) + body)) + body
    return whole + bytes(-len(whole) % 8)


def numbers(*values):
    """As Numbers reads them."""
    out = bytearray()
    for value in values:
        while value >= 0x80:
            out.append(value & 0x7f | 0x80)
            value >>= 7
        out.append(value)
    return bytes(out)


def group(*values):
    return numbers(len(values), *values)


def map_payload(pid, start, *areas):
    """A map of managed areas (start, pages, part_pages, mapped pages of each part), by address."""
    out, end = group(pid, start) + numbers(len(areas)), 0
    for at, pages, part_pages, parts in areas:
        out += group(at - end, pages, 1, part_pages) + numbers(0, 4) + b"rw-p" + numbers(len(parts))
        out += b"".join(group(mapped, 0, 0, 0, 0, 0) for mapped in parts)
        end = at + pages
    return out


def repeated(path, times):
    """The bytes of a recording that has the samples of another one so many times."""
    with open(path, "rb") as f:
        data = f.read()
    samples = [b for b in blocks(data) if b[3] == "sample"]
    step = samples[-1][2] + 1
    copies = [block(k * len(samples) + i, k * step + ns, kind, body)
              for k in range(times) for i, (_, _, ns, kind, body) in enumerate(samples)]
    return data[:HEADER] + b"".join(copies)


def read(path):
    """The run and its records, oldest first: dicts with seq, ns, kind and what is in them."""
    with open(path, "rb") as f:
        data = f.read()
    run = header(data)
    found = sorted(blocks(data), key=lambda b: b[1])
    return run, [dict(payload(kind, body, run), at=at, seq=seq, ns=ns, kind=kind) for at, seq, ns, kind, body in found]
