#!/usr/bin/python3
"""The simulator's speed, memory and exactness, beside libCacheSim on the same sequence of pages.

  sim.py [--quick] [--runs N] [--json FILE] [--build DIR]
  sim.py --stream

1. Touches that a TLB has, through the whole simulator, the decoding of the trace included.
2. Zipf 1.0 through TLB, page walk and reclaim by two lists, for three sizes of program and memory; beside it
   libCacheSim's LRU, which knows of no TLB and no tables.
3. Miss ratios of true LRU and CLOCK, which must be libCacheSim's to four digits.
4. Memory of a machine, by the frame in use.
5. The most memory that traces take of which each is ten times as long as the one before. With --stream only that, up to ten
   billion touches: some minutes.

One core each, times are of the process's CPU; of --runs the best, because what disturbs only slows down. The machine's other
load is printed, because it takes caches and clock.

libCacheSim is looked for as `cachesim` in $PATH, or where $CACHESIM says. It is GPL-3, no part of this project, and built so:

    apt install cmake libglib2.0-dev libzstd-dev
    git clone https://github.com/1a1a11a/libCacheSim && cd libCacheSim && mkdir _build && cd _build
    cmake -DCMAKE_BUILD_TYPE=Release -DENABLE_TESTS=OFF .. && make cachesim    # bin/cachesim

Status 1 when a miss ratio differs or a run failed; a figure below its target is marked, and no failure.
"""

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

import figures  # noqa: E402

CONFIGURATIONS = [(1_000_000, 10_000), (100_000, 10_000), (1_000_000, 100_000)]  # objects, cache
TARGETS = {"hits": 100.0, "zipf": 30.0, "times": 4.0, "bytes_a_frame": 80.0}


