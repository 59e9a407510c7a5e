#!/usr/bin/python3
"""Steward against the kernel's own swap, side by side, at equal total memory.

  paging.py [--quick] [--runs N] [--touches N] [--only NAME,…] [--shares PERCENT,…] [--json FILE] [--build DIR] [--swap-dir DIR] [--cached]

Peers, interleaved (A B C, A B C, …):

  zram     the kernel: cgroup limit L, swap on zram with lz4. zram's memory is
           outside the limit; its maximum Z is measured.
  file     the kernel: cgroup limit L, swap in a file.
  steward  steward run --ram L+Z, inside a cgroup of L+Z+8 MiB without swap: its
           pool counts, so L+Z is what the kernel used.

The page cache is dropped before each run, so that code and files that a program
maps count in its limit, as in a container. Pages that are cached already stay with
whoever read them first (--cached), while Steward's budget counts them in any case.

Workloads: single touches of 512 MiB (steward bench --touch, L = 128 MiB), and the real
programs of tests/live/jobs.py (L = a share of their footprint, a quarter unless --shares says more). Every run's
output is checked: the touches verify every byte, a program's output must be
that of a run without any limit. See docs/performance.md.

Needs root (cgroup, swapon). Swap areas and cgroups are taken down at the end,
also after ctrl-C. Status 1 when any output was wrong or Steward failed.
"""

import argparse
import json
import os
import platform
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
import kernelswap  # noqa: E402

MIB = 1 << 20
SLACK = 8 * MIB
LIMIT = 128 * MIB
SIZE_MIB = 512
TRIES = 3  # repetitions of a run that the kernel ended for want of memory
WORKLOADS = ["random-read", "random-rw", "sequential", "sequential-rw", "reverse", "strided", "streams4",
             "hot80", "zipf", "moving-hot", "random-2t", "random-8t"]
PEERS = ["zram", "file", "steward"]


