"""What the benchmarks compute from their samples, and that the counting of instructions counts."""
import contextlib
import io
import json
import os
import subprocess
import sys

from tap import eq, main, scratch

SOURCE, BUILD = os.environ["SOURCE"], os.environ["BUILD"]
sys.path.insert(0, os.path.join(SOURCE, "bench"))

import policy  # noqa: E402


def instructions(last):
    """Status, the table's figure and stderr of one sequence beside these last figures."""
    with scratch() as d:
        known = os.path.join(d, "instructions.json")
        with open(known, "w", encoding="utf-8") as f:
            json.dump(last, f)
        r = subprocess.run([sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv.pop(1)); import instructions as i\n"
                            "i.LAST = sys.argv.pop(1); sys.exit(i.main())", os.path.join(SOURCE, "bench"), known, "--build", BUILD, "--only", "uniform"],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=100, check=False)
    rows = [line.split("|")[1:-1] for line in r.stdout.splitlines()[2:]]
    return r.returncode, {row[0].strip(): float(row[1]) for row in rows}, r.stderr


def test_instructions_of_a_fault_are_counted_and_more_of_them_are_told():
    name = "uniform, a page's fault"
    status, now, err = instructions({})
    eq((status, err, sorted(now)), (0, "", ["uniform, a page's eviction", name]))
    # Reading, checking and mapping a page takes some hundred instructions, and never as many as compressing one.
    assert all(200 < n < 20000 for n in now.values()), now
    status, again, err = instructions({name: now[name] * 0.9})
    eq((status, again, err), (1, now, f"MORE: {name}\n"))


def test_policies_are_compared_round_by_round():
    runs = []
    for r, disturbed in enumerate((1, 10, 1)):  # in the second round the machine is ten times slower
        for name, major, seconds in (("second-chance", 100, 2.0), ("clock", 50, 3.0)):
            runs.append({"case": "sort, 50 %", "policy": name, "run": r, "major": major, "seconds": seconds * disturbed})
    eq(policy.ratios(runs, "sort, 50 %", "clock", "seconds"), [1.5] * 3)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        policy.print_table(runs, ["second-chance", "clock"])
    assert "| sort, 50 % | 1.00 · 1.00 | 0.50 · 1.50 |\n| **geometric mean** | 1.00 · 1.00 | 0.50 · 1.50 |\n" in out.getvalue(), out.getvalue()


main(globals())
