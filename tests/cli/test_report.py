"""steward run --record and steward report: what is in the file, what a browser makes of the page, and damaged files."""
import functools
import json
import math
import os
import re
import signal
import subprocess
import sys
import time

import stwrun
from browser import browser
from tap import STEWARD, Skip, environment, eq, main, scratch, steward

PAGE = 4096
SCRIPT = ("import random, time\na = bytearray(40 << 20)\nfor i in range(0, len(a), 4096): a[i:i + 8] = random.randbytes(8)\n"
          "end = time.time() + 1.5\nwhile time.time() < end: a[random.randrange(len(a))] ^= 1")


@functools.cache
def recorded():
    """The recording of a real run under pressure; the folder lives as long as this is kept."""
    folder = scratch()
    path = os.path.join(folder.name, "a.stwrun")
    r = steward("run", "--ram", "24M", "--record", path, "/usr/bin/python3", "-c", SCRIPT, timeout=60,
                STEWARD_PRELOAD=os.environ["STEWARD_LIBRARY"])
    if r.returncode == 125:
        raise Skip(r.stderr)
    eq(r.returncode, 0)
    return path, folder


def of_kind(records, kind):
    return [r for r in records if r["kind"] == kind]


def made(path, *more):
    """The page of a recording."""
    page = path + ".html"
    r = steward("report", path, *more, "-o", page)
    eq((r.stderr, r.returncode), ("", 0))
    return page


# --- the recording ---

def test_a_recording_tells_what_the_summary_tells():
    with scratch() as d:
        path, stats = os.path.join(d, "a.stwrun"), os.path.join(d, "s.json")
        eq(steward("run", "--ram", "256M", "--record", path, "--stats", stats, "sleep", "0.3", STUB="pressure").returncode, 0)
        run, records = stwrun.read(path)
        with open(stats) as f:
            text = f.read()
    eq((run["command"], run["budget_from"], [a["name"] for a in run["areas"]]), ("sleep 0.3", "--ram", ["pool", "file:/tmp"]))
    eq([r["seq"] for r in records], list(range(len(records))))
    samples, (end,) = of_kind(records, "sample"), of_kind(records, "end")
    assert 3 <= len(samples) <= 10, len(samples)
    eq((records[-1], end["json"], end["fatal"]), (end, text, ""))
    eq(samples[-1]["counters"], json.loads(text)["counters"])
    eq((samples[-1]["faults"]["count"], samples[-1]["histogram"][8]), (100, 98))
    one, = samples[1]["processes"]
    eq((one["comm"], one["use"]["managed"], one["frames"]["low"], samples[1]["areas"][1]["errors"]), ("sleep", 20000, 200, 3))
    eq([s["ram"] for s in samples], [256 << 8] * len(samples))
    apart = [(b["ns"] - a["ns"]) / 1e6 for a, b in zip(samples, samples[1:-1])]
    assert min(apart) >= 10, apart


def test_events_are_recorded_with_their_time():
    run, records = stwrun.read(recorded()[0])
    texts = [e["text"] for e in of_kind(records, "event")]
    assert texts[0].endswith(" python3: started") and any(t.endswith(" python3: ended") for t in texts), texts
    eq([r["ns"] for r in records], sorted(r["ns"] for r in records))


def test_a_place_that_fails_is_an_event():
    with scratch() as d:
        path = os.path.join(d, "a.stwrun")
        eq(steward("run", "--ram", "256M", "--record", path, "sh", "-c", "sleep .3; kill -USR2 $$; sleep .3", STUB="pressure",
                   STUB_ONLY="sh").returncode, 0)
        eq([(e["bad"], e["text"]) for e in of_kind(stwrun.read(path)[1], "event") if e["text"].startswith("file:")],
           [(True, "file:/tmp: failing")])


def test_what_goes_on_is_an_event_when_it_begins():
    with scratch() as d:
        path = os.path.join(d, "a.stwrun")
        script = "import os, signal, time\nfor i in range(3): time.sleep(.2); os.kill(os.getpid(), signal.SIGUSR1)\ntime.sleep(.3)"
        eq(steward("run", "--ram", "256M", "--record", path, sys.executable, "-c", script, STUB="pressure").returncode, 0)
        records = stwrun.read(path)[1]
    stalls = [s["counters"]["allocstall"] for s in of_kind(records, "sample")]
    assert len(set(stalls)) >= 3 and stalls[-1] - stalls[0] == 15, stalls
    eq([(e["bad"], e["text"]) for e in of_kind(records, "event") if "reclaim" in e["text"]],
       [(True, "direct reclaim: a fault waited for a frame")])