def cpu_of(argv, **more):
    """Runs argv; what it printed, and the CPU seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    out = subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **more).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return out, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class Bench:
    def __init__(self, args, work):
        self.args = args
        self.work = work
        self.simreplay = os.path.join(args.build, "bench", "simreplay")
        self.cachesim = os.environ.get("CACHESIM") or shutil.which("cachesim")
        self.figures = {}
        self.wrong = []

    def ours(self, *words):
        """The lines of simreplay as numbers; of several runs the fastest."""
        best = None
        for _ in range(self.args.runs):
            out, _ = cpu_of([self.simreplay, *map(str, words)])
            got = {k: float(v) for k, v in (line.split() for line in out.splitlines())}
            if best is None or got.get("rate", 0) > best.get("rate", 0):
                best = got
        return best

    def theirs(self, trace, policy, cache, requests):
        """Million requests a second of CPU, and the miss ratio."""
        best, ratio = 0.0, None
        for _ in range(self.args.runs):
            out, seconds = cpu_of([self.cachesim, trace, "oracleGeneral", policy, str(cache), "--ignore-obj-size", "1"],
                                  cwd=self.work)
            found = re.search(r"miss ratio ([0-9.]+)", out)
            if found is None:
                raise ValueError("cachesim printed no miss ratio: " + out[-200:])
            best, ratio = max(best, requests / seconds / 1e6), float(found.group(1))
        return best, ratio

    def note(self, name, value, target=None, least=True):
        self.figures[name] = value
        if target is None:
            return ""
        return "" if (value >= target) == least or value == target else "   (target: %g)" % target

    def hits(self):
        rate = self.ours("hits", 20_000_000 if self.args.quick else 200_000_000)["rate"]
        print("TLB hits              %6.1f M touches/s%s" % (rate, self.note("hits", rate, TARGETS["hits"])))

    def memory(self):
        got = self.ours("memory", 250_000 if self.args.quick else 2_000_000)
        size = got["bytes_a_frame"]
        print("memory                %6.1f bytes a frame in use, of %d%s" % (
            size, got["frames"], self.note("bytes_a_frame", size, TARGETS["bytes_a_frame"], False)))

    def stream(self, lengths, far):
        """A trace of each length, made while it is read; one touch in `far` misses the TLB."""
        sizes = []
        for touches in lengths:
            out, _ = cpu_of([self.simreplay, "stream", str(touches), str(far)])
            got = {k: float(v) for k, v in (line.split() for line in out.splitlines())}
            sizes.append(got["bytes_peak"] / 1024)
            print("a trace of %7.0f M    %6.0f KiB at most, %.1f M touches/s, walks %.4f" % (
                got["touches"] / 1e6, sizes[-1], got["rate"], got["walks"]))
        self.note("stream_kib", sizes)
        if sizes[-1] > sizes[0] * 1.05 + 256:
            self.wrong.append("memory grows with the trace")

    def zipf(self, objects, cache):
        requests = 2_000_000 if self.args.quick else 50_000_000
        ours, oracle = (os.path.join(self.work, name) for name in ("zipf.stw", "zipf.oracleGeneral"))
        name = "%dk pages, %dk frames" % (objects // 1000, cache // 1000)
        cpu_of([self.simreplay, "zipf", str(objects), str(requests), ours, oracle])
        got = self.ours("replay", ours, cache, "two-list", "linux")
        print("zipf 1.0, %-24s two-list %6.2f M touches/s, misses %.4f, walks %.4f%s" % (
            name, got["rate"], got["miss_ratio"], got["walks"], self.note("zipf " + name, got["rate"], TARGETS["zipf"])))
        for policy, peer in (("lru", "LRU"), ("clock", "Clock")):
            mine = self.ours("replay", ours, cache, policy, "exact")
            line = "    %-7s misses %.4f" % (policy, mine["miss_ratio"])
            self.note("%s %s" % (policy, name), mine["miss_ratio"])
            if self.cachesim:
                rate, ratio = self.theirs(oracle, peer, cache, requests)
                same = "%.4f" % mine["miss_ratio"] == "%.4f" % ratio
                line += ", libCacheSim %.4f%s, at %.2f M/s" % (ratio, "" if same else " NOT THE SAME", rate)
                if not same:
                    self.wrong.append("%s, %s: %.4f instead of %.4f" % (name, policy, mine["miss_ratio"], ratio))
                if policy == "lru":
                    times = got["rate"] / rate
                    line += "; two-list is %.1f times as fast%s" % (
                        times, self.note("times " + name, times, TARGETS["times"]))
            print(line)
        os.unlink(oracle)

    def run(self):
        print("load of the machine before: %.1f of %d CPUs" % (os.getloadavg()[0], os.cpu_count()))
        self.hits()
        self.memory()
        longest = 20_000_000 if self.args.quick else 500_000_000
        self.stream([longest // 10, longest], 8)
        for objects, cache in CONFIGURATIONS:
            self.zipf(objects, cache)
        if not self.cachesim:
            print("\nlibCacheSim was not found: set CACHESIM to its cachesim; bench/sim.py --help says how to build it")
        return self.verdict()

    def run_stream(self):
        print("load of the machine before: %.1f of %d CPUs" % (os.getloadavg()[0], os.cpu_count()))
        self.stream([100_000_000, 1_000_000_000, 10_000_000_000], 1000)
        return self.verdict()

    def verdict(self):
        for line in self.wrong:
            print("wrong: " + line)
        return 1 if self.wrong else 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="short traces: a minute")
    p.add_argument("--stream", action="store_true", help="only a trace of ten billion touches")
    p.add_argument("--runs", type=int, default=3, help="of each, the best counts (3)")
    p.add_argument("--json", help="write the figures to this file")
    p.add_argument("--build", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "build"))
    args = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="sim.", dir=os.environ.get("TMPDIR", "/var/tmp")) as work:
        bench = Bench(args, work)
        status = bench.run_stream() if args.stream else bench.run()
    if args.json:
        figures.write_json(args.json, bench.figures)
    return status


if __name__ == "__main__":
    sys.exit(main())
