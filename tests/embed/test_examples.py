"""The programs of examples/embed, beside what Python makes of the same input; alone, and inside a run."""
import os
import random
import re
import subprocess

from tap import STEWARD, eq, environment, main

SORT, CACHE = os.environ["SORT"], os.environ["CACHE"]
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


def answers(commands):
    r = run(CACHE, "24", "8", input="".join(c + "\n" for c in commands).encode())
    return r.stdout.decode().splitlines()


def test_cache_of_three_budgets_answers_as_a_dict_does():
    numbers = random.Random(5)
    known, commands, want = {}, [], []
    for i in range(30000):
        key = "k%d" % numbers.randrange(8000)
        if numbers.random() < 0.4:
            value = "%d-%s" % (i, numbers.randbytes(900).hex())
            known[key] = value
            commands.append("set %s %s" % (key, value))
            want.append("ok")
        else:
            commands.append("get " + key)
            want.append(known.get(key, "-"))
    got = answers(commands)
    eq(len(got), len(want))
    # It is a cache: it may have lost what is old, and never gives anything else.
    wrong = [i for i, answer in enumerate(got) if answer != want[i] and answer != "-"]
    eq(wrong, [])
    lost = sum(answer == "-" != want[i] for i, answer in enumerate(got))
    assert lost < len(want) / 3, lost


def test_cache_keeps_what_fits_and_forgets_when_told():
    values = {"key%d" % i: "v%d" % i * 100 for i in range(5000)}
    keys = sorted(values)
    got = answers(["set %s %s" % (k, values[k]) for k in keys] + ["get " + k for k in keys] + ["stats", "clear", "get key1", "set key1 new", "get key1"])
    eq(got[:5000], ["ok"] * 5000)
    missing = [k for k, v in zip(keys, got[5000:10000]) if v != values[k]]
    assert len(missing) < 50, len(missing)  # more than the index has ways for
    assert got[10000].startswith("resident "), got[10000]
    eq(got[10001:], ["ok", "-", "ok", "new"])


def test_cache_says_what_it_does_not_understand():
    eq(answers(["", "set", "get", "set k " + "x" * (7 << 20)]), ["what?", "what?", "what?", "too large"])
    assert b"usage: cache" in run(CACHE, input=b"", status=2).stderr


main(globals())
