"""Conditions and comparisons of figures: --fail-if and steward diff, beside Python's own JSON and arithmetic."""
import json
import os
import random
import re

from tap import eq, main, scratch, steward

RAM = ("run", "--ram", "256M")


def fail_if(*conditions, command=("true",), **env):
    options = [o for c in conditions for o in ("--fail-if", c)]
    return steward(*RAM, *options, *command, **({"STUB": "pressure"} | env))


def holding(*conditions):
    """Those of them that hold, as the messages have it."""
    r = fail_if(*conditions)
    held = re.findall(r"^steward: (.*): .*; that is what --fail-if forbids$", r.stderr, re.M)
    eq(r.returncode, 124 if held else 0)
    return held


def test_a_condition_that_holds():
    r = fail_if("major>1000")
    eq(r.stderr.splitlines()[-1], "steward: major>1000: counters.pgmajfault is 1003; that is what --fail-if forbids")
    eq(r.returncode, 124)
    eq(fail_if("major>1003").returncode, 0)


def test_all_figures_of_a_condition_are_named_once():
    r = fail_if("pool.ratio>2 and minor+soft+minor>0 and not_null > 1")
    assert r.returncode == 2, r.stderr
    r = fail_if("pool.ratio>2 and minor+soft+minor>0 and fitted = 0")
    eq(r.stderr.splitlines()[-1], "steward: pool.ratio>2 and minor+soft+minor>0 and fitted = 0: pool.ratio is 3, counters.pgminor is 1001, "
       "counters.pgsoft is 1002, fitted is 0; that is what --fail-if forbids")


def test_the_commands_own_failure_counts_first():
    r = fail_if("major>1000", command=("sh", "-c", "exit 3"))
    eq(r.returncode, 3)
    assert "that is what --fail-if forbids" in r.stderr, r.stderr


def test_units_and_words():
    true = ["need_peak_bytes > 437M and need_peak_bytes < 438MiB", "need_peak_bytes=458752000", "stall_ns = 1.5s", "stall_ns == 1500ms",
            "stall_ns<1501000us", "stall_ns >= 1500000000ns", "pswpout*50% = 503", "major=1003 || 1/0 < 0", "-major < -1000",
            "fault_ns.max > 1ms && soft=1002", "5KB = 5KiB and 5K = 5120"]
    eq(holding(*true[:8]), true[:8])
    eq(holding(*true[8:]), true[8:])
    eq(holding("exit.signal = 0", "exit.signal != 0 and 0", "pool.ratio < 3", "fatal", "(((0)))"), [])


def expression(rng, depth):
    """The same expression for --fail-if and for Python."""
    if depth == 0 or rng.random() < 0.2:
        return rng.choice([("major", "1003"), ("pgminor", "1001"), ("counters.pswpin", "1005"), ("soft", "1002"),
                           (str(rng.randint(0, 2000)),) * 2, ("1.5K", "1536"), ("2us", "2000"), ("50%", "0.5")])
    kind = rng.choice("a" * 4 + "cclbn")
    a, b = expression(rng, depth - 1), expression(rng, depth - 1)
    if kind == "n":
        return f"-{a[0]}", f"-{a[1]}"
    if kind == "b":
        return f"( {a[0]})", f"({a[1]})"
    op = rng.choice({"a": "+-*/", "c": ["<", "<=", ">", ">=", "=", "!="], "l": ["and", "or"]}[kind])
    if kind == "l":
        return f"({a[0]} {op} {b[0]})", f"(({a[1]}) != 0 {op} ({b[1]}) != 0)"
    if kind == "c":
        return f"({a[0]}{op}{b[0]})", f"(({a[1]}) {'==' if op == '=' else op} ({b[1]}))"
    return f"{a[0]} {op} {b[0]}", f"{a[1]} {op} {b[1]}"


def test_random_conditions_beside_python():
    rng = random.Random(20261128)
    for _ in range(20):
        conditions, want = [], []
        while len(conditions) < 8:
            ours, python = expression(rng, 3)
            try:
                value = eval(python)  # of what expression() has made
            except ZeroDivisionError:
                continue
            conditions.append(ours)
            if value:
                want.append(ours)
        eq(holding(*conditions), want)


def test_what_is_no_condition_is_told_before_the_command_starts():
    for bad, why in (("x>1", 'no figure of that name: "x"'), ("1 +", "something is missing at its end"), ("", "something is missing at its end"),
                     ("major>>1", 'not a name or number: ">1"'), ("(1", "a bracket without an end"), ("5q>1", 'not a unit: "q"'),
                     ("1 2", 'more than a condition: "2"'), ("1..2", 'not a number: "1..2"'), ("pool", 'no figure of that name: "pool"'),
                     ("(" * 40 + "1" + ")" * 40, 'too many brackets: "' + "(" * 8 + "1" + ")" * 40 + '"')):
        with scratch() as d:
            mark = os.path.join(d, "started")
            r = fail_if(bad, command=("touch", mark))
            eq((r.stderr, r.returncode), (f"steward: --fail-if: \"{bad}\": {why}; write it as 'major>1000'\n", 2))
            assert not os.path.exists(mark)
    r = fail_if(*["major>1"] * 9)
    eq((r.stderr, r.returncode), ('steward: --fail-if: more than 8 of them; join some with "or"\n', 2))


