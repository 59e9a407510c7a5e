"""What `make bench-malloc` runs: the patterns, real programs, and on request those of mimalloc-bench.

A program's time is that of its whole process, unless what it prints says how long the work took (`seconds`): some run for a
fixed time and tell how much they did. Its stdout must be the same whoever allocates, unless it is free.
"""

import os
import random
import re
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tests", "live"))

import jobs  # noqa: E402

JOBS = os.path.join(HERE, "jobs")
CORES = str(min(os.cpu_count(), 8))


class Program:
    def __init__(self, name, kind, argv, needs=(), make=None, env=None, seconds=None, free=False, drives=False, runs_max=None,
                 stdin=None):
        self.name = name
        self.kind = kind        # pattern, idle, real, mimalloc-bench
        self._argv = argv       # words; INPUT in them is the path of the input
        self.needs = needs      # commands that must be there
        self._make = make       # make(file): writes the input
        self.env = env or {}
        self.seconds = seconds  # seconds(stdout): the time of the work, if not that of the process
        self.free = free        # stdout differs from run to run
        self.drives = drives    # takes the prefix as further arguments, and stays outside
        self.runs_max = runs_max
        self.stdin = stdin

    def missing(self):
        return [command for command in self.needs if shutil.which(command) is None]

    def prepare(self, work):
        path = os.path.join(work, self.name + ".input")
        if self._make is not None and not os.path.exists(path):
            with open(path, "w", encoding="ascii") as f:
                self._make(f)
        self._argv = [word.replace("INPUT", path) for word in self._argv]

    def argv(self, prefix):
        if self.drives:
            return self._argv + prefix
        if self.stdin is not None:
            return prefix + ["/bin/sh", "-c", 'exec "$0" "$@" <' + self.stdin] + self._argv
        return prefix + self._argv


def fields(line):
    """{"key": number} of `NAME key=number …`."""
    return {key: float(value) for key, value in re.findall(r"(\w+)=([\d.]+)", line)}


def reported(stdout):
    return fields(stdout)["seconds"]


def patterns(build):
    """Name, and arguments beside the defaults; the files of that name say what each is."""
    table = [("batches", []), ("batches-2t", ["batches", "--threads", "2"]), ("churn", []),
             ("churn-2t", ["churn", "--threads", "2"]), ("server", []), ("handoff", []),
             ("cache-thrash", ["sharing"]), ("cache-scratch", ["sharing", "--handed", "1"]), ("grow", []), ("survivors", []),
             ("shift", []), ("big", []), ("threads", []), ("stl", []), ("start", [])]
    where = os.path.join(build, "bench", "malloc")
    for name, words in table:
        command, *rest = words or [name]
        path = os.path.join(where, command)
        yield Program(name, "pattern", [path, *rest], [path], free=True)
    path = os.path.join(where, "idle")
    yield Program("idle", "idle", [path], [path], free=True, runs_max=2)


def make_text(f):
    rng = random.Random(5)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randrange(2, 11))) for _ in range(3000)]
    for _ in range(12_000):
        f.write(" ".join(rng.choices(words, k=12)) + "\n")


def make_pages(f):
    """PostScript: text, filled curves, dictionaries."""
    rng = random.Random(9)
    f.write("%!PS\n/Times-Roman findfont 9 scalefont setfont\n")
    for page in range(120):
        for line in range(70):
            f.write("40 %d moveto (%s) show\n" % (780 - 10 * line, " ".join("%x" % rng.getrandbits(32) for _ in range(10))))
        for _ in range(120):
            curves = ["%d %d %d %d %d %d rcurveto" % tuple(rng.randrange(-40, 41) for _ in range(6)) for _ in range(6)]
            f.write("%.2f setgray newpath %d %d moveto %s closepath fill\n" % (
                rng.random(), rng.randrange(600), rng.randrange(800), " ".join(curves)))
        f.write("/d%d 200 dict def 0 1 199 { d%d exch dup 20 string cvs put } for showpage\n" % (page, page))


