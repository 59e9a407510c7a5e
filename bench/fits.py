#!/usr/bin/python3
"""What `steward run` costs a program that fits its budget.

  fits.py [--runs N] [--only NAME,…] [--json FILE] [--build DIR]

The programs of tests/live/jobs.py alone, under `steward run` with twice their footprint, and under Steward's malloc alone (`--malloc-only`), in turn
(A B C, B C A, …). Ratios are taken within a round, to the program alone, of wall time and of CPU time of program and launcher; the last column
is how many huge pages the kernel has handed out meanwhile (thp_fault_alloc of /proc/vmstat, all that runs on the machine). Status 1
when an output was wrong.
"""

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "tests", "live"))

import cage  # noqa: E402
import figures  # noqa: E402
import jobs  # noqa: E402

PEERS = ["alone", "steward", "malloc-only"]
TIMEOUT = 300


def huge_pages():
    with open("/proc/vmstat", encoding="ascii") as f:
        return int(dict(line.split() for line in f)["thp_fault_alloc"])


def cpu_seconds():
    """Of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Bench:
    def __init__(self, args, work):
        self.args, self.work = args, work
        self.steward = os.path.join(args.build, "src", "cli", "steward")
        self.tools = os.path.join(args.build, "tests", "live")
        self.failures, self.samples = [], {}

    def prefix(self, peer, job):
        return {"alone": [],
                "steward": [self.steward, "run", "--ram", "%dM" % (2 * job.footprint_mib), "--"],
                "malloc-only": [self.steward, "run", "--malloc-only", "--"]}[peer]

    def once(self, job, peer, run):
        cpu, huge = cpu_seconds(), huge_pages()
        result = cage.run(job.argv(self.work, self.tools, self.prefix(peer, job)), TIMEOUT)
        if result.status != 0 or result.timed_out or result.digest != self.right:
            self.failures.append("%s, %s: %s" % (job.name, peer, result.stderr.strip()[-300:] or "wrong output"))
            return
        self.samples.setdefault((job.name, peer), {})[run] = {
            "seconds": result.seconds, "cpu": cpu_seconds() - cpu, "huge": huge_pages() - huge}

    def measure(self, job):
        job.prepare(self.work)
        # Files are in the page cache after this one, for all of them.
        self.right = cage.run(job.argv(self.work, self.tools), TIMEOUT).digest
        for run in range(self.args.runs):
            for peer in PEERS[run % len(PEERS):] + PEERS[:run % len(PEERS)]:
                self.once(job, peer, run)

    def ratios(self, name, peer, key):
        alone, other = self.samples.get((name, "alone"), {}), self.samples.get((name, peer), {})
        return [other[k][key] / alone[k][key] for k in alone if k in other]

    def median(self, name, peer, key):
        samples = self.samples.get((name, peer), {})
        return statistics.median(s[key] for s in samples.values()) if samples else float("nan")

    def table(self, names):
        print("\n| | alone, s | steward / alone | CPU | malloc-only / alone | CPU | huge pages: alone, steward |")
        print("|---|---|---|---|---|---|---|")
        for name in names:
            cells = [figures.spread(self.ratios(name, peer, key), 3) for peer in PEERS[1:] for key in ("seconds", "cpu")
                     if self.ratios(name, peer, key)]
            print("| %s | %.2f | %s | %.0f, %.0f |" % (name, self.median(name, "alone", "seconds"), " | ".join(cells),
                                                      self.median(name, "alone", "huge"), self.median(name, "steward", "huge")))
        for peer in PEERS[1:]:
            medians = [statistics.median(r) for r in (self.ratios(n, peer, "seconds") for n in names) if r]
            if medians:
                print("\n%s / alone: %.3f (geometric mean of %d)" % (peer, figures.geomean(medians), len(medians)))


def main():
    p = argparse.ArgumentParser(description="What steward run costs a program that fits")
    p.add_argument("--runs", type=int, default=9, help="rounds (9)")
    p.add_argument("--only", type=lambda s: s.split(","), help="these programs")
    p.add_argument("--json", metavar="FILE", help="write every run")
    p.add_argument("--build", default=os.path.join(HERE, "..", "build"), help="build directory")
    args = p.parse_args()
    cage.end_tidily()
    with tempfile.TemporaryDirectory(prefix="steward-bench.") as work:
        bench, names = Bench(args, work), []
        for job in jobs.JOBS:
            if (args.only and job.name not in args.only) or job.missing():
                continue
            bench.measure(job)
            names.append(job.name)
    print("Linux %s, %d CPUs, %s; %d round(s), load %.1f" % (
        os.uname().release.split("-")[0], os.cpu_count(), time.strftime("%Y-%m-%d"), args.runs, os.getloadavg()[0]))
    bench.table(names)
    if args.json:
        figures.write_json(args.json, {"runs": [{"case": n, "peer": p, "run": k, **s}
                                                for (n, p), runs in bench.samples.items() for k, s in runs.items()]})
    for failure in bench.failures:
        print("FAILED: %s" % failure, file=sys.stderr)
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