def test_sim_has_conditions_too():
    with scratch() as d:
        csv, trace, out = (os.path.join(d, n) for n in ("t.csv", "t.stw", "s.json"))
        with open(csv, "w") as f:
            f.writelines(f"R {page * 4096:#x}\n" for page in range(100))
        r = steward("import", "--from", "csv", csv, "-o", trace)
        eq((r.stderr, r.returncode), ("", 0))
        r = steward("sim", "--json", out, "--fail-if", "pgfault>1", "--fail-if", "touches<1", trace)
        with open(out) as f:
            faults = json.load(f)["counters"]["pgfault"]
        eq((r.stderr, r.returncode), (f"steward: pgfault>1: counters.pgfault is {faults}; that is what --fail-if forbids\n", 124))
        r = steward("sim", "--fail-if", "tasks.0>1", os.path.join(d, "none.stw"))
        eq((r.stderr, r.returncode), ("steward: --fail-if: \"tasks.0>1\": no figure of that name: \"tasks.0\"; write it as 'major>1000'\n", 2))


def diff(a, b, *options):
    """The result, and the names that the files had."""
    with scratch() as d:
        names = []
        for name, text in (("a", a), ("b", b)):
            names.append(os.path.join(d, name))
            with open(names[-1], "w") as f:
                f.write(text if isinstance(text, str) else json.dumps(text))
        r = steward("diff", *options, *names)
        return r, names


DIFFERENCES = """\
FIGURE                                          A                B       B TO A
peak.total_bytes                            1 GiB          1.5 GiB      +50.0 %
wall_ns                                    1.50 s           1.3 ms      -99.9 %
ratio                                        2.50             2.25      -10.0 %
old                                             3                -
n                                               -                7
counters.pgfault                            1 000            1 100      +10.0 %
new                                             -                1
"""


def test_what_differs():
    r, _ = diff({"schema": 1, "peak": {"total_bytes": 1 << 30}, "wall_ns": 1500000000, "ratio": 2.5, "old": 3, "x": [1], "s": "a", "n": None,
                 "counters": {"pgfault": 1000, "same": 5}},
                {"schema": 1, "peak": {"total_bytes": 1536 << 20}, "wall_ns": 1350000, "ratio": 2.25, "x": [2], "s": "b", "n": 7,
                 "counters": {"pgfault": 1100, "same": 5}, "new": True})
    eq(r.stdout, DIFFERENCES)
    eq((r.stderr, r.returncode), ("", 0))


def flat(value, prefix=""):
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from flat(inner, f"{prefix}{key}.")
        elif not isinstance(inner, (list, str)) and inner is not None:
            yield prefix + key, inner


def document(rng, depth):
    def any_of():
        return rng.choice([lambda: rng.randint(0, 10**6), lambda: rng.choice([True, False, None, "text \"\\\u00e9\n", -0.0]),
                           lambda: [any_of() for _ in range(rng.randint(0, 3))],
                           lambda: document(rng, depth - 1) if depth > 0 else 1])()

    return {f"k{rng.randint(0, 99)}": any_of() for _ in range(rng.randint(0, 6))}


def test_random_documents_beside_python():
    rng = random.Random(7)
    for indent in [None, 0, 2] * 10:
        doc = document(rng, 3)
        r, _ = diff(json.dumps(doc, indent=indent), "{}", "--all")
        got = {line.split()[0]: "".join(line.split()[1:-1]) for line in r.stdout.splitlines()[1:]}
        eq(got, {name: str(int(value)) for name, value in flat(doc)})


def test_files_that_are_no_json():
    for bad, at, why in (("", 0, "it ends where a value should be"), ("{", 1, "a key is missing"), ('{"a" 1}', 6, "a colon is missing"),
                         ('{"a": 01}', 6, "not a number"), ('{"a": 1,}', 8, "a key is missing"), ('{"a": tru}', 6, "not a value"),
                         ('["a]', 4, "a string without an end"), ('{} x', 3, "something stands behind its end"),
                         ('{"a": "\\x"}', 8, "an unknown escape in a string"), ("[" * 40, 32, "it is nested too deep"),
                         ('[1 2]', 3, "an array without an end"), ('{"a": 1.}', 6, "not a number"), ('{"\t": 1}', 2, "a control character in a string")):
        r, names = diff(bad, "{}")
        eq((r.stdout, r.stderr, r.returncode), ("", f"steward: {names[0]}: not JSON at byte {at}: {why}; name a file of --stats or --json\n", 1))


def test_wrong_usage_of_diff():
    for args, line in (([], "diff: two files are compared; steward diff [OPTION…] A B"), (["a", "b", "c"], "c: two files are compared; leave it out")):
        r = steward("diff", *args)
        eq((r.stderr, r.returncode), (f"steward: {line}\n", 2))
    r = steward("diff", "/no/such", "/dev/null")
    eq((r.stderr, r.returncode), ("steward: /no/such: cannot be read (No such file or directory); check the name\n", 1))


main(globals())
