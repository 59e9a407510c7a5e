#!/usr/bin/python3
"""The same scenarios on the live engine and on the modelled machine, compared.

  run.py --build DIR [--only SUBSTRING]

Each scenario (scenario.c) runs four times: alone, the oracle; as `steward run
--ram 32M`; on a machine of 32 MiB without accessed bits under the policy that
the live engine runs; and on one with accessed bits under Linux's. What the
program sees must be the same byte for byte. Counters must be EXPECTED's:

  minor  pages touched for the first time, each alone or ahead of it: without
         accessed bits one fault may bring several. The live engine leaves
         them to the host while there is room, and counts only the others, so
         that there it is a bound.
  cow    copies for a child that writes. And the model with accessed bits maps
         one page of zeros wherever memory was only read, as Linux does, so
         the first write copies it; the other two give each page a frame at
         once. On the live engine the host copies.
  in     pages that came back, by a fault of their own (major) or ahead of it:
         how many of each kind is up to the streams seen, their sum is not.
         Where the policy decides what is out, engines may differ by SPREAD.
  soft   pages that were taken away as a sample and touched. Which ones these
         are depends on how much of the budget is left for pages, so this is a
         bound; with accessed bits there is no sample.

The live program has memory besides its regions (its stack and libc's data):
the counters of the scenario "empty" are taken off, and NOISE pages allowed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

NOISE = 16
BUDGET = "32M"

# Scenario: (minor, in, cow with accessed bits, cow of the other model); None: up to the policy, which pages are out.
EXPECTED = {
    "first-touch": (2000, 0, 0, 0),
    "zeros": (1000, 0, 1000, 0),
    "refault": (13500, 1500, 0, 0),
    "refault-row": (13500, 1500, 0, 0),
    "rewrite": (13500, None, 0, 0),
    "protect": (300, 0, 0, 0),
    "protect-out": (13000, 1000, 0, 0),
    "unmap": (1200, 0, 0, 0),
    "drop": (1500, 0, 0, 0),
    "drop-out": (14250, 750, 0, 0),
    "fork": (500, 0, 200, 200),
    "fork-out": (13000, None, None, None),
}
# Where it is up to the policy: so far from each other may the pages that came back be, of which each engine sees some.
SPREAD = 0.1
# Parent and child share what one of them brings back on the machine (swap cache), and not on the live engine: so many pages come back in
# both there. And each has its part of the memory from the fork on, in which less stays.
TWICE = {"fork-out": 1000}
SPREAD_DIVIDED = 0.15


def counters_of_model(path):
    with open(path) as f:
        return {name: int(number) for name, number in (line.split() for line in f)}


def counters_of_live(path):
    with open(path) as f:
        return json.load(f)["counters"]


def judge(engine, name, got, problems, noise):
    minor, back, *cow = EXPECTED[name]

    def same(what, have, want):
        if want is not None and not want - noise <= have <= want + noise:
            problems.append("%s: %s %d instead of %d" % (engine, what, have, want))

    def most(what, have, limit):
        if have > limit + noise:
            problems.append("%s: %s %d, more than %d" % (engine, what, have, limit))

    first = got["pgminor"] + got["pgfill_ahead"]
    if engine == "live":
        most("minor", first, minor)
        same("cow", got["pgcow"], 0)
    else:
        same("minor", first, minor)
        same("cow", got["pgcow"], cow[engine == "sampled"])
    same("in", got["pswpin"], back)
    most("major", got["pgmajfault"], got["pswpin"])
    if engine == "accessed":
        same("major", got["pgmajfault"], got["pswpin"])
        same("soft", got["pgsoft"], 0)
    else:
        most("soft", got["pgsoft"], got["pgdeactivate"])


def judge_together(name, back, problems):
    """Pages that came back, by engine: the policies differ in which, but not by much in how many."""
    if max(back) - min(back) > (SPREAD_DIVIDED if name in TWICE else SPREAD) * max(back) + NOISE:
        problems.append("in: %d, %d and %d pages" % tuple(back))


class Suite:
    def __init__(self, build, work):
        self.live = os.path.join(build, "tests", "conformance", "conformance-live")
        self.model = os.path.join(build, "tests", "conformance", "conformance-model")
        self.steward = os.path.join(build, "src", "cli", "steward")
        self.work = work
        self.noise = None

    def output(self, argv, problems, what):
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
        if done.returncode != 0:
            problems.append("%s: status %d: %s" % (what, done.returncode, done.stderr.strip()[-300:]))
        return done.stdout

    def on_live(self, name, problems):
        stats = os.path.join(self.work, "live.json")
        argv = [self.steward, "run", "--ram", BUDGET, "--debug-engage", "--stats", stats, "--", self.live, name]
        return self.output(argv, problems, "live"), counters_of_live(stats)

    def on_model(self, name, kind, problems):
        counters = os.path.join(self.work, kind)
        return self.output([self.model, name, kind, counters], problems, kind), counters_of_model(counters)

    def scenario(self, name):
        problems, back = [], []
        oracle = self.output([self.live, name], problems, "alone")
        for kind in ("live", "sampled", "accessed"):
            out, got = self.on_live(name, problems) if kind == "live" else self.on_model(name, kind, problems)
            if out != oracle:
                problems.append("%s: the contents differ: %r instead of %r" % (kind, out[:400], oracle[:400]))
            if kind == "live":
                got = {key: value - self.noise.get(key, 0) for key, value in got.items()}
            print("# %-12s %-8s minor %5d, soft %5d, major %5d, in %5d, cow %5d" % (
                name, kind, got["pgminor"], got["pgsoft"], got["pgmajfault"], got["pswpin"], got["pgcow"]), flush=True)
            judge(kind, name, got, problems, NOISE if kind == "live" else 0)
            back.append(got["pswpin"] - (TWICE.get(name, 0) if kind == "live" else 0))
        judge_together(name, back, problems)
        return problems

    def why_not(self):
        """None if the live engine runs here."""
        if not os.access(self.steward, os.X_OK):
            return "no %s" % self.steward
        problems = []
        _, self.noise = self.on_live("empty", problems)
        return problems[0] if problems else None


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", required=True, help="build directory")
    p.add_argument("--only", default="", help="scenarios whose name contains this")
    args = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="steward-conform.", dir="/var/tmp") as work:
        suite = Suite(args.build, work)
        why = suite.why_not()
        if why:
            print("1..0 # SKIP " + why.splitlines()[0])
            return 0
        names = [n for n in EXPECTED if args.only in n]
        print("1..%d" % len(names), flush=True)
        failed = 0
        for number, name in enumerate(names, 1):
            problems = suite.scenario(name)
            failed += bool(problems)
            print("%sok %d - %s" % ("not " if problems else "", number, name))
            for problem in problems:
                print("#   " + problem, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
