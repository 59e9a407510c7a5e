#!/usr/bin/python3
"""A compile with two jobs in a part of the memory that it wants: without a limit, under the kernel, under Steward.

  tree.py [--share PERCENT] [--runs N] [--json FILE] [--build DIR]

The project is this one: its command and libraries, built by ninja -j2 with link-time optimisation, some 300 processes, the
compilers of the link as large as those of large files. Its peak is taken from a run without a limit: the most
anonymous memory and mapped files of all processes at one moment. Then, interleaved:

  none     no limit
  zram     the kernel: a cgroup whose hard limit is the share of the peak, swap on zram with lz4. zram's memory comes on top; it is said.
  steward  steward run --ram SHARE, inside a cgroup of that and 8 MiB, without swap.

The page cache is dropped before each run, so that the code of the compilers is charged to its limit, as in a container.
What is built must be byte for byte the same each time. Needs root (cgroup, swapon) for the kernel's side. Status 1 when an
output was wrong or Steward failed. See docs/performance.md.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..")
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "tests", "live"))

import cage  # noqa: E402
import figures  # noqa: E402
import kernelswap  # noqa: E402

MIB = 1 << 20
SLACK = 8 * MIB
TARGET = "src/cli/steward"
TIMEOUT = 900


class Project:
    """A build directory that is emptied before each run."""

    def __init__(self, work):
        self.folder = os.path.join(work, "project")
        subprocess.run(["meson", "setup", self.folder, ROOT, "--buildtype=release", "-Db_lto=true", "-Dtests=false"], check=True,
                       stdout=subprocess.DEVNULL)
        self.argv = ["ninja", "-C", self.folder, "-j2", "--quiet", TARGET]

    def clean(self):
        subprocess.run(["ninja", "-C", self.folder, "-t", "clean"], check=True, stdout=subprocess.DEVNULL)

    def digest(self):
        path = os.path.join(self.folder, TARGET)
        if not os.path.exists(path):
            return None
        with open(path, "rb") as f:
            return hashlib.sha256(f.read()).hexdigest()


class Peak(threading.Thread):
    """The most anonymous memory and mapped files in a cage at one moment."""

    def __init__(self, c):
        super().__init__(daemon=True)
        self.cage, self.bytes, self.over = c, 0, threading.Event()

    def run(self):
        names = ("total_rss", "total_mapped_file") if self.cage.version == 1 else ("anon", "file_mapped")
        while not self.over.wait(0.02):
            with open(os.path.join(self.cage.path, "memory.stat"), encoding="ascii") as f:
                rows = dict(line.split() for line in f)
            self.bytes = max(self.bytes, sum(int(rows[n]) for n in names))


class Bench:
    def __init__(self, args, work):
        self.args = args
        self.project = Project(work)
        self.steward = os.path.join(args.build, "src", "cli", "steward")
        self.env = dict(os.environ, TMPDIR=work)
        self.runs, self.failures = [], []
        self.digest = None

    def without(self):
        """A run without a limit: (result, peak in bytes)."""
        with cage.Cage("tree", None, swap=False) as c:
            peak = Peak(c)
            peak.start()
            result = cage.run(c.prefix + self.project.argv, TIMEOUT, c, env=self.env)
            peak.over.set()
            peak.join()
        return result, peak.bytes

    def under(self, peer, ram):
        """The same in ram bytes: (result, bytes that zram had beside them)."""
        if peer == "zram":
            with kernelswap.Zram(2048 * MIB) as zram, cage.Cage("tree", ram, swap=True, patient=True) as c:
                result = cage.run(c.prefix + self.project.argv, TIMEOUT, c, env=self.env)
            return result, zram.peak
        with cage.Cage("tree", ram + SLACK, swap=False) as c:
            return cage.run(c.prefix + [self.steward, "run", "--ram", str(ram), "--"] + self.project.argv, TIMEOUT, c, env=self.env), 0

    def once(self, peer, ram):
        self.project.clean()
        kernelswap.drop_page_cache()
        result, more = self.without() if peer == "none" else self.under(peer, ram)
        digest = self.project.digest()
        self.digest = self.digest or digest
        ok = result.status == 0 and not result.timed_out and digest == self.digest
        if not ok:
            self.failures.append("%s: status %d%s: %s" % (peer, result.status, ", timeout" if result.timed_out else "",
                                                          result.stderr.strip()[-600:]))
        self.runs.append({"peer": peer, "ok": ok, "seconds": round(result.seconds, 2), "ram_bytes": ram,
                          "peak_bytes" if peer == "none" else "zram_bytes": more})
        print("# %s: %s in %.1f s" % (peer, "ok" if ok else "FAILED", result.seconds), file=sys.stderr, flush=True)
        return more

    def run(self):
        peak = self.once("none", 0)
        ram = peak * self.args.share // 100 // MIB * MIB
        print("peak %.0f MiB; %d %% of it: %d MiB" % (peak / MIB, self.args.share, ram // MIB))
        for number in range(self.args.runs):
            for peer in ("none", "zram", "steward"):
                if peer != "none" or number > 0:
                    self.once(peer, ram)

    def report(self):
        print("%-8s %-22s %s" % ("", "seconds", "beside the limit"))
        for peer in ("none", "zram", "steward"):
            good = [r for r in self.runs if r["peer"] == peer and r["ok"]]
            more = max((r.get("zram_bytes", 0) for r in good), default=0)
            print("%-8s %-22s %s" % (peer, figures.spread([r["seconds"] for r in good]) if good else "failed",
                                     "%.0f MiB of zram" % (more / MIB) if more else ""))
        for failure in self.failures:
            print("FAILED %s" % failure)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--share", type=int, default=40, help="percent of the peak (40)")
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--json", help="writes all runs to this file")
    p.add_argument("--build", default=os.path.join(ROOT, "build"))
    args = p.parse_args()
    for why in (kernelswap.Zram.why_not(), cage.why_not()):
        if why:
            sys.exit("bench-tree: cannot compare: " + why)
    kernelswap.demand_no_other("bench-tree")
    with tempfile.TemporaryDirectory(prefix="steward-tree.", dir="/var/tmp") as work:
        bench = Bench(args, work)
        bench.run()
        bench.report()
    if args.json:
        figures.write_json(args.json, bench.runs)
    sys.exit(1 if any(f.startswith("steward") for f in bench.failures) else 0)


if __name__ == "__main__":
    cage.end_tidily()
    main()
