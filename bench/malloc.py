#!/usr/bin/python3
"""Steward's malloc beside glibc's, jemalloc, tcmalloc and mimalloc: time and peak memory.

  malloc.py [--runs N] [--only NAME,…] [--allocators NAME,…] [--ours LIBRARY] [--add "NAME=LIBRARY [VAR=VALUE…]"]…
            [--mimalloc-bench DIR] [--instructions] [--json FILE] [--build DIR] [--list]

Each allocator is preloaded into the same program, and they take turns: A B C D E, B C D E A, … (--runs rounds), so
that what disturbs the machine meets all alike. glibc's is preloaded too, because some programs bring another with them
(Debian's redis links jemalloc).

Programs: one for each pattern of the field (bench/malloc/*.c), real ones, and with --mimalloc-bench those that are built in
DIR/out/bench (cmake -S DIR/bench -B DIR/out/bench && cmake --build DIR/out/bench). --only takes names, and for all
of a kind pattern, idle, real, mimalloc-bench.

Figures: wall time; CPU time, user and system; peak RSS of the largest process. Ratios are taken round by round to the
first allocator of the list, glibc; what is printed is their median, with the least and the largest. How to read
the tables: docs/performance.md.

--instructions counts them in place of measuring: one run of each program under valgrind's cachegrind, the sum over its
processes. For differences that times cannot show, because other work on the machine hardly changes it. What it does not see: system calls,
cache misses.

Status 1 when a program failed or printed something else under ours. A peer's failure is told, and is not ours. After ctrl-C the
summary is of what was measured until then, and the status 130.
"""

import argparse
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(HERE, "malloc"), os.path.join(HERE, "..", "tests", "live")]

import cage  # noqa: E402
import figures  # noqa: E402
import programs  # noqa: E402

OURS = "steward"
PEERS = {"glibc": ("libc.so.6", "libc6"), "jemalloc": ("libjemalloc.so.2", "libjemalloc2"),
         "tcmalloc": ("libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"), "mimalloc": ("libmimalloc.so.2", "libmimalloc2.0")}
MEASURES = ["wall", "cpu", "rss"]
TIMEOUT = 180
SLOWER = 10  # under valgrind, and more for programs that do little but touch memory


class Allocator:
    def __init__(self, name, library, env=None):
        self.name = name
        self.library = library
        self.env = env or {}


def installed():
    """{soname: path} of the libraries that the loader knows, of this machine's kind."""
    text = subprocess.run(["/sbin/ldconfig", "-p"], stdout=subprocess.PIPE, text=True, check=True).stdout
    found = {}
    for name, path in re.findall(r"^\s+(\S+) \(libc6,x86-64.*\) => (\S+)", text, re.M):
        found.setdefault(name, path)
    return found


def allocators(args):
    """Those asked for and there; says which are not."""
    known, found = installed(), []
    for name in args.allocators:
        if name == OURS:
            found.append(Allocator(OURS, os.path.abspath(args.ours)))
        elif PEERS[name][0] in known:
            found.append(Allocator(name, known[PEERS[name][0]]))
        else:
            print("# no %s: apt install %s (make deps does)" % (name, PEERS[name][1]))
    for text in args.add:
        name, _, words = text.partition("=")
        library, *env = words.split()
        found.append(Allocator(name, os.path.abspath(library), dict(v.split("=", 1) for v in env)))
    for a in found:
        refuse(a)
    return found


def refuse(a):
    """The loader goes on without a library that it cannot load: that would be glibc's malloc under another name."""
    tried = subprocess.run(["/bin/true"], env=dict(os.environ, LD_PRELOAD=a.library), stderr=subprocess.PIPE, text=True, check=False)
    if tried.returncode != 0 or tried.stderr:
        sys.exit("bench-malloc: cannot measure %s: %s" % (a.name, tried.stderr.strip() or "status %d" % tried.returncode))


