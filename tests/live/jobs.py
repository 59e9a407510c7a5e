"""The real jobs: one table for the live tests and for the paging benchmark.

A job's footprint is its peak resident size on its own, in MiB, measured (with
Debian 12's programs, x86-64); budgets are shares of it. Its stdout must be the
same, byte for byte, however little memory it gets, and its status 0.
"""

import os
import random
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


class Job:
    def __init__(self, name, footprint_mib, what, argv, make=None, needs=(), drives=False, tested=True):
        self.name = name
        self.footprint_mib = footprint_mib
        self.what = what
        self._argv = argv      # argv(work, tools): without a prefix
        self._make = make      # make(path): writes the input file
        self.needs = needs     # programs that must be installed
        self.drives = drives   # True: a driver that stays outside and takes the prefix as arguments
        self.tested = tested   # False: takes too long for the tests, so only benchmarks run it

    def missing(self):
        return [p for p in self.needs if shutil.which(p) is None]

    def input(self, work):
        return os.path.join(work, self.name + ".input")

    def prepare(self, work):
        """Writes the job's input file once."""
        if self._make is None or os.path.exists(self.input(work)):
            return
        part = self.input(work) + ".part%d" % os.getpid()
        with open(part, "w", encoding="ascii") as f:
            self._make(f)
        os.rename(part, self.input(work))

    def argv(self, work, tools, prefix=()):
        """The command that runs the job with its memory-hungry part under the prefix."""
        argv = self._argv(self.input(work), tools)
        return argv + list(prefix) if self.drives else list(prefix) + argv


def make_sort(f):
    rng = random.Random(1)
    words = ["%08x" % rng.getrandbits(32) for _ in range(4000)]
    for _ in range(100_000):
        f.write("%012d %s\n" % (rng.randrange(10**12), " ".join(rng.choices(words, k=100))))


def make_sqlite(f):
    f.write("""
PRAGMA cache_size=-400000;
CREATE TABLE item(id INTEGER PRIMARY KEY, owner INT, name TEXT, body TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 220000)
 INSERT INTO item SELECT i, (i * 7919) % 5003, 'item ' || (i * 104729 % 220009), substr(hex(i * 2654435761) || 'abcdefghij', 1, 12) || hex(zeroblob(150)) FROM n;
CREATE INDEX item_owner ON item(owner);
CREATE INDEX item_name ON item(name);
SELECT count(*), sum(length(body)), min(name), max(name) FROM item;
UPDATE item SET body = body || owner WHERE owner % 50 = 7;
DELETE FROM item WHERE owner % 40 = 11;
SELECT owner, count(*), sum(id), max(body) FROM item WHERE owner < 40 GROUP BY owner ORDER BY owner;
SELECT a.id, b.id, a.name FROM item a JOIN item b ON b.owner = a.owner AND b.id > a.id WHERE a.owner BETWEEN 100 AND 103 ORDER BY a.id, b.id LIMIT 500;
SELECT name, id FROM item ORDER BY name DESC LIMIT 200;
SELECT sum(id * length(name)), total(owner) FROM item;
PRAGMA integrity_check;
""")


def make_gcc(f, functions=150):
    rng = random.Random(3)
    f.write("struct node { long key, value; struct node *left, *right; };\nlong sink;\n")
    for i in range(functions):
        a, b, c = rng.randrange(3, 99), rng.randrange(3, 99), rng.randrange(1, 7)
        f.write("""
static const long table_%d[] = { %s };
long work_%d(struct node *n, long x)
{
	long sum = %d;
	for (long i = 0; i < x; i++) {
		sum += (i * %d) ^ (sum >> %d);
		if (n && n->key < sum) { n = n->left; sum += table_%d[i & 1023]; }
		else if (n) { n->value += sum; n = n->right; }
		switch (sum & 7) { case 0: sum += %d; break; case 3: sum ^= i; break; case 5: sink += sum; break; default: sum--; }
	}
	return sum + %s;
}
""" % (i, ", ".join(str(rng.randrange(1 << 30)) for _ in range(2600)), i, a, b, c, i, a * b,
            "work_%d(n, x / 2)" % (i - 1) if i else "0"))


def make_xz(f):
    # Text without repetitions: every position goes to another place of xz's 64 MiB hash table.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    rng = random.Random(5)
    for _ in range(2_500):
        f.write("".join(rng.choices(alphabet, k=79)) + "\n")


JOBS = [
    Job("sort", 93, "GNU sort, 91 MB of lines",
        lambda path, tools: ["env", "LC_ALL=C", "sort", "--parallel=2", "-S", "400M", path], make_sort, ["sort"]),
    Job("python", 96, "python3, dicts, lists and bytes",
        lambda path, tools: [sys.executable, os.path.join(HERE, "jobs", "containers.py")]),
    Job("sqlite", 106, "sqlite3 in memory, two indices, join",
        lambda path, tools: ["sqlite3", "-batch", ":memory:", ".read " + path], make_sqlite, ["sqlite3"]),
    Job("gcc", 94, "gcc -O1 on one large file",
        lambda path, tools: ["gcc", "-O1", "-x", "c", "-S", "-o", "-", path], make_gcc, ["gcc"]),
    Job("xz", 70, "xz -9",
        lambda path, tools: ["xz", "-9", "-T1", "-c", path], make_xz, ["xz"]),
    Job("redis", 95, "redis-server, driven by redis-benchmark, checked key by key",
        lambda path, tools: [sys.executable, os.path.join(HERE, "jobs", "redis_check.py"), "60000"],
        None, ["redis-server", "redis-benchmark"], drives=True),
    Job("node", 200, "node, objects, maps, JSON",
        lambda path, tools: ["node", os.path.join(HERE, "jobs", "objects.js")], None, ["node"], tested=False),
    Job("threads8", 129, "a parallel sort by 8 threads",
        lambda path, tools: [os.path.join(tools, "threads8"), "128"]),
]
