#!/usr/bin/python3
"""Steward beside the kernel's swap on a disk: at the same limit on the same disk, beside zswap, and over NBD alone.

  swap.py [--quick] [--runs N] [--touches N] [--only NAME,…] [--parts disk,zswap,nbd] [--json FILE] [--build DIR] [--swap-dir DIR]

disk    512 MiB touched in 128 MiB, and programs in a quarter of their footprint:
          file          the kernel: cgroup limit L, swap in a file
          steward       steward run --ram L, as it is: a pool, then a file in the same directory
          steward-file  the same without a pool
zswap   more data than zswap's smallest pool holds beside L = 128 MiB, so that both must write:
          zswap         the kernel: cgroup limit L, zswap (lz4 if it has that) before a swap file. Its memory Z is not in the limit (cgroup v1)
          steward       steward run --ram L+Z
nbd     512 MiB touched in 128 MiB, pages on a loopback nbdkit that keeps them in memory, and no pool

Peers take turns (A B C, A B C, …). Every byte is checked, as in paging.py, whose touches and programs these are.
Needs root (cgroup, swapon). Status 1 when an output was wrong or Steward failed. See docs/performance.md.
"""

import argparse
import os
import shutil
import socket
import subprocess
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
PROGRAMS = ["sort", "python", "sqlite"]
PACKED = 3  # lz4 packs a touched page to a third
ZSWAP_SIZE_MAX_MIB = 4096


class Disk(paging.Bench):
    """The kernel's swap file, and Steward with the same disk."""

    title = "The same limit, the same disk"
    workloads = ["random-read", "random-rw", "sequential", "sequential-rw", "streams4", "hot80", "random-8t"]
    peers_now = ["file", "steward", "steward-file"]
    ratios = ["file / steward", "file / steward-file"]

    def once(self, peer, argv, limit, extra, timeout):
        if peer == "steward-file":
            result, stats = self.under_steward(argv, limit, timeout, ["--swap", "file:" + self.args.swap_dir])
            return result, 0, 0, stats
        return super().once(peer, argv, limit, extra, timeout)

    @staticmethod
    def why_not():
        return None

    def run(self):
        self.touch()
        self.programs()


class Zswap(paging.Bench):
    """Both have a compressed pool that is too small, and a disk below."""

    title = "zswap before a swap file, and the same memory for Steward"
    workloads = ["random-read", "random-rw", "sequential", "hot80"]
    peers_now = ["zswap", "steward"]
    ratios = ["zswap / steward"]
    # Half as much again as fits.
    size_mib = (paging.LIMIT + PACKED * kernelswap.Zswap.pool_max()) * 3 // 2 // MIB

    def once(self, peer, argv, limit, extra, timeout):
        if peer == "zswap":
            with self.swap_file(), kernelswap.Zswap() as zswap:
                result, stalls = self.under_kernel(argv, limit, timeout)
            self.title = "zswap (%s) before a swap file, and the same memory for Steward" % zswap.compressor
            return result, zswap.peak, stalls, None
        return super().once(peer, argv, limit, extra, timeout)

    @classmethod
    def why_not(cls):
        if cls.size_mib > ZSWAP_SIZE_MAX_MIB:
            return "its smallest pool, 1 %% of this machine's memory, wants %d MiB of data" % cls.size_mib
        return kernelswap.Zswap.why_not()

    def run(self):
        self.touch()


class Nbd(paging.Bench):
    """Pages on a server of this machine."""

    title = "A loopback nbdkit"
    workloads = ["random-read", "sequential", "random-8t"]
    peers_now = ["steward"]
    ratios = []

    def once(self, peer, argv, limit, extra, timeout):
        with socket.create_server(("127.0.0.1", 0)) as s:
            port = s.getsockname()[1]
        server = subprocess.Popen(["nbdkit", "--foreground", "--ipaddr", "127.0.0.1", "--port", str(port), "memory", "2G"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.await_port(port)
            result, stats = self.under_steward(argv, limit, timeout, ["--swap", "nbd://127.0.0.1:%d/" % port])
        finally:
            server.kill()
            server.wait()
        return result, 0, 0, stats

    @staticmethod
    def await_port(port):
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except OSError:
                time.sleep(0.02)

    @staticmethod
    def why_not():
        return None if shutil.which("nbdkit") else "no nbdkit here"

    def run(self):
        self.touch()


PARTS = {"disk": Disk, "zswap": Zswap, "nbd": Nbd}


def report(bench):
    """The part's table; returns its summary."""
    paging.unpack(bench.runs)
    print("\n%s (%d MiB touched, L = %d MiB)" % (bench.title, bench.size_mib, bench.limit // MIB))
    summary = paging.print_table(bench.runs, bench.peers_now, bench.ratios)
    paging.print_programs(summary, bench.ratios)
    extra = [r["zram_bytes"] / MIB for r in bench.runs if r.get("zram_bytes")]
    if extra:
        print("Z = %s MiB" % figures.spread(extra, 0))
    stalls = [r["oom_stalls"] for r in bench.runs if r.get("oom_stalls")]
    if stalls:
        print("the kernel was out of memory by its own count, and made to try again, %d times in all" % sum(stalls))
    return summary


def parse():
    p = argparse.ArgumentParser(description="Steward beside the kernel's swap on a disk")
    p.add_argument("--quick", action="store_true", help="one run, fewer touches")
    p.add_argument("--runs", type=int, help="repetitions (default 3)")
    p.add_argument("--touches", type=int, help="touches a workload (default 100000)")
    p.add_argument("--only", type=lambda s: s.split(","), help="these workloads and programs")
    p.add_argument("--parts", type=lambda s: s.split(","), default=list(PARTS), help="of %s" % ",".join(PARTS))
    p.add_argument("--json", metavar="FILE", help="write every run and the summaries")
    paging.add_places(p)
    args = p.parse_args()
    args.runs = args.runs or (1 if args.quick else 3)
    args.touches = args.touches or (50000 if args.quick else 100000)
    args.only = args.only or sorted({w for part in PARTS.values() for w in part.workloads}) + PROGRAMS
    for part in args.parts:
        if part not in PARTS:
            p.error("no part %r" % part)
    return args


def refuse():
    """One line and status 1 when this machine cannot run the comparison."""
    if os.geteuid() != 0 or cage.why_not():
        sys.exit("bench-swap: cannot compare: %s" % (cage.why_not() or "needs root"))
    kernelswap.demand_no_other("bench-swap")


def main():
    args = parse()
    refuse()
    cage.end_tidily()
    done, failures, began = {}, [], time.time()
    print("Linux %s, %d CPUs, %s; %d run(s), %d touches" % (
        os.uname().release.split("-")[0], os.cpu_count(), time.strftime("%Y-%m-%d"), args.runs, args.touches))
    for name in args.parts:
        why = PARTS[name].why_not()
        if why:
            print("\n%s: left out: %s" % (PARTS[name].title, why))
            continue
        with tempfile.TemporaryDirectory(prefix="steward-bench.", dir=args.swap_dir) as work:
            bench = PARTS[name](args, work)
            bench.run()
        done[name] = {"summary": report(bench), "runs": bench.runs}
        failures += bench.failures
    print("%.0f s in all" % (time.time() - began))
    if args.json:
        figures.write_json(args.json, {"kernel": os.uname().release, "cpus": os.cpu_count(), "touches": args.touches, "parts": done})
    for failure in failures:
        print("FAILED: %s" % failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