def real():
    gs = ["gs", "-q", "-dBATCH", "-dNOPAUSE", "-dSAFER", "-sDEVICE=ppmraw", "-r72", "-sOutputFile=-", "INPUT"]
    return [
        Program("redis", "real", [sys.executable, os.path.join(JOBS, "redis.py"), "60000"], ["redis-server", "redis-benchmark"],
                seconds=reported, free=True, drives=True),
        Program("sqlite", "real", ["sqlite3", "-batch", ":memory:", ".read INPUT"], ["sqlite3"], jobs.make_sqlite),
        Program("python", "real", [sys.executable, os.path.join(jobs.HERE, "jobs", "containers.py")],
                env={"PYTHONMALLOC": "malloc"}),
        Program("gcc", "real", ["gcc", "-O1", "-x", "c", "-S", "-o", "-", "INPUT"], ["gcc"], jobs.make_gcc),
        Program("xz", "real", ["xz", "-6", "-T1", "-c", "INPUT"], ["xz"], make_text),
        Program("gs", "real", gs, ["gs"], make_pages),
        Program("lua", "real", ["lua5.4", os.path.join(JOBS, "words.lua")], ["lua5.4"]),
        Program("perl", "real", ["perl", os.path.join(JOBS, "words.pl")], ["perl"]),
        Program("node", "real", ["node", os.path.join(JOBS, "buffers.js")], ["node"]),
    ]


def per(amount, pattern):
    """The time in which the work would have been done, of a program that prints a rate."""
    return lambda stdout: amount / float(re.search(pattern, stdout).group(1))


def printed(pattern):
    return lambda stdout: float(re.search(pattern, stdout).group(1))


def mimalloc_bench(root):
    """The programs that are built in root/out/bench, with the arguments of its bench.sh but shorter fixed times."""
    n = CORES
    table = [
        ("cfrac", ["cfrac", "17545186520507317056371138836327483792789528"], {}),
        ("espresso", ["espresso", os.path.join(root, "bench", "espresso", "largest.espresso")], {}),
        ("barnes", ["barnes"], {"stdin": os.path.join(root, "bench", "barnes", "input")}),
        ("larsonN", ["larson", "2", "8", "1000", "5000", "100", "4141", n], {"seconds": printed(r" time: ([\d.]+)")}),
        ("larsonN-sized", ["larson-sized", "2", "8", "1000", "5000", "100", "4141", n], {"seconds": printed(r" time: ([\d.]+)")}),
        ("mstressN", ["mstress", n, "50", "25"], {}),
        ("rptestN", ["rptest", n, "0", "1", "2", "100", "1000", "100", "8", "16000"],
         {"seconds": per(2e6, r"\.\.\.(\d+) memory ops")}),
        ("alloc-test1", ["alloc-test", "1"], {}),
        ("alloc-testN", ["alloc-test", n], {}),
        ("sh6benchN", ["sh6bench", str(2 * int(n))], {}),
        ("sh8benchN", ["sh8bench", str(2 * int(n))], {}),
        ("xmalloc-testN", ["xmalloc-test", "-w", n, "-t", "2", "-s", "64"], {"seconds": printed(r"rtime: ([\d.]+)")}),
        ("cache-scratch1", ["cache-scratch", "1", "1000", "1", "2000000", n], {}),
        ("cache-scratchN", ["cache-scratch", n, "1000", "1", "2000000", n], {}),
        ("cache-thrash1", ["cache-thrash", "1", "1000", "1", "2000000", n], {}),
        ("cache-thrashN", ["cache-thrash", n, "1000", "1", "2000000", n], {}),
        ("glibc-simple", ["glibc-simple"], {}),
        ("glibc-thread", ["glibc-thread", n], {"seconds": per(1e9, r"([\d.]+) iterations")}),
        ("malloc-large", ["malloc-large"], {}),
        ("mleak10", ["mleak", "5"], {}),
        ("mleak100", ["mleak", "50"], {}),
    ]
    for name, (command, *rest), more in table:
        path = os.path.join(root, "out", "bench", command)
        yield Program("mb:" + name, "mimalloc-bench", [path, *rest], [path], free=True, **more)
    z3 = os.path.join(root, "bench", "z3", "test1.smt2")
    yield Program("mb:z3", "mimalloc-bench", ["z3", "-smt2", z3], ["z3"], free=True)
