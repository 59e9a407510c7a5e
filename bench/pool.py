#!/usr/bin/python3
"""How much memory a page takes that is out in a compressed pool: Steward's with lz4 and zstd beside zram's with lz4.

  pool.py [--runs N] [--share PERCENT] [--only NAME,…] [--json FILE] [--build DIR] [--swap-dir DIR]

The programs of tests/live/jobs.py and the touches of bench/paging.py in a share of their footprint, as there; the figure is memory of the pool by pages in
it at the moment when they were most. Steward's is that of its summary (pool: memory_bytes, stored_peak_bytes): frames, with what is lost in
them; zram's is mem_used_total by orig_data_size of mm_stat. Both count pages of one repeated word, which take none. What no pool takes goes to a
file with Steward, and is kept as it is by zram: programs whose pages do not compress cannot be compared.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "tests", "live"))

import cage  # noqa: E402
import figures  # noqa: E402
import kernelswap  # noqa: E402
import paging  # noqa: E402

MIB = 1 << 20
PAGE = 4096
PROGRAMS = ["python", "sqlite", "gcc", "redis", "node"]


class Bench(paging.Bench):
    workloads = ["random-rw"]
    peers_now = ["zram-lz4", "steward-lz4", "steward-zstd"]

    def __init__(self, args, work):
        super().__init__(args, work)
        self.bytes_a_page = {}

    def measure(self, case, argv, limit, right, timeout):
        for _ in range(self.args.runs):
            beside = 0  # what zram took, which Steward gets in addition: equal memory
            for peer in self.peers_now:
                pool, codec = peer.split("-")
                if pool == "zram":
                    with kernelswap.Zram(2048 * MIB) as zram:
                        result, _ = self.under_kernel(argv, limit, timeout)
                    used, stored, beside = zram.used, zram.stored, zram.peak
                else:
                    result, stats = self.under_steward(argv, limit + beside, timeout,
                                                       ["--swap", "pool:" + codec, "--swap", "file:" + self.args.swap_dir])
                    used, stored = (stats["pool"]["memory_bytes"], stats["pool"]["stored_peak_bytes"]) if stats else (0, 0)
                if result.status == 0 and not result.timed_out and right(result) and stored > 0:
                    self.bytes_a_page.setdefault((case, peer), []).append(used * PAGE / stored)
                elif pool == "steward":
                    self.failures.append("%s, %s: status %d: %s" % (case, peer, result.status, result.stderr.strip()[-300:]))

    def run(self):
        self.touch()
        self.programs()

    def table(self):
        peers = self.peers_now
        print("\n| bytes a page | %s | lz4 / zram's | zstd / zram's |" % " | ".join(peers))
        print("|---|" + "---|" * (len(peers) + 2))
        for case in dict.fromkeys(case for case, _ in self.bytes_a_page):
            median = [statistics.median(self.bytes_a_page.get((case, p), [float("nan")])) for p in peers]
            print("| %s | %s | %s |" % (case, " | ".join("%.0f" % m for m in median), " | ".join("%.2f" % (m / median[0]) for m in median[1:])))


def main():
    p = argparse.ArgumentParser(description="Memory of a page in the pool, beside zram's")
    p.add_argument("--runs", type=int, default=1, help="repetitions (1)")
    p.add_argument("--share", type=float, default=50, help="limit of programs in per cent of their footprint (50)")
    p.add_argument("--only", type=lambda s: s.split(","), default=Bench.workloads + PROGRAMS, help="the touches, random-rw, and programs")
    p.add_argument("--json", metavar="FILE", help="write every figure")
    paging.add_places(p)
    args = p.parse_args()
    args.touches = 20000
    paging.refuse("bench-pool")
    cage.end_tidily()
    with tempfile.TemporaryDirectory(prefix="steward-bench.", dir=args.swap_dir) as work:
        bench = Bench(args, work)
        bench.shares = [args.share]
        bench.run()
    print("Linux %s, %s; %d run(s), %g %% of the footprint" % (
        os.uname().release.split("-")[0], time.strftime("%Y-%m-%d"), args.runs, args.share))
    bench.table()
    if args.json:
        figures.write_json(args.json, [{"case": c, "peer": p, "bytes_a_page": v} for (c, p), v in bench.bytes_a_page.items()])
    for failure in bench.failures:
        print("FAILED: %s" % failure, file=sys.stderr)
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
