#!/usr/bin/python3
"""Files larger than memory: regions of libsteward beside mmap, at equal memory.

  file.py [--ram MIB] [--runs N] [--touches N] [--only WORK] [--dir DIR] [--json FILE] [--build DIR]

The file is four times --ram, of random words. Each way runs in a cgroup of the same hard limit, page cache included, which is emptied
before; the ways of one kind of work run in turn, N times, and ratios are taken within a turn. Their sums must agree, and after
work that writes the words of the file must add up to what they should. What each way is stands at the top of
bench/filebench.c. Needs root (cgroup). Status 1: a wrong sum, or a wrong file. See docs/performance.md.
"""

import argparse
import array
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "tests", "live"))

import cage  # noqa: E402
import figures  # noqa: E402

MIB = 1 << 20
# Of the limit: what a program takes beside its data, for both sides the same.
PROGRAM = 8
WAYS = [("mmap", 0), ("mmap-random", 0), ("steward", 4), ("steward", 64), ("batch", 4)]
# Work, and its ways.
WORKS = [
    ("random", [0, 1, 2, 3, 4]),
    ("threads", [0, 1, 2, 4]),
    ("sequential", [0, 2, 3]),
    ("update", [0, 1, 2, 4]),
    ("rewrite", [0, 2, 3]),
]


def make(path, size):
    with open(path, "wb") as f:
        for _ in range(size // MIB):
            f.write(os.urandom(MIB))
        os.fsync(f.fileno())


def forget(path):
    """Nothing of the file is in the page cache."""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def total(path):
    """Of all words, modulo 2^64."""
    words = array.array("Q")
    with open(path, "rb") as f:
        words.frombytes(f.read())
    return sum(words) % (1 << 64)


def once(args, way, work, path):
    side, page = WAYS[way]
    forget(path)
    box = cage.Cage("file", args.ram * MIB, swap=False)
    try:
        r = subprocess.run(box.prefix + [os.path.join(args.build, "bench", "filebench"), side, work, path, str(args.ram - PROGRAM), str(page),
                                         str(args.touches)], stdout=subprocess.PIPE, text=True, check=True)
    finally:
        box.close()
    seconds, sum_ = r.stdout.split()
    return float(seconds), sum_


def ratio(times, base, way):
    """Of each round; None: the base did not run."""
    return [b / t for b, t in zip(times[base], times[way])] if base in times and base != way else None


def compare(args, work, ways, path):
    """The rows of one kind of work. Words that writing work has added to are seen by the sum of the next way: they must be as many."""
    times, sums = {way: [] for way in ways}, []
    before = total(path)
    writes = work in ("update", "rewrite")
    count = args.touches if work == "update" else args.ram * 4 * MIB // 4096
    for _ in range(args.runs):
        for way in ways:
            seconds, sum_ = once(args, way, work, path)
            times[way].append(seconds)
            sums.append(int(sum_, 16))
            if writes:
                after = total(path)
                if (before + count) % (1 << 64) != after:
                    sys.exit("%s, %s: the file is wrong" % (WAYS[way][0], work))
                before = after
    if not writes and len(set(sums)) != 1:
        sys.exit("%s: the sums differ" % work)
    rows = []
    for way in ways:
        ratios = [ratio(times, base, way) for base in (0, 1)]
        rows.append({"work": work, "side": WAYS[way][0], "page_kib": WAYS[way][1], "seconds": times[way], "times_mmap": ratios[0],
                     "times_mmap_random": ratios[1]})
        cells = [figures.spread(r, 2) if r is not None else "" for r in ratios]
        print("| %s | %s | %s | %s | %s | %s |" % (work, WAYS[way][0], WAYS[way][1] or "", figures.spread(times[way], 2), *cells), flush=True)
    return rows


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", default=os.path.join(HERE, "..", "build"))
    p.add_argument("--ram", type=int, default=64)
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--touches", type=int, default=4096)
    p.add_argument("--only")
    p.add_argument("--dir", default="/var/tmp")
    p.add_argument("--json")
    args = p.parse_args()
    cage.end_tidily()
    print("load before: %.1f" % os.getloadavg()[0])
    why = cage.why_not()
    if why is not None:
        sys.exit("file.py: %s" % why)
    rows = []
    with tempfile.TemporaryDirectory(prefix="steward-file-", dir=args.dir) as work_dir:
        path = os.path.join(work_dir, "data")
        make(path, args.ram * 4 * MIB)
        print("| work | way | page, KiB | seconds | times mmap | times mmap-random |\n|---|---|---|---|---|---|")
        for work, ways in WORKS:
            if args.only in (None, work):
                rows += compare(args, work, ways, path)
    print("load after: %.1f" % os.getloadavg()[0])
    if args.json:
        figures.write_json(args.json, {"ram_mib": args.ram, "touches": args.touches, "rows": rows})


main()