class Bench:
    def __init__(self, args, work):
        self.args = args
        self.work = work
        self.allocators = allocators(args)
        self.samples = []
        self.failures = []

    def chosen(self):
        every = [*programs.patterns(self.args.build), *programs.real()]
        if self.args.mimalloc_bench:
            every += programs.mimalloc_bench(os.path.abspath(self.args.mimalloc_bench))
        if self.args.only:
            known = {word for p in every for word in (p.name, p.kind)}
            unknown = set(self.args.only) - known
            if unknown:
                sys.exit("bench-malloc: no program %s; --list prints them" % ", ".join(sorted(unknown)))
        return [p for p in every if not self.args.only or p.name in self.args.only or p.kind in self.args.only]

    def once(self, program, a):
        """One run: (sample, digest), or (None, why)."""
        report = os.path.join(self.work, "report")
        prefix = [os.path.join(self.args.build, "bench", "malloc", "measure"), report, a.library]
        if os.path.exists(report):
            os.unlink(report)
        result = cage.run(program.argv(prefix), TIMEOUT, env={**os.environ, **program.env, **a.env}, cwd=self.work)
        if result.timed_out:
            return None, "no end in %d s" % TIMEOUT
        if result.status != 0 or not os.path.exists(report):
            return None, "status %d: %s" % (result.status, result.stderr.strip()[-200:])
        with open(report, encoding="ascii") as f:
            wall, user, system, rss_kib = map(float, f.read().split())
        text = result.head.decode(errors="replace")
        sample = {"wall": wall, "user": user, "system": system, "cpu": user + system, "rss": rss_kib / 1024}
        if program.seconds is not None:
            sample["wall"] = program.seconds(text)
            if not program.drives:
                sample["cpu"] = None  # the program ran for a fixed time
        if program.kind in ("pattern", "idle"):
            sample["output"] = programs.fields(text)
        return sample, result.digest

    def counted(self, program, a):
        """One run under valgrind: (sample, digest), or (None, why)."""
        with tempfile.TemporaryDirectory(dir=self.work) as logs:
            prefix = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", "--trace-children=yes",
                      "--soname-synonyms=somalloc=nouserintercepts", "--log-file=" + os.path.join(logs, "%p")]
            result = cage.run(program.argv(prefix), TIMEOUT * SLOWER, cwd=self.work,
                              env={**os.environ, **program.env, **a.env, "LD_PRELOAD": a.library})
            if result.timed_out or result.status != 0:
                return None, "status %d: %s" % (result.status, result.stderr.strip()[-200:])
            counts = []
            for name in os.listdir(logs):
                with open(os.path.join(logs, name), encoding="utf-8", errors="replace") as f:
                    counts += [int(n.replace(",", "")) for n in re.findall(r"I +refs: +([\d,]+)", f.read())]
        return {"instructions": sum(counts) / 1e6}, result.digest

    def measure(self, program):
        """All runs of one program, in turn; stops using an allocator that failed."""
        program.prepare(self.work)
        right, out = None, set()
        for run in range(min(self.args.runs, program.runs_max or self.args.runs)):
            first = run % len(self.allocators)
            for a in self.allocators[first:] + self.allocators[:first]:
                if a.name in out:
                    continue
                sample, digest = (self.counted if self.args.instructions else self.once)(program, a)
                if sample is not None and not program.free and right is not None and digest != right:
                    sample, digest = None, "wrong output"
                if sample is None:
                    out.add(a.name)
                    self.failures.append((program.name, a.name, digest))
                    print("# %s, %s: FAILED: %s" % (program.name, a.name, digest), file=sys.stderr, flush=True)
                    continue
                right = right or digest
                self.samples.append(dict(sample, program=program.name, kind=program.kind, allocator=a.name, run=run))
                said = "%.0f M instructions" % sample["instructions"] if self.args.instructions else (
                    "%.2f s, %.1f MiB" % (sample["wall"], sample["rss"]))
                print("# %s, run %d, %s: %s" % (program.name, run + 1, a.name, said), file=sys.stderr, flush=True)

    def run(self):
        for program in self.chosen():
            if program.missing():
                print("# %s: %s is not there" % (program.name, ", ".join(program.missing())))
                continue
            if self.args.instructions and (program.seconds or program.drives or program.kind == "idle"):
                continue  # they run for a time
            self.measure(program)
            if self.args.instructions:
                continue
            if program.kind == "idle":
                print_idle(self.samples, self.names())
            else:
                print_program(self.samples, program.name, self.names())

    def names(self):
        return [a.name for a in self.allocators]


def series(samples, program, name, measure):
    """{run: value}"""
    return {s["run"]: s[measure] for s in samples
            if s["program"] == program and s["allocator"] == name and s[measure] is not None}


