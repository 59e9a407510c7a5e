#!/usr/bin/python3
"""The live policies side by side on the real programs (tests/live/jobs.py): who reads least back, and who is fastest?

Each program runs under `steward run --policy NAME` with shares of its footprint as budget; the policies take turns, and every ratio is taken
within a round, to the default. Major faults hardly depend on other work of the machine, seconds do. Outputs are compared with a run without
any limit; a wrong one makes the status 1.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "tests", "live"))
sys.path.insert(0, HERE)

import cage  # noqa: E402
import figures  # noqa: E402
import jobs  # noqa: E402

MIB = 1 << 20
POLICIES = ["second-chance", "two-list", "clock", "mglru", "s3-fifo", "random"]  # the first is the default
MEASURES = ("major", "seconds")
TIMEOUT = 300


class Bench:
    def __init__(self, args, work):
        self.args = args
        self.work = work
        self.steward = os.path.join(args.build, "src", "cli", "steward")
        self.runs, self.failures = [], []

    def once(self, job, share, policy, right):
        stats = os.path.join(self.work, "stats.json")
        ram = int(job.footprint_mib * share / 100) * MIB
        prefix = [self.steward, "run", "--ram", str(ram), "--policy", policy, "--stats", stats, "--"]
        result = cage.run(job.argv(self.work, os.path.join(self.args.build, "tests", "live"), prefix), TIMEOUT)
        if result.timed_out or result.status != 0 or result.digest != right:
            return None, ("no end in %d s" % TIMEOUT if result.timed_out else
                          "wrong output" if result.status == 0 else "status %d: %s" % (result.status, result.stderr.strip()[-300:]))
        with open(stats, encoding="utf-8") as f:
            major = json.load(f)["counters"]["pgmajfault"]
        return {"major": major, "seconds": result.seconds}, None

    def measure(self, job, share, right):
        case = "%s, %g %%" % (job.name, share)
        for run in range(self.args.runs):
            first = run % len(POLICIES)
            for policy in POLICIES[first:] + POLICIES[:first]:
                if policy not in self.args.policies:
                    continue
                sample, why = self.once(job, share, policy, right)
                if sample is None:
                    self.failures.append("%s, %s: %s" % (case, policy, why))
                    continue
                self.runs.append(dict(sample, case=case, policy=policy, run=run))
                print("# %s, run %d, %s: %d major faults, %.1f s" % (case, run + 1, policy, sample["major"], sample["seconds"]),
                      file=sys.stderr, flush=True)

    def run(self):
        for job in jobs.JOBS:
            if self.args.only and job.name not in self.args.only:
                continue
            if job.missing():
                print("# %s: %s is not installed" % (job.name, ", ".join(job.missing())))
                continue
            job.prepare(self.work)
            native = cage.run(job.argv(self.work, os.path.join(self.args.build, "tests", "live")), TIMEOUT)
            if native.status != 0:
                self.failures.append("%s: fails by itself: %s" % (job.name, native.stderr.strip()[-300:]))
                continue
            for share in self.args.shares:
                self.measure(job, share, native.digest)


def ratios(runs, case, policy, measure):
    """To the default, round by round."""
    series = {p: {r["run"]: r[measure] for r in runs if r["case"] == case and r["policy"] == p} for p in (policy, POLICIES[0])}
    own, default = series[policy], series[POLICIES[0]]
    return [own[k] / default[k] for k in own if default.get(k, 0) > 0]


def print_table(runs, policies):
    means = {}
    print("\nMajor faults · seconds, ratios to %s\n" % POLICIES[0])
    print("| | %s |\n%s" % (" | ".join(policies), "|---" * (len(policies) + 1) + "|"))
    for case in dict.fromkeys(r["case"] for r in runs):
        cells = []
        for policy in policies:
            medians = []
            for measure in MEASURES:
                values = ratios(runs, case, policy, measure)
                if values:
                    medians.append(statistics.median(values))
                    means.setdefault((policy, measure), []).append(medians[-1])
            cells.append(" · ".join("%.2f" % m for m in medians) if medians else "–")
        print("| %s | %s |" % (case, " | ".join(cells)))
    cells = [" · ".join("%.2f" % figures.geomean(means[p, m]) if min(means.get((p, m), [0])) > 0 else "–" for m in MEASURES)
             for p in policies]
    print("| **geometric mean** | %s |" % " | ".join(cells))


def main():
    def words(s):
        return s.split(",")

    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--runs", type=int, default=3, help="rounds (3)")
    p.add_argument("--only", type=words, help="these programs: " + ",".join(j.name for j in jobs.JOBS))
    p.add_argument("--policies", type=words, default=POLICIES, help="of %s (all)" % ",".join(POLICIES))
    p.add_argument("--shares", type=lambda s: [float(x) for x in words(s)], default=[50, 25], help="budgets in per cent of the footprint (50,25)")
    p.add_argument("--json", metavar="FILE", help="write every run")
    p.add_argument("--build", default=os.path.join(HERE, "..", "build"), help="build directory")
    args = p.parse_args()
    cage.end_tidily()
    args.build = os.path.abspath(args.build)
    unknown = set(args.policies) - set(POLICIES) or set(args.only or []) - {j.name for j in jobs.JOBS}
    if unknown:
        p.error("there is no %s" % ", ".join(sorted(unknown)))
    args.policies = [q for q in POLICIES if q in {POLICIES[0], *args.policies}]
    with tempfile.TemporaryDirectory(prefix="policy.", dir=os.environ.get("TMPDIR", "/var/tmp")) as work:
        bench = Bench(args, work)
        try:
            bench.run()
        except KeyboardInterrupt:
            print("\ninterrupted: what follows is of the rounds until then")
    if bench.runs:
        print_table(bench.runs, args.policies)
    if args.json:
        figures.write_json(args.json, {"runs": bench.runs, "failures": bench.failures})
    for text in bench.failures:
        print("FAILED: " + text, file=sys.stderr)
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
