"""steward stat: what it prints of figures that the stub sets and raises."""
import json
import os
import re
import signal
import subprocess
import time

from running import process_of, printed, running
from tap import STEWARD, Skip, environment, eq, main, steward

PAGE = 4096
HEAD = " FREE   LOW  HIGH   RES  POOL  SWAP  MINOR   SOFT  MAJOR     IN    OUT STALL\n"
SIZES = " 1.1M  800K  1.5M   85M   31M  351M"
RISE = {"allocstall": 5, "pgfault": 60, "pgminor": 10, "pgsoft": 20, "pgmajfault": 30, "pswpin": 40, "pswpout": 50}


def lines(*args):
    return [json.loads(line) for line in printed("stat", "--json", *args).splitlines()]


def test_one_line_since_the_start():
    with running(STUB="pressure") as run:
        text = printed("stat", str(run.pid))
        one, = lines(str(run.pid))
    # Of a process that has just started the rates are high.
    assert re.fullmatch(re.escape(HEAD + SIZES) + r"( +[\d.]+[kM]?){5} +\d+\.\d\n", text), text
    eq((one["in_interval"], one["processes"]), (one["counters"], 1))
    eq(one["interval_ns"], one["age_ns"])


def test_sizes_and_rates_of_nothing():
    with running(STUB="pressure") as run:
        eq(printed("stat", str(run.pid), "0.05", "2"), HEAD + 2 * (SIZES + 5 * "      0" + "   0.0\n"))


def test_while_it_fits_there_are_no_frames():
    with running(STUB="fit") as run:
        text = printed("stat", str(run.pid), "20ms", "1")
    assert re.fullmatch(re.escape(HEAD) + r"    -     -     - +[\d.]+M     0     0( +0){5}   0\.0\n", text), text


def test_each_rise_is_in_one_interval():
    with running(STUB="pressure") as run:
        p = subprocess.Popen([STEWARD, "stat", "--json", str(run.pid), "50ms", "6"], env=environment(), stdout=subprocess.PIPE,
                             text=True)
        got = [json.loads(p.stdout.readline())]
        for _ in range(3):
            os.kill(process_of(run), signal.SIGUSR1)
            got.append(json.loads(p.stdout.readline()))
        got += [json.loads(line) for line in p.stdout]
        eq((p.wait(10), len(got)), (0, 6))
    for name in got[0]["counters"]:
        eq(sum(line["in_interval"][name] for line in got), 3 * RISE.get(name, 0))
    for before, line in zip(got, got[1:]):
        eq(line["counters"]["pswpin"] - before["counters"]["pswpin"], line["in_interval"]["pswpin"])
        assert line["interval_ns"] > 0, line


def test_rates_are_per_second():
    with running(STUB="pressure") as run:
        time.sleep(0.2)
        before, = lines(str(run.pid))
        rates = printed("stat", str(run.pid)).splitlines()[1].split()[6:11]
        after, = lines(str(run.pid))
    for got, count in zip(rates, (1001, 1002, 1003, 1005, 1006)):
        low, high = (count * 1e9 / line["age_ns"] for line in (after, before))
        assert low - 1 <= int(got) <= high + 1, (got, low, high)


def test_frames_of_the_json():
    with running(STUB="pressure") as run:
        one, = lines(str(run.pid))
    eq(one["frames"], {k + "_bytes": n * PAGE for k, n in dict(online=29000, free=300, min=100, low=200, high=400, active=15000,
                                                              inactive=4000, sample=1000).items()})


def test_json_is_documented():
    with running(STUB="pressure") as run:
        one, = lines(str(run.pid))
    with open(os.path.join(os.environ["DOCS_DIR"], "see-schema.md")) as f:
        doc = f.read()
    for key in (*one, *one["frames"]):
        assert f"`{key}`" in doc, f"docs/see-schema.md does not tell about {key}"


def test_it_ends_with_the_run():
    with running(STUB="pressure") as run:
        p = subprocess.Popen([STEWARD, "stat", str(run.pid), "20ms"], env=environment(), stdout=subprocess.PIPE)
        p.stdout.readline()
    eq(p.wait(10), 0)
    p.stdout.close()


def test_the_only_run_needs_no_name():
    several = ("steward: run: there are several; name one by its pid, steward ps has them\n", 2)
    with running(STUB="fit") as run:
        r = steward("stat", "--json", "20ms", "1")
        # Other tests have runs, too. If it finds one only, that is ours.
        if (r.stderr, r.returncode) != several:
            eq(json.loads(r.stdout)["pid"], run.pid)
        with running(STUB="fit"):
            r = steward("stat", "1s")
            eq((r.stderr, r.returncode), several)


def test_wrong_operands():
    for args, line in ((["1", "x"], "x: not an interval; write it as 1s, 0.5 or 200ms"),
                       (["1.5.2s"], "1.5.2s: not an interval; write it as 1s, 0.5 or 200ms"),
                       (["ms"], "ms: not an interval; write it as 1s, 0.5 or 200ms"),
                       (["1", "0"], "0: an interval is from 10ms to a day; give another"),
                       (["9ms"], "9ms: an interval is from 10ms to a day; give another"),
                       (["1", "86401"], "86401: an interval is from 10ms to a day; give another"),
                       (["1s", "0"], "0: not a number of lines; write it as 10"),
                       (["1s", "-3"], "-3: unknown option; see steward stat --help"),
                       (["1s", "3", "4"], "4: one too many; steward stat [OPTION…] [RUN] [INTERVAL [COUNT]]")):
        r = steward("stat", *args)
        eq((r.stderr, r.returncode), (f"steward: {line}\n", 2))


def used(line):
    return sum(line[kind + "_bytes"] for kind in ("managed", "unmanaged", "pool", "own"))


def test_figures_of_the_real_engine_agree():
    """What lies on lists, is free, or is pool cannot be more than there is; the budget covers all of it."""
    script = ("a = bytearray(48 << 20)\nfor i in range(0, len(a), 4096): a[i] = i % 251\n"
              "print('ready', flush=True)\ninput()")
    p = subprocess.Popen([STEWARD, "run", "--ram", "24M", "/usr/bin/python3", "-c", script], text=True, stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(STEWARD_PRELOAD=os.environ["STEWARD_LIBRARY"]))
    if p.stdout.readline() != "ready\n":
        raise Skip(p.communicate()[1])
    # The pager looks at what lies outside of its reach five times a second, and gives way to it after that.
    deadline = time.monotonic() + 10
    one, = lines(str(p.pid))
    while (one["swapped_bytes"] + one["managed_bytes"] < 48 << 20 or used(one) > one["ram_bytes"]) and time.monotonic() < deadline:
        one, = lines(str(p.pid))
    p.communicate("\n")
    f = {k[:-6]: v for k, v in one["frames"].items()}
    assert 0 < f["min"] < f["low"] < f["high"] < f["online"], f
    assert f["min"] < f["free"], f
    listed = f["active"] + f["inactive"] + f["sample"]
    assert abs(listed - one["managed_bytes"]) <= 1 << 20, one
    assert listed + f["free"] + one["pool_bytes"] <= f["online"], one
    assert used(one) <= one["ram_bytes"], one
    assert one["swapped_bytes"] + one["managed_bytes"] >= 48 << 20, one


main(globals())