def ratios(samples, program, over, under, measure):
    """Round by round."""
    a, b = series(samples, program, over, measure), series(samples, program, under, measure)
    return [a[run] / b[run] for run in a if run in b and b[run] > 0]


def print_program(samples, program, names):
    print("\n| %s | wall, s | CPU, s | peak RSS, MiB | wall / %s | CPU / %s | RSS / %s |" % (program, *[names[0]] * 3))
    print("|---|---|---|---|---|---|---|")
    for name in names:
        cells = []
        for measure, digits in zip(MEASURES, (2, 2, 1)):
            values = list(series(samples, program, name, measure).values())
            cells.append(figures.spread(values, digits) if values else "–")
        for measure in MEASURES:
            values = ratios(samples, program, name, names[0], measure)
            cells.append(figures.spread(values, 2) if values else "–")
        print("| %s | %s |" % (name, " | ".join(cells)), flush=True)


def print_idle(samples, names):
    """Everything less what the process had at its start, so that only the heap is compared with what is live in it."""
    print("\n| idle, MiB of heap | peak | live after freeing | right after | 10 s later | 10 s later / live |")
    print("|---|---|---|---|---|---|")
    for name in names:
        out = [s["output"] for s in samples if s["program"] == "idle" and s["allocator"] == name]
        if not out:
            continue
        cells = [figures.spread([(o[key] - (0 if key == "live_kib" else o["start_kib"])) / 1024 for o in out])
                 for key in ("peak_kib", "live_kib", "freed_kib", "later_kib")]
        cells.append(figures.spread([(o["later_kib"] - o["start_kib"]) / o["live_kib"] for o in out], 2))
        print("| %s | %s |" % (name, " | ".join(cells)), flush=True)


def print_instructions(samples, names):
    """Millions of the first allocator; then ratios to it."""
    def one(program, name):
        return statistics.median(series(samples, program, name, "instructions").values())

    counted = [p for p in dict.fromkeys(s["program"] for s in samples)
               if all(series(samples, p, n, "instructions") for n in names)]
    print("\n| instructions | %s, M | %s |" % (names[0], " | ".join("%s / %s" % (n, names[0]) for n in names[1:])))
    print("|---" * (len(names) + 1) + "|")
    for p in counted:
        print("| %s | %.0f | %s |" % (p, one(p, names[0]), " | ".join("%.3f" % (one(p, n) / one(p, names[0])) for n in names[1:])))
    if counted:
        print("| **geometric mean** | | %s |" % " | ".join(
            "%.3f" % figures.geomean([one(p, n) / one(p, names[0]) for p in counted]) for n in names[1:]))


class Summary:
    """Medians of the ratios to the first allocator: program × allocator × measure."""

    def __init__(self, samples, names):
        self.names = names
        self.samples = samples
        self.kinds = {s["program"]: s["kind"] for s in samples if s["kind"] != "idle"}
        self.table = {}
        for program in self.kinds:
            for name in names:
                for measure in MEASURES:
                    values = ratios(samples, program, name, names[0], measure)
                    if values:
                        self.table[program, name, measure] = statistics.median(values)

    def geomean(self, kind, name, measure):
        """Over the programs that every allocator got through; None if there are none."""
        values = [self.table[p, name, measure] for p, k in self.kinds.items()
                  if kind in ("all", k) and all((p, n, measure) in self.table for n in self.names)]
        return figures.geomean(values) if values else None

    def rows(self):
        """(label, {(name, measure): ratio}) of each program, then of all and of each kind together."""
        every = [(n, m) for n in self.names[1:] for m in MEASURES]
        for program in self.kinds:
            yield program, {key: self.table.get((program, *key)) for key in every}
        for kind in ["all", *dict.fromkeys(self.kinds.values())]:
            yield "**geometric mean, %s**" % kind, {key: self.geomean(kind, *key) for key in every}

    def print(self):
        print("\nRatios to %s: wall time · CPU time · peak RSS, lower is better\n" % self.names[0])
        print("| | %s |" % " | ".join(self.names[1:]))
        print("|---" * len(self.names) + "|")
        for label, row in self.rows():
            cells = [" · ".join("–" if row[n, m] is None else "%.2f" % row[n, m] for m in MEASURES) for n in self.names[1:]]
            print("| %s | %s |" % (label, " | ".join(cells)))

    def best(self, program, measure):
        """The lowest among the peers, ours and variants of ours left out: (ratio, name)."""
        return min(((self.table[program, n, measure], n) for n in self.names
                    if n in PEERS and (program, n, measure) in self.table), default=None)

    def against_best(self):
        """[(program, {measure: (ratio of ours to the best peer, its name)})], slowest first."""
        found = []
        for program in self.kinds:
            row = {}
            for measure in MEASURES:
                best = self.best(program, measure)
                values = best and ratios(self.samples, program, OURS, best[1], measure)
                if values:
                    row[measure] = statistics.median(values), best[1]
            if "wall" in row:
                found.append((program, row))
        return sorted(found, key=lambda item: -item[1]["wall"][0])

    def print_against_best(self):
        rows = self.against_best()
        if not rows:
            return
        print("\n%s / the best peer, slowest first\n" % OURS)
        print("| | wall | CPU | peak RSS |\n|---|---|---|---|")
        for program, row in rows:
            cells = ["%.2f × %s" % row[m] if m in row else "–" for m in MEASURES]
            print("| %s | %s |" % (program, " | ".join(cells)))

    def as_json(self):
        return [{"row": label, "ratios": {"%s %s" % key: value for key, value in row.items()}} for label, row in self.rows()]