def test_what_was_recorded_outlives_the_launcher():
    with scratch() as d:
        path = os.path.join(d, "a.stwrun")
        p = subprocess.Popen([STEWARD, "run", "--ram", "256M", "--record", path, "sleep", "20"], env=environment(STUB="pressure"),
                             stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and (not os.path.exists(path) or len(of_kind(stwrun.read(path)[1], "sample")) < 3):
            time.sleep(0.05)
        p.send_signal(signal.SIGKILL)
        p.wait(10)
        run, records = stwrun.read(path)
        assert len(of_kind(records, "sample")) >= 3 and not of_kind(records, "end"), records
        with open(made(path)) as f:
            assert "The recording breaks off" in f.read()


def test_a_command_that_cannot_run_leaves_no_recording():
    with scratch() as d:
        r = steward("run", "--ram", "256M", "--record", os.path.join(d, "a.stwrun"), d, STUB="fit")
        eq((r.returncode, os.listdir(d)), (126, []))


def test_an_old_recording_stays_until_there_is_a_new_one():
    """It is there after a run that could not start, and another run does not write into it."""
    with scratch() as d:
        path = os.path.join(d, "a.stwrun")
        eq(steward("run", "--ram", "256M", "--record", path, "true", STUB="pressure").returncode, 0)
        with open(path, "rb") as f:
            old = f.read()
        eq(steward("run", "--ram", "256M", "--record", path, "--stats", "/nonexistent/x", "true", STUB="pressure").returncode, 125)
        with open(path, "rb") as f:
            eq(f.read(), old)
        p = subprocess.Popen([STEWARD, "run", "--ram", "256M", "--record", path, "sh", "-c", "echo ready; read x"], text=True,
                             env=environment(STUB="pressure"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        eq(p.stdout.readline(), "ready\n")
        r = steward("run", "--ram", "256M", "--record", path, "true", STUB="pressure")
        p.communicate("\n", 20)
        eq((r.returncode, r.stderr), (125, f"steward: {path}: another steward run records there; give --record another file\n"))
        eq(steward("report", path, "-o", os.path.join(d, "r.html")).returncode, 0)


def test_a_full_disk_ends_the_recording_and_not_the_run():
    with scratch() as d:
        path, small = os.path.join(d, "a.stwrun"), 'mount -t tmpfs -o size=8k none "$0" && exec "$@"'
        r = steward("run", "--ram", "256M", "--record", path, "sleep", "2", prefix=("unshare", "-m", "sh", "-c", small, d), STUB="pressure")
        if r.returncode == 1:
            raise Skip(r.stderr)
        lines = [line for line in r.stderr.splitlines() if path in line]
        full = "cannot be written (No space left on device); the recording ends here, the run goes on"
        eq((r.returncode, lines), (0, [f"steward: {path}: {full}"]))


def test_wrong_usage_of_record():
    for value, line in (("", "--record: the file name is empty; give one"),
                        ("a,max=x", '--record: "x" is not a size; write it as max=64M'),
                        ("a,max=10K", "--record: a recording takes from 1M to 64G, not 10K; give another size")):
        r = steward("run", "--record", value, "true")
        eq((r.stderr, r.returncode), (f"steward: {line}\n", 2))
    for path, why in (("/no/such", "cannot be written (No such file or directory); give --record another file"),
                      ("/dev/null", "a recording is written in a circle, which only a file allows; give --record one")):
        r = steward("run", "--ram", "256M", "--record", path, "true", STUB="fit")
        eq((r.stderr, r.returncode), (f"steward: {path}: {why}\n", 125))


# --- the page ---

def by_time(samples, value):
    return [value(s) for s in samples]


def rates(samples, name):
    first = [None]
    return first + [max(b["counters"][name] - a["counters"][name], 0) / (b["ns"] - a["ns"]) * 1e9 for a, b in zip(samples, samples[1:])]


def near(got, want):
    eq(len(got), len(want))
    for g, w in zip(got, want):
        assert g == w or abs(g - w) <= 1e-6 * abs(w), (g, w)


FIND = "steward.charts.find(c => c.chart.title === %s)"


def line(page, title, name):
    """The values of one line of a chart."""
    chart = FIND % json.dumps(title)
    return page.run(f"({chart}).chart.series.find(s => s.name === {json.dumps(name)}).y")


def quantile(before, now, share):
    """The upper end of the bucket in which that share of the faults between two samples ends."""
    floor = lambda b: b if b < 8 else (8 + b % 8) << (b // 8 - 1)
    rise = {b: n - before["histogram"].get(b, 0) for b, n in now["histogram"].items()}
    want, seen = -(-sum(rise.values()) * share // 1000), 0
    for bucket in sorted(rise):
        seen += rise[bucket]
        if seen >= want and seen > 0:
            return min(floor(bucket + 1), now["faults"]["max"])
    return None


def test_figures_in_the_page_are_those_of_the_recording():
    path, _ = recorded()
    samples = of_kind(stwrun.read(path)[1], "sample")
    with browser(made(path)) as page:
        eq(page.run((FIND + ".chart.x") % '"What the run has, and its budget"'), [s["ns"] for s in samples])
        for title, name, value in (
                ("What the run has, and its budget", "the program, in memory", lambda s: s["use"]["managed"] + s["use"]["unmanaged"]),
                ("What the run has, and its budget", "out", lambda s: s["use"]["swapped"]),
                ("What the run has, and its budget", "budget", lambda s: s["ram"]),
                ("Free memory between its watermarks", "free", lambda s: s["frames"]["free"]),
                ("Pages that are out", "pool", lambda s: s["areas"][0]["used"])):
            eq(line(page, title, name), [PAGE * v for v in by_time(samples, value)])
        for name, key in (("held", "held"), ("in use", "live"), ("free chunks", "free_chunks")):
            eq(line(page, "What malloc holds, and what of it is in use", name), [s["use"][key] for s in samples])
        near(line(page, "malloc fragmentation: of what it holds", "not in use"),
             [100 - 100 * s["use"]["live"] / s["use"]["held"] if s["use"]["held"] else None for s in samples])
        for title, name, counter in (("Faults a second", "major: was out", "pgmajfault"),
                                     ("Pages in and out a second", "out", "pswpout"),
                                     ("Refaults a second: evicted pages", "came back", "workingset_refault"),
                                     ("Reclaim: pages a second", "looked at by kswapd", "pgscan_kswapd")):
            near(line(page, title, name), rates(samples, counter))
        most, free = 2 * max(s["frames"]["high"] for s in samples) * PAGE, [s["frames"]["free"] * PAGE for s in samples]
        if sum(n <= most for n in free) <= len(free) // 2:
            most = math.inf
        high = max(max(free), *(s["frames"]["high"] * PAGE for s in samples))
        marks = FIND % '"Free memory between its watermarks"'
        eq(page.run(f"({marks}).plot.scales.y.max"), min(most, high * 1.05))
        eq("what is above is not drawn" in page.run(f"({marks}).element.textContent"), high > most)
        eq(line(page, "Over time", "99 in 100 at most"), [None] + [quantile(a, b, 990) for a, b in zip(samples, samples[1:])])
        eq(sum(line(page, "Faults by how long they took", "faults")),
           sum(n for bucket, n in samples[-1]["histogram"].items() if bucket >= 8))
        eq(page.run("[...document.querySelectorAll('td')].find(e => e.textContent === 'pgmajfault').nextSibling.textContent")
           .replace(" ", ""), str(samples[-1]["counters"]["pgmajfault"]))


def test_a_long_recording_makes_a_page_that_is_no_longer():
    with scratch() as d:
        path = os.path.join(d, "long.stwrun")
        with open(path, "wb") as f:
            f.write(stwrun.repeated(recorded()[0], 300))
        samples = of_kind(stwrun.read(path)[1], "sample")
        assert len(samples) > 4000, len(samples)
        page = made(path)
        assert os.path.getsize(page) < 2 << 20, os.path.getsize(page)
        by_ns = {s["ns"]: s for s in samples}
        with browser(page) as b:
            chart = FIND % '"What the run has, and its budget"'
            drawn = [by_ns[ns] for ns in b.run(f"({chart}).chart.x")]
            eq((len(drawn), drawn[0], drawn[-1]), (1000, samples[0], samples[-1]))
            eq(line(b, "What the run has, and its budget", "out"), [s["use"]["swapped"] * PAGE for s in drawn])
            near(line(b, "Faults a second", "major: was out"), rates(drawn, "pgmajfault"))
    used = lambda s: sum(s["use"][k] for k in ("managed", "pool", "own", "unmanaged"))
    for k in range(1, 999):
        stretch = samples[k * len(samples) // 1000:(k + 1) * len(samples) // 1000]
        eq(used(drawn[k]), max(map(used, stretch)))


def test_the_slider_moves_the_figures():
    path, _ = recorded()
    samples = of_kind(stwrun.read(path)[1], "sample")
    with browser(made(path)) as page:
        shown = (FIND + ".values.map(v => v.textContent)") % '"What the run has, and its budget"'
        out = (FIND + ".figures(steward.now)[4]") % '"What the run has, and its budget"'
        at_first = page.run(shown)
        eq((page.run("steward.now * 2"), page.run("slider.value")), (samples[-1]["ns"], "500"))
        page.run("slider.focus()")
        page.press("Home", 36)
        page.press("ArrowRight", 39)
        eq((page.run("slider.value"), page.run("steward.now * 1000")), ("1", samples[-1]["ns"]))
        page.run("slider.value = 750; slider.dispatchEvent(new Event('input'))")
        then = [s for s in samples if s["ns"] <= samples[-1]["ns"] * .75][-1]
        eq(page.run(out), then["use"]["swapped"] * PAGE)
        assert page.run(shown) != at_first
        page.run("document.querySelector('.events button').click()")
        assert page.run("steward.now") < samples[1]["ns"] * 2


def test_phone_and_dark_and_two_inputs():
    path, _ = recorded()
    with browser(made(path, path), width=360) as page:
        eq(page.run("document.querySelectorAll('article').length"), 2)
        assert page.run("document.documentElement.scrollWidth") <= 360
        light = page.run("getComputedStyle(document.body).backgroundColor")
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        assert page.run("getComputedStyle(document.body).backgroundColor") != light
        page.call("Emulation.setDeviceMetricsOverride", width=1000, height=900, deviceScaleFactor=1, mobile=False)
        assert page.run("new Promise(done => setTimeout(() => done(document.documentElement.scrollWidth), 200))") <= 1000


def headline(*command, ram="256M", **env):
    with scratch() as d:
        path = os.path.join(d, "a.stwrun")
        steward("run", "--ram", ram, "--record", path, *command, **env)
        return re.search(r'"headline":"([^"]*)"', steward("report", path, "-o", "-").stdout).group(1)


def test_the_headline_says_what_happened_and_what_to_change():
    text = headline("sleep", "0.2", STUB="fit")
    assert re.fullmatch(r"Nothing was paged: at most [0-9.]+ MiB of 256 MiB were used, so a budget of [0-9]+ MiB would do\.", text), text
    text = headline("sleep", "0.2", STUB="pressure")
    assert re.fullmatch(r"It ran in 256 MiB instead of 43[78] MiB and waited for pages [0-9.]+ % of the time.*\.", text), text
    text = headline("true", STUB="fatal")
    assert text.startswith("Out of room: the budget of 128M is used") and text.endswith("give more with --swap."), text


def test_names_of_others_stay_text():
    with scratch() as d:
        path = os.path.join(d, "a.stwrun")
        eq(steward("run", "--ram", "256M", "--record", path, "sh", "-c", ": '</script><b>&\\'", STUB="fit").returncode, 0)
        with browser(made(path)) as page:
            assert "sh -c : '</script><b>&\\'" in page.run("document.querySelector('h1').textContent")


def test_the_page_map_has_the_pages_of_the_recording():
    path, _ = recorded()
    records = stwrun.read(path)[1]
    maps = of_kind(records, "map")
    # The last one in which the process answered; as it ends it does not, or has nothing mapped any more.
    last = max(i for i, m in enumerate(maps) if any(a["managed"] and any(part["mapped"] for part in a["parts"]) for a in m["areas"]))
    want = {k: 0 for k in ("mapped", "sample", "pool", "same", "filed", "discardable")}
    rest = 0
    for area in maps[last]["areas"]:
        shown = area["managed"] and not area["own"] and any(v for part in area["parts"] for k, v in part.items() if k != "discardable")
        for part in area["parts"]:
            rest += 0 if shown else part["mapped"]
            for state in want:
                want[state] += part[state] if shown else 0
    assert want["pool"] + want["filed"] + want["same"] > 1000 and want["mapped"] > 1000, want
    nearest = min(of_kind(records, "sample"), key=lambda s: abs(s["ns"] - maps[last]["ns"]))
    managed = nearest["use"]["managed"]
    assert abs(want["mapped"] + want["sample"] - managed) < managed / 4, (want, managed)
    with browser(made(path)) as page:
        eq(page.run("steward.maps.length"), 1)
        cells = page.run(f"steward.maps[0].map.cells[{last}]")
        eq([sum(cells[i::6]) for i in range(6)], list(want.values()))
        eq((page.run("steward.maps[0].map.ns"), page.run(f"steward.maps[0].map.rest[{last}]")), ([m["ns"] for m in maps], rest))
        page.run(f"steward.move({maps[last]['ns']})")
        row = "document.querySelector('.map tbody tr:last-child td:nth-child(3)').textContent"
        eq(page.run(row), page.run(f"format('bytes', {rest * PAGE})"))


def test_areas_that_grow_before_they_are_touched_and_areas_that_are_replaced():
    with scratch() as d:
        path, again = (os.path.join(d, n) for n in ("a.stwrun", "b.stwrun"))
        eq(steward("run", "--ram", "256M", "--record", path, "sleep", "0.3", STUB="pressure").returncode, 0)
        samples = of_kind(stwrun.read(path)[1], "sample")
        one, = samples[1]["processes"]
        maps = [[(0x1000, 0x100, 0x100, [10])],
                # Grown, and what is new is untouched; another one in its place, larger and untouched.
                [(0x1000, 0x8000, 0x800, [10] + [0] * 15)],
                [(0x1000, 0x100, 0x100, [7]), (0x20000, 0x100, 0x80, [3, 4])],
                [(0x1000, 0x40000, 0x4000, [0] * 16)]]
        for cut in (maps, maps[:1] + maps[3:], [maps[2], maps[3]]):
            with open(path, "rb") as f:
                data = f.read()
            kept = [b[2:] for b in stwrun.blocks(data) if b[3] == "sample"]
            kept += [(kept[-1][0] + i, "map", stwrun.map_payload(one["pid"], one["start"], *m)) for i, m in enumerate(cut)]
            with open(again, "wb") as f:
                f.write(data[:stwrun.HEADER] + b"".join(stwrun.block(i, *record) for i, record in enumerate(kept)))
            with browser(made(again)) as page:
                cells = page.run("steward.maps[0].map.cells")
                eq([sum(c[::6]) for c in cells], [sum(sum(a[3]) for a in m) for m in cut])
                eq([sum(c) for c in cells], [sum(sum(a[3]) for a in m) for m in cut])
                eq(page.run("steward.maps[0].map.rest"), [0] * len(cut))


def test_a_decision_of_the_oom_killer_is_kept_with_its_table():
    with scratch() as d:
        path = os.path.join(d, "a.stwrun")
        r = steward("run", "--ram", "256M", "--record", path, "-v", "sh", "-c", "/bin/true; echo $?", STUB="pressure", STUB_ONLY="none",
                    STUB_ASKS="true")
        run, records = stwrun.read(path)
        one, = of_kind(records, "oom")
        told = [line.split() for line in r.stderr.splitlines() if line.startswith("  ") and line.endswith("◄")]
        with browser(made(path)) as page:
            row = page.run("[...document.querySelectorAll('tr')].find(r => r.textContent.endsWith('it went')).textContent")
            headline = page.run("document.querySelector('.headline').textContent")
    (pid, name), victim = told[0][:2], one["tasks"][one["victim"]]
    eq((one["what"], victim["name"], str(victim["pid"]), victim["swapped"]), ("out of memory", name, pid, 90000))
    assert row.startswith(f"{pid} {name}"), row
    assert headline.startswith("Out of memory: killed true (pid "), headline
    eq(str(victim["points"]), told[0][-2])


# --- traces and simulations ---

def test_a_trace_and_a_simulation_side_by_side():
    with scratch() as d:
        trace, sim, page = (os.path.join(d, n) for n in ("t.stw", "sim.json", "page.html"))
        touches = "page,rw,count\n" + "".join(f"{0x10000 + i},W,1000\n" for _ in range(6) for i in range(400))
        subprocess.run([STEWARD, "import", "--from", "csv", "-", "-o", trace], input=touches, text=True, check=True)
        eq(steward("sim", trace, "--set", "memory.limit=1M", "--json", sim, timeout=60).returncode, 0)
        plan = json.loads(steward("plan", trace, "--json", "-", timeout=60).stdout)
        r = steward("report", trace, sim, "-o", page, timeout=60)
        eq((r.stderr, r.returncode), ("", 0))
        eq(steward("report", sim, "--fail-if", "pswpout > 0").returncode, 124)
        eq(steward("report", trace, "--fail-if", f"keeps_bytes > {plan['keeps_bytes']}", timeout=60).returncode, 0)
        with open(sim) as f:
            timeline = json.load(f)["timeline"]
        with browser(page) as b:
            eq(b.run("document.querySelectorAll('article')[0].querySelector('.headline').textContent"), plan["headline"])
            eq(line(b, "Lists, page tables, swap", "in swap"), [s["swap_pages"] * PAGE for s in timeline])
            ends = [s["faults"]["major"] for s in timeline]
            near(line(b, "Faults a second", "major")[1:], [(b - a) / (t["ns"] - s["ns"]) * 1e9 if t["ns"] > s["ns"] else None
                                                          for a, b, s, t in zip(ends, ends[1:], timeline, timeline[1:])])


# --- conditions, bad input ---

def test_conditions_are_those_of_run():
    with scratch() as d:
        path = os.path.join(d, "a.stwrun")
        eq(steward("run", "--ram", "256M", "--record", path, "true", STUB="pressure").returncode, 0)
        for condition, status in (("major>1003", 0), ("major>1002", 124), ("peak.pool_bytes = 8000*4K", 124), ("exit.status > 0", 0)):
            r = steward("report", path, "--fail-if", condition)
            eq((r.returncode, r.stdout), (status, ""))
        r = steward("report", path, "--fail-if", "majr>1")
        assert r.returncode == 2 and "majr" in r.stderr, r.stderr


NEITHER = "byte 0: neither a recording of steward run nor a trace nor the JSON of steward sim; name one"


def test_wrong_usage_of_report():
    for args, line in (([], "report: no file given; steward run --record F.stwrun -- CMD makes one"),
                       (["a"], "report: no file to write to; give one with -o out.html"),
                       (["a", "b", "c", "-o", "-"], "c: two files at most; leave it out"),
                       (["/no/such", "-o", "-"], "/no/such: it cannot be opened (No such file or directory); check the name"),
                       (["/dev/null", "-o", "-"], f"/dev/null: {NEITHER}")):
        r = steward("report", *args)
        eq((r.stderr, r.stdout, r.returncode), (f"steward: {line}\n", "", 2))


def test_damage_is_told_with_its_place():
    with scratch() as d:
        path, bad, page = (os.path.join(d, n) for n in ("a.stwrun", "bad.stwrun", "p.html"))
        eq(steward("run", "--ram", "256M", "--record", path, "sleep", "0.3", STUB="pressure").returncode, 0)
        with open(path, "rb") as f:
            data = f.read()
        third = stwrun.read(path)[1][2]["at"]
        last = stwrun.read(path)[1][-1]["at"]
        again = "; get or make it again\n"
        for damaged, line, status in (
                (data[:third + 40] + b"\xff\xff" + data[third + 42:], f"byte {third}: cut or damaged; what can be read is shown\n", 0),
                (data[:last + 50], f"byte {last}: cut or damaged; what can be read is shown\n", 0),
                (data[:4096], "nothing is in it yet; let the run go on for a moment\n", 2),
                (data[:1000], "byte 1000: cut in its header" + again, 2),
                (data[:50] + b"!" + data[51:], "byte 32: its header is damaged" + again, 2),
                (data[:8] + b"\x07" + data[9:], "byte 8: of another version of Steward" + again, 2),
                (b"hello", NEITHER + "\n", 2)):
            with open(bad, "wb") as f:
                f.write(damaged)
            r = steward("report", bad, "-o", page)
            eq((r.stderr, r.returncode, os.path.exists(page)), (f"steward: {bad}: {line}", status, status == 0))
            if status == 0:
                os.unlink(page)


main(globals())
