#!/usr/bin/python3
"""How many instructions the memory manager takes for a fault, and for a page that it evicts.

A guard against getting slower that other work on the machine does not disturb: fixed sequences of touches are replayed on a modelled
machine that works as the live engine does (no accessed bits, its policy), under valgrind's callgrind, and what mm/ executes in them is
divided by the faults and pages that it served. The same build gives the same figures to the digit.

What it does not see: system calls, compression, cache misses. Those are bench/paging.py's.

    bench/instructions.py            prints now, last, ratio; status 1 if something takes 3 % more than last
    bench/instructions.py --keep     these are the last figures from now on (bench/instructions.json)
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)

import figures  # noqa: E402

LAST = os.path.join(HERE, "instructions.json")
MACHINE = os.path.join(HERE, "..", "examples", "machines", "steward-run.yaml")
PAGES, TOUCHES, LIMIT = 16384, 120_000, "32M"
MORE_PERCENT = 3
# What is counted: function of mm/, and the counters that say how often it did its work.
PATHS = {"fault": ("mm_fault", ("pgfault",)), "eviction": ("reclaim_batch", ("pswpout",))}


def uniform(rng):
    return (rng.randrange(PAGES) for _ in range(TOUCHES))


def hot80(rng):
    hot = PAGES // 5
    return (rng.randrange(hot) * 5 if rng.random() < 0.8 else rng.randrange(PAGES) for _ in range(TOUCHES))


def sequential(_):
    return (i % PAGES for i in range(TOUCHES))


SEQUENCES = {"uniform": uniform, "hot80": hot80, "sequential": sequential}


def run(argv):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit("bench-instructions: %s: %s" % (os.path.basename(argv[0]), done.stderr.strip()[-300:]))
    return done.stdout


def inclusive(profile):
    """{function: instructions, of those that it calls included}"""
    text = run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", profile])
    return {m[2]: int(m[1].replace(",", ""))
            for m in re.finditer(r"^ *([\d,]+) +\([ \d.]+%\) +\S*?:(\w+)(?:\.\w+)* \[", text, re.M)}


def measure(steward, sequence, work):
    """{path: instructions for each}"""
    csv, trace, profile, stats = (os.path.join(work, n) for n in ("t.csv", "t.stw", "profile", "sim.json"))
    with open(csv, "w", encoding="ascii") as f:
        for page in range(PAGES):
            f.write("W %#x\n" % (page << 12))
        for i, page in enumerate(SEQUENCES[sequence](random.Random(1))):
            f.write("%s %#x\n" % ("RW"[i % 2], page << 12))
    run([steward, "import", "--from", "csv", csv, "-o", trace])
    run(["valgrind", "--tool=callgrind", "--callgrind-out-file=" + profile, steward, "sim", "-m", MACHINE, "-s", "memory.limit=" + LIMIT,
         "--json", stats, trace])
    with open(stats, encoding="utf-8") as f:
        counters = json.load(f)["counters"]
    taken = inclusive(profile)
    return {"%s, a page's %s" % (sequence, path): taken[function] / sum(counters[c] for c in served)
            for path, (function, served) in PATHS.items()}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=os.path.join(HERE, "..", "build"), help="build directory")
    p.add_argument("--only", choices=SEQUENCES, help="this sequence")
    p.add_argument("--keep", action="store_true", help="write bench/instructions.json")
    args = p.parse_args()
    steward = os.path.join(args.build, "src", "cli", "steward")
    now, last = {}, {}
    for sequence in [args.only] if args.only else SEQUENCES:
        with tempfile.TemporaryDirectory(prefix="steward-instructions-") as work:
            now.update(measure(steward, sequence, work))
    if os.path.exists(LAST):
        with open(LAST, encoding="utf-8") as f:
            last = json.load(f)
    more = []
    print("| instructions | now | last | ratio |\n|---|---|---|---|")
    for name, value in now.items():
        ratio = value / last[name] if name in last else None
        print("| %s | %.0f | %s |" % (name, value, "%.0f | %.3f" % (last[name], ratio) if ratio else "– | –"))
        if ratio and ratio > 1 + MORE_PERCENT / 100:
            more.append(name)
    if args.keep:
        figures.write_json(LAST, {name: round(value, 1) for name, value in {**last, **now}.items()})
        return 0
    for name in more:
        print("MORE: %s" % name, file=sys.stderr)
    return 1 if more else 0


if __name__ == "__main__":
    sys.exit(main())