def parse():
    def words(s):
        return s.split(",")

    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--runs", type=int, help="rounds (5)")
    p.add_argument("--only", type=words, help="these programs or kinds")
    p.add_argument("--allocators", type=words, default=[*PEERS, OURS], help="of %s (all)" % ",".join([*PEERS, OURS]))
    p.add_argument("--ours", metavar="LIBRARY", help="what is measured as steward (libsteward-malloc.so.0 of the build directory)")
    p.add_argument("--add", action="append", default=[], metavar="NAME=LIBRARY", help="another allocator, or ours with variables set")
    p.add_argument("--mimalloc-bench", metavar="DIR", help="also the programs that are built there")
    p.add_argument("--instructions", action="store_true", help="count them, under valgrind, in place of measuring; --runs 1 unless said")
    p.add_argument("--json", metavar="FILE", help="write every run and the summary")
    p.add_argument("--build", default=os.path.join(HERE, "..", "build"), help="build directory")
    p.add_argument("--list", action="store_true", help="print the names of the programs and end")
    args = p.parse_args()
    unknown = set(args.allocators) - {*PEERS, OURS}
    if unknown:
        p.error("no allocator %s: there are %s; others come with --add" % (", ".join(sorted(unknown)), ", ".join([*PEERS, OURS])))
    if args.instructions and shutil.which("valgrind") is None:
        p.error("--instructions needs valgrind: apt install valgrind (make deps does)")
    args.runs = args.runs or (1 if args.instructions else 5)
    args.build = os.path.abspath(args.build)
    args.ours = args.ours or os.path.join(args.build, "src", "preload", "libsteward-malloc.so.0")
    return args


def main():
    args = parse()
    cage.end_tidily()
    began, interrupted = time.time(), False
    with tempfile.TemporaryDirectory(prefix="malloc.", dir=os.environ.get("TMPDIR", "/var/tmp")) as work:
        bench = Bench(args, work)
        if args.list:
            print("\n".join("%-20s %s" % (p.name, p.kind) for p in bench.chosen()))
            return 0
        print("Linux %s, %d CPUs, load %.1f, %s; %d rounds" % (
            platform.release().split("-")[0], os.cpu_count(), os.getloadavg()[0], time.strftime("%Y-%m-%d"), args.runs))
        try:
            bench.run()
        except KeyboardInterrupt:
            interrupted = True
            print("\ninterrupted: what follows is of the rounds until then")
    if args.instructions:
        print_instructions(bench.samples, bench.names())
        summary = None
    else:
        summary = Summary(bench.samples, bench.names())
        summary.print()
        summary.print_against_best()
    print("\n%.0f s in all, load %.1f at the end" % (time.time() - began, os.getloadavg()[0]))
    if args.json:
        figures.write_json(args.json, {"kernel": platform.release(), "cpus": os.cpu_count(), "runs": bench.samples,
                                       "failures": bench.failures, "summary": summary.as_json() if summary else []})
    for program, name, why in bench.failures:
        print("FAILED: %s, %s: %s" % (program, name, why), file=sys.stderr)
    return 130 if interrupted else 1 if any(name not in PEERS for _, name, _ in bench.failures) else 0


if __name__ == "__main__":
    sys.exit(main())
