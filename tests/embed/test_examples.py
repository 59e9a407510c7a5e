"""The programs of examples/embed, beside what Python makes of the same input; alone, and inside a run."""
import os
import random
import re
import subprocess

from tap import STEWARD, eq, environment, main

SORT = os.environ["SORT"]
MIB = 1 << 20


def run(*args, input, status=0):
    r = subprocess.run(args, input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False, env=environment())
    eq((r.returncode, r.stderr if r.returncode != status else b""), (status, b""))
    return r


def records(bytes):
    """Random ones: nothing to be compressed; each key there twice or so."""
    numbers = random.Random(bytes)
    return b"".join(b"%010d" % numbers.randrange(bytes // 200) + numbers.randbytes(90) for _ in range(bytes // 100))


def is_sorted(output, input):
    cut = [output[i:i + 100] for i in range(0, len(output), 100)]
    eq([r[:10] for r in cut], sorted(input[i:i + 10] for i in range(0, len(input), 100)))
    eq(sorted(cut), sorted(input[i:i + 100] for i in range(0, len(input), 100)))


def test_sort_of_three_budgets_of_records():
    data = records(24 * MIB)
    r = run(SORT, "8", input=data)
    is_sorted(r.stdout, data)
    left, back = map(int, re.search(rb"(\d+) MiB left memory, (\d+) MiB came back", r.stderr).groups())
    assert left >= 12 and back >= 12, r.stderr


def test_sort_inside_a_run_keeps_its_own_budget():
    data = records(24 * MIB)
    r = run(STEWARD, "run", "--ram", "64M", "--", SORT, "8", input=data)
    is_sorted(r.stdout, data)
    assert b"MiB left memory" in r.stderr, r.stderr


def test_sort_of_nothing_and_wrong_usage():
    eq(run(SORT, "8", input=b"").stdout, b"")
    assert b"usage: sort BUDGET_MIB" in run(SORT, input=b"", status=2).stderr
    assert b"a budget of 1048576 bytes is too small" in run(SORT, "1", input=b"", status=1).stderr


main(globals())
