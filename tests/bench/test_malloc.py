"""The allocator's benchmark: its programs notice a wrong allocator, and its figures are what they are called."""
import argparse
import os
import re
import signal
import subprocess
import sys

import tap

SOURCE, BUILD, TWICE = os.environ["SOURCE"], os.environ["BUILD"], os.environ["TWICE"]
PROGRAMS = os.path.join(BUILD, "bench", "malloc")
SCRIPT = os.path.join(SOURCE, "bench", "malloc.py")
sys.path.insert(0, os.path.join(SOURCE, "bench"))

import malloc  # noqa: E402

# Small: a tenth of a second each. sharing has so many threads that two of those blocks which are handed over are the same.
SIZES = {
    "batches": ["--rounds", "300"], "big": ["--steps", "300", "--min-mib", "1", "--max-mib", "2"],
    "churn": ["--steps", "100000"], "grow": ["--strings", "100", "--string-rounds", "2", "--buffer-max", "1000000"],
    "handoff": ["--batches", "500"], "idle": ["--fill-mib", "8", "--sleep", "0"],
    "server": ["--steps", "3000", "--generations", "5"], "sharing": ["--threads", "200", "--handed", "1", "--writes", "10"],
    "shift": ["--fill-mib", "4"], "start": ["--runs", "20"], "stl": ["--words", "5000", "--rounds", "1"],
    "survivors": ["--steps", "20000", "--old", "500"], "threads": ["--rounds", "20"],
}


def programs():
    """Those that are built: stl only where there is a C++ compiler."""
    return {name: [os.path.join(PROGRAMS, name), *sizes] for name, sizes in SIZES.items()
            if name != "stl" or os.path.exists(os.path.join(PROGRAMS, name))}


def run(argv, **more):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, **more)


def measure(*argv):
    """(status, [wall, user, system, peak in KiB])"""
    with tap.scratch() as folder:
        report = os.path.join(folder, "report")
        status = run([os.path.join(PROGRAMS, "measure"), report, "", *argv]).returncode
        with open(report, encoding="ascii") as f:
            return status, [float(word) for word in f.read().split()]


def test_every_program_prints_one_line_with_its_time():
    for name, argv in programs().items():
        done = run(argv)
        assert done.returncode == 0 and re.fullmatch(r"%s seconds=\d+\.\d{3}( \w+=\d+)+\n" % name, done.stdout), (name, done)


def test_every_program_notices_a_block_that_two_have():
    for name, argv in programs().items():
        if name == "start":  # has one block only
            continue
        done = run(argv, env=dict(os.environ, LD_PRELOAD=TWICE))
        if name == "stl":  # what happens to containers is anyone's guess, but not a good end
            assert done.returncode != 0, (name, done)
        else:
            assert done.returncode == 1 and " is wrong" in done.stderr, (name, done)


def test_wrong_options_are_refused():
    for words in (["--stepz", "1"], ["--steps"], ["--steps", "x"], ["1"]):
        done = run([os.path.join(PROGRAMS, "churn"), *words])
        assert done.returncode == 2 and done.stderr.startswith("usage: churn [--threads N (1)]"), done


def test_the_peak_is_the_programs_and_not_its_parents():
    ballast = bytearray(b"x") * (100 << 20)
    small = measure("/bin/true")[1][3]
    large = measure(os.path.join(PROGRAMS, "idle"), "--fill-mib", "40", "--sleep", "0")[1][3]
    assert len(ballast) and small < 8 << 10 and 40 << 10 < large < 64 << 10, (small, large)


def test_times_are_of_the_program():
    wall, user, system, _ = measure("/bin/sh", "-c", "sleep 0.5")[1]
    assert 0.5 <= wall < 5 and user + system < 0.4, (wall, user, system)


def test_the_status_is_passed_on():
    tap.eq(measure("/bin/sh", "-c", "exit 3")[0], 3)
    tap.eq(measure("/bin/sh", "-c", "kill -9 $$")[0], 137)


def test_ratios_are_taken_round_by_round():
    def sample(program, kind, allocator, r, wall):
        return {"program": program, "kind": kind, "allocator": allocator, "run": r, "wall": wall, "cpu": 1.0, "rss": 10.0}

    samples = []
    for r, disturbed in enumerate((1, 10, 1)):  # in the second round the machine is ten times slower
        for program, kind, ratio in (("a", "pattern", 0.5), ("b", "real", 2.0), ("c", "pattern", 0.25)):
            samples.append(sample(program, kind, "glibc", r, disturbed))
            samples.append(sample(program, kind, "steward", r, disturbed * ratio))
            samples.append(sample(program, kind, "jemalloc", r, disturbed * 0.5))
    summary = malloc.Summary(samples, ["glibc", "jemalloc", "steward"])
    tap.eq(summary.table["a", "steward", "wall"], 0.5)
    for kind, want in (("all", (0.5 * 2 * 0.25) ** (1 / 3)), ("pattern", (0.5 * 0.25) ** 0.5), ("real", 2.0)):
        assert abs(summary.geomean(kind, "steward", "wall") - want) < 1e-12, kind
    tap.eq([(p, row["wall"]) for p, row in summary.against_best()],
           [("b", (4.0, "jemalloc")), ("a", (1.0, "jemalloc")), ("c", (0.5, "jemalloc"))])


def test_instructions_are_those_of_all_processes():
    args = argparse.Namespace(allocators=["glibc"], add=[])
    with tap.scratch() as folder:
        bench = malloc.Bench(args, folder)

        def count(rounds):  # of a loop in a child
            loop = "i=0; while [ $i -lt %d ]; do i=$((i + 1)); done" % rounds
            program = malloc.programs.Program("loop", "pattern", ["/bin/sh", "-c", "/bin/sh -c '%s'; exit 0" % loop], free=True)
            return bench.counted(program, bench.allocators[0])[0]["instructions"]

        none, some, more = count(0), count(20000), count(40000)
    assert some - none > 1 and abs((more - some) / (some - none) - 1) < 0.02, (none, some, more)


def test_a_library_that_cannot_be_loaded_is_refused():
    done = run([sys.executable, SCRIPT, "--build", BUILD, "--only", "start", "--ours", "/nonexistent.so"])
    assert done.returncode == 1 and "cannot measure steward" in done.stderr, done


def test_a_wrong_allocator_fails_the_benchmark():
    done = run([sys.executable, SCRIPT, "--build", BUILD, "--only", "batches", "--runs", "1", "--allocators", "glibc",
                "--add", "twice=" + TWICE])
    assert done.returncode == 1 and "FAILED: batches, twice: status 1: batches: the block" in done.stderr, done


def test_after_ctrl_c_there_is_a_summary_of_what_was_measured():
    bench = subprocess.Popen([sys.executable, SCRIPT, "--build", BUILD, "--only", "batches,start", "--runs", "1000", "--allocators", "glibc"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in bench.stderr:
        if "run 2" in line:
            break
    bench.send_signal(signal.SIGINT)
    out, _ = bench.communicate(timeout=60)
    assert bench.returncode == 130 and "interrupted" in out and "**geometric mean, pattern**" in out, (bench.returncode, out)


tap.main(globals())