class Bench:
    workloads, limit, size_mib = WORKLOADS, LIMIT, SIZE_MIB
    shares = [25]  # of a program's footprint, per cent

    def __init__(self, args, work):
        self.args = args
        self.work = work
        self.steward = os.path.join(args.build, "src", "cli", "steward")
        self.tools = os.path.join(args.build, "tests", "live")
        self.failures = []
        self.runs = []

    def peers(self):
        if not os.access(self.steward, os.X_OK):
            print("# no %s: the kernel's sides only" % self.steward)
            return PEERS[:2]
        return PEERS

    def under_kernel(self, argv, limit, timeout):
        """One run in limit bytes, with whatever swap is on: (result, OOM stalls)."""
        with cage.Cage("bench", limit, swap=True, patient=True) as c:
            return cage.run(argv(c.prefix), timeout, c, keep=1 << 20), c.stalls

    def under_steward(self, argv, ram, timeout, options=()):
        """One run in a budget of ram bytes: (result, the summary as JSON, or None)."""
        stats_file = os.path.join(self.work, "stats.json")
        if os.path.exists(stats_file):
            os.unlink(stats_file)
        with cage.Cage("bench", ram + SLACK, swap=False) as c:
            prefix = c.prefix + [self.steward, "run", "--ram", str(ram), "--stats", stats_file, *options, "--"]
            result = cage.run(argv(prefix), timeout, c, env=dict(os.environ, TMPDIR=self.args.swap_dir), keep=1 << 20)
        stats = None
        if os.path.exists(stats_file):
            with open(stats_file, encoding="utf-8") as f:
                stats = json.load(f)
        return result, stats

    def swap_file(self):
        return kernelswap.SwapFile(os.path.join(self.args.swap_dir, "steward-bench-swap.%d" % os.getpid()), 2048 * MIB)

    def once(self, peer, argv, limit, extra, timeout):
        """One run. extra: Z of the run before it. Returns (result, Z, OOM stalls, stats)."""
        if not self.args.cached:
            kernelswap.drop_page_cache()
        if peer == "zram":
            with kernelswap.Zram(2048 * MIB) as zram:
                result, stalls = self.under_kernel(argv, limit, timeout)
            return result, zram.peak, stalls, None
        if peer == "file":
            with self.swap_file():
                result, stalls = self.under_kernel(argv, limit, timeout)
            return result, 0, stalls, None
        result, stats = self.under_steward(argv, limit + extra, timeout)
        return result, 0, 0, stats

    def measure(self, case, argv, limit, right, timeout):
        """All runs of one case; appends to self.runs. right(result): the output is what it has to be."""
        for run in range(self.args.runs):
            extra = 0
            for peer in self.peers_now:
                died = 0
                while True:
                    result, z, stalls, stats = self.once(peer, argv, limit, extra, timeout)
                    if not self.ended_by_kernel(peer, result, stalls) or died == TRIES:
                        break
                    died += 1
                extra = max(extra, z)
                ok = result.status == 0 and not result.timed_out and right(result)
                if not ok:
                    self.complain(case, peer, result, stalls)
                self.runs.append({
                    "case": case, "peer": peer, "run": run, "ok": ok, "seconds": round(result.seconds, 4),
                    "limit_bytes": limit, "zram_bytes": z, "ram_bytes": limit + extra if peer.startswith("steward") else None,
                    "oom_stalls": stalls, "died": died, "cgroup_peak_bytes": result.peak,
                    "stats": stats, "output": result.head if case == "touches" and ok else None})
                print("# %s, run %d, %s: %s in %.1f s%s" % (
                    case, run + 1, peer, "ok" if ok else "FAILED", result.seconds,
                    ", %d OOM stalls" % stalls if stalls else ""), file=sys.stderr, flush=True)

    @staticmethod
    def ended_by_kernel(peer, result, stalls):
        """Out of memory by the kernel's count: killed, or a fault inside the kernel that failed (EFAULT; SIGSEGV from rseq)."""
        failed = result.status > 128 or (stalls > 0 and result.status != 0)
        return not peer.startswith("steward") and not result.timed_out and (result.oom_kills > 0 or failed)

    def complain(self, case, peer, result, stalls):
        why = ("timeout" if result.timed_out else "OOM kill" if result.oom_kills else
               "status %d" % result.status if result.status else "wrong output")
        # The kernel may run out of memory or time in its own runs; a wrong byte is never excused.
        if peer.startswith("steward") or not (self.ended_by_kernel(peer, result, stalls) or result.timed_out):
            self.failures.append("%s, %s: %s: %s" % (case, peer, why, result.stderr.strip()[-300:]))

    def touch(self):
        names = [w for w in self.workloads if self.wanted(w)]
        if not names:
            return
        program = [os.path.join(self.args.build, "src", "cli", "steward"), "bench", "--touch", "--size", "%dM" % self.size_mib,
                   "--touches", str(self.args.touches), "--only", ",".join(names)]

        def verified(result):
            return json.loads(result.head)["verified"]

        self.measure("touches", lambda prefix: prefix + program, self.limit, verified, timeout=900)

    def wanted(self, name):
        return not self.args.only or name in self.args.only

    def programs(self):
        for job in jobs.JOBS:
            if not self.wanted(job.name):
                continue
            if job.missing():
                print("# %s: %s is not installed" % (job.name, ", ".join(job.missing())))
                continue
            job.prepare(self.work)
            native = cage.run(job.argv(self.work, self.tools), 300)
            if native.status != 0:
                self.failures.append("%s: fails by itself: %s" % (job.name, native.stderr.strip()[-300:]))
                continue
            for share in self.shares:
                case = job.name if len(self.shares) == 1 else "%s at %g %%" % (job.name, share)
                self.runs.append({"case": case, "peer": "unlimited", "run": 0, "ok": True, "seconds": round(native.seconds, 4)})
                self.measure(case, lambda prefix, j=job: j.argv(self.work, self.tools, prefix), int(job.footprint_mib * share / 100) * MIB,
                             lambda result, n=native: result.digest == n.digest, timeout=180)

    def run(self):
        self.peers_now = self.peers()
        self.touch()
        self.programs()


def unpack(runs):
    """What the touches have printed becomes figures."""
    for r in runs:
        output = r.pop("output", None)
        if output is not None:
            r["results"] = json.loads(output)["results"]


def series(runs, case):
    """{(row, peer): {run: value}}: rows are (workload, measure)."""
    table = {}
    for r in runs:
        if r["case"] != case or not r["ok"]:
            continue
        if case != "touches":
            table.setdefault((("%s, s" % case), r["peer"]), {})[r["run"]] = r["seconds"]
            continue
        for w in r["results"]:
            for label, key, scale in (("µs a touch", "ns_per_touch", 1e-3), ("fault p50, µs", "fault_p50_ns", 1e-3),
                                      ("fault p99, µs", "fault_p99_ns", 1e-3)):
                table.setdefault(("%s, %s" % (w["workload"], label), r["peer"]), {})[r["run"]] = w[key] * scale
    return table


def print_table(runs, peers, ratios):
    """Rows of cases, columns of peers and of ratios ("a / b")."""
    shown = peers + ratios
    print("\n| | %s |" % " | ".join(shown))
    print("|---|" + "---|" * len(shown))
    summary = []
    for case in dict.fromkeys(r["case"] for r in runs):
        table = series(runs, case)
        for row in dict.fromkeys(key[0] for key in table):
            digits = 2 if row.endswith(", s") else 1
            measured = [list(table.get((row, p), {}).values()) for p in peers]
            cells = [figures.spread(values, digits) if values else "killed" for values in measured]
            entry = {"row": row, "peers": {p: sorted(table.get((row, p), {}).values()) for p in peers}, "ratios": {}}
            for over, under in [s.split(" / ") for s in shown[len(peers):]]:
                a, b = table.get((row, over), {}), table.get((row, under), {})
                ratios = [a[k] / b[k] for k in a if k in b and b[k] > 0]
                cells.append(figures.spread(ratios, 2) if ratios else "–")
                entry["ratios"]["%s / %s" % (over, under)] = sorted(ratios)
            if row.endswith(", s"):
                alone = [r["seconds"] for r in runs if r["case"] == case and r["peer"] == "unlimited"]
                row = "%s (unlimited: %.2f)" % (row, alone[0])
            print("| %s | %s |" % (row, " | ".join(cells)))
            summary.append(entry)
    return summary


def print_programs(summary, ratios):
    """The geometric mean of the medians of all programs."""
    for ratio in ratios:
        medians = [statistics.median(row["ratios"][ratio]) for row in summary if row["row"].endswith(", s") and row["ratios"][ratio]]
        if medians:
            print("\nprograms, %s: %.2f (geometric mean of %d)" % (ratio, figures.geomean(medians), len(medians)))


def print_memory(runs):
    zram = [r["zram_bytes"] / MIB for r in runs if r["peer"] == "zram" and r["case"] == "touches"]
    if zram:
        print("\nL = %d MiB; zram's memory Z = %s MiB; so Steward's --ram was L + Z." % (LIMIT // MIB, figures.spread(zram, 0)))
    for case in dict.fromkeys(r["case"] for r in runs):
        for peer in ("zram", "file"):
            mine = [r for r in runs if r["case"] == case and r["peer"] == peer]
            stalls = [r["oom_stalls"] for r in mine]
            if any(stalls):
                print("%s, %s: out of memory %s times a run by the kernel's count, and made to try again (cage.py, patient)." % (
                    case, peer, figures.spread(stalls, 0)))
            if any(r["died"] for r in mine):
                print("%s, %s: %d runs ended for want of memory and were repeated." % (case, peer, sum(r["died"] for r in mine)))


def add_places(p):
    """Options of all benchmarks of this kind: where things are."""
    p.add_argument("--build", default=os.path.join(HERE, "..", "build"), help="build directory")
    p.add_argument("--swap-dir", default="/var/tmp", help="where swap files go")
    p.add_argument("--cached", action="store_true", help="leave code and files in the page cache, at the charge of others")


def parse():
    p = argparse.ArgumentParser(description="Steward against the kernel's swap at equal total memory")
    p.add_argument("--quick", action="store_true", help="one run, fewer touches, two programs: under 4 minutes")
    p.add_argument("--runs", type=int, help="repetitions (default 3)")
    p.add_argument("--touches", type=int, help="touches a workload (default 100000)")
    p.add_argument("--only", type=lambda s: s.split(","), help="these workloads and programs")
    p.add_argument("--shares", type=lambda s: [float(x) for x in s.split(",")], default=Bench.shares,
                   help="limits of programs in per cent of their footprint (25)")
    p.add_argument("--json", metavar="FILE", help="write every run and the summary")
    add_places(p)
    args = p.parse_args()
    args.runs = args.runs or (1 if args.quick else 3)
    args.touches = args.touches or (40000 if args.quick else 100000)
    if args.quick and not args.only:
        args.only = WORKLOADS + ["sort", "threads8"]
    return args


def refuse(bench="bench-paging"):
    """One line and status 1 when this machine cannot run the comparison."""
    for why in (kernelswap.Zram.why_not(), cage.why_not()):
        if why:
            sys.exit("%s: cannot compare: %s; run it as root on a machine with cgroups and zram" % (bench, why))
    kernelswap.demand_no_other(bench)


def main():
    args = parse()
    refuse()
    cage.end_tidily()
    began = time.time()
    with tempfile.TemporaryDirectory(prefix="steward-bench.", dir=args.swap_dir) as work:
        bench = Bench(args, work)
        bench.shares = args.shares
        bench.run()
    unpack(bench.runs)
    print("Linux %s, %d CPUs, %s; %d run(s), %d touches" % (
        platform.release().split("-")[0], os.cpu_count(), time.strftime("%Y-%m-%d"), args.runs, args.touches))
    ratios = ["zram / steward", "file / steward"] if "steward" in bench.peers_now else ["file / zram"]
    summary = print_table(bench.runs, bench.peers_now, ratios)
    print_programs(summary, ratios)
    print_memory(bench.runs)
    print("%.0f s in all" % (time.time() - began))
    if args.json:
        figures.write_json(args.json, {"kernel": platform.release(), "cpus": os.cpu_count(), "touches": args.touches,
                                       "limit_bytes": LIMIT, "size_mib": SIZE_MIB, "summary": summary, "runs": bench.runs})
    for failure in bench.failures:
        print("FAILED: %s" % failure, file=sys.stderr)
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
