"""steward plan and steward sim: small traces whose answers are known, their files, and bad input."""
import json
import os
import random
import re
import subprocess

from browser import browser
from tap import STEWARD, eq, main, scratch, steward

PAGE = 4096
LIMIT = ["--set", "memory.limit=1G"]


def trace(folder, lines, name="t.stw"):
    """A trace of lines "page,rw,count"."""
    path = os.path.join(folder, name)
    text = ("page,rw,count\n" if lines and lines[0].count(",") > 1 else "page,rw\n") + "".join(lines)
    subprocess.run([STEWARD, "import", "--from", "csv", "-", "-o", path], input=text, text=True, check=True)
    return path


def made(folder, kind):
    """A trace that tests/cli/trace-make.c writes."""
    path = os.path.join(folder, kind + ".stw")
    with open(path, "wb") as f:
        subprocess.run([os.environ["TRACE_MAKE"], kind], stdout=f, check=True)
    return path


def test_threads_that_have_a_cpu_each_take_the_time_of_one():
    with scratch() as d:
        path = os.path.join(d, "t.stw")
        lines = [f"1,{thread},W,{thread * 1000 + i % 10}\n" for i in range(3000) for thread in range(4) if thread < 3 or i < 1000]
        subprocess.run([STEWARD, "import", "--from", "csv", "-", "-o", path], input="task,thread,rw,page\n" + "".join(lines), text=True,
                       check=True)
        for cpus, touches in ((4, 3000), (2, 6000), (1, 10000)):
            sim = as_json("sim", path, "--set", f"cpu.count={cpus}", "--set", "cpu.access=100ns")
            eq((sim["touches"], sim["own_ns"]), (10000, touches * 100))


def loop(pages, rounds, count=1):
    return [f"{0x10000 + i},W,{count}\n" for _ in range(rounds) for i in range(pages)]


def as_json(*args):
    r = steward(*args, "--json", "-", timeout=120)
    eq((r.returncode, r.stderr), (0, ""))
    return json.loads(r.stdout)


def fails(args, status, line):
    r = steward(*args)
    eq(r.stderr, f"steward: {line}\n")
    eq((r.returncode, r.stdout), (status, ""))


# --- what comes out ---

def test_a_touch_that_faults_is_one_that_the_tlb_missed_once():
    with scratch() as d:
        sim = as_json("sim", trace(d, loop(100, 3)))
        hits = sum(t["hits"] for t in sim["tlbs"])
        eq(sim["timeline"][-1]["tlb_misses"], sim["touches"] - hits)
        assert sim["walks"] == sim["touches"] - hits + 100, sim["walks"]


def test_names_of_processes_do_not_reach_the_terminal_as_they_are():
    with scratch() as d:
        path = os.path.join(d, "t.stw")
        lines = "".join(f"a\x1b[31mb\x07,W,{i}\n" for i in range(400))
        subprocess.run([STEWARD, "import", "--from", "csv", "-", "-o", path], input="task,rw,page\n" + lines, text=True, check=True)
        r = steward("sim", path, "--set", "memory.limit=1M", "--set", "swap=[]")
        eq((r.returncode, r.stderr), (0, ""))
        assert "(a?[31mb?)" in r.stdout and "killed by the OOM killer" in r.stdout, r.stdout
        assert "\x1b" not in r.stdout and "\x07" not in r.stdout, r.stdout


def test_a_loop_needs_exactly_its_pages_and_tables():
    with scratch() as d:
        for pages in (100, 250, 400):
            plan = as_json("plan", trace(d, loop(pages, 30)), *LIMIT)
            tables = plan["footprint_bytes"] // PAGE - pages
            assert 3 <= tables <= 5, tables
            eq(plan["keeps_bytes"], (pages + tables) * PAGE)
            eq(plan["quick_bytes"], plan["keeps_bytes"])
            eq((plan["varied"], plan["touched_pages"], plan["works_bytes"]), ("limit", pages, 256 * 1024))
            for point in plan["points"]:
                fits = point["bytes"] >= plan["keeps_bytes"]
                eq((point["major"] == 0, point["lru_misses"]), (fits, 0 if fits else pages * 29))


def distances(pages):
    """Stack distances by a list that is searched: Mattson's own way. None: a first touch."""
    stack = []
    for page in pages:
        at = stack.index(page) if page in stack else None
        if at is not None:
            stack.pop(at)
        stack.insert(0, page)
        yield None if at is None else at + 1


def test_what_lru_misses_is_what_the_lru_policy_misses():
    rng = random.Random(5)
    touched = [0x10000 + int(400 * rng.random() ** 2) for _ in range(8000)]
    stack = [d for d in distances(touched) if d is not None]
    with scratch() as d:
        path = trace(d, [f"{page},W,2000\n" for page in touched])
        plan = as_json("plan", path, *LIMIT, "--policy", "lru", "--set", "vm.page_cluster=0", "--set", "memory.limit_flush=0ns")
        tables = plan["footprint_bytes"] // PAGE - plan["touched_pages"]
        for point in plan["points"]:
            size = max(point["bytes"] // PAGE - tables, 0)
            eq(point["lru_misses"], sum(d > size for d in stack))
            # Reclaim frees 32 pages at once, so that memory holds up to so many less.
            assert point["lru_misses"] <= point["major"] <= sum(d > size - 33 for d in stack), point
        assert sum(point["major"] > 0 for point in plan["points"]) > 10


def test_more_slowdown_needs_no_more_memory():
    with scratch() as d:
        # A hot half, and a cold half that comes seldom.
        lines = [line for k in range(40) for line in loop(128, 1, 5000) + loop(256, 1)[128 + 3 * k:131 + 3 * k]]
        path = trace(d, lines)
        sizes = [as_json("plan", path, *LIMIT, "--points", "6", "--slowdown", s)["keeps_bytes"] for s in ("0%", "2.5%", "20%", "1000%")]
        eq(sizes, sorted(sizes, reverse=True))
        assert sizes[0] > sizes[-1], sizes


def test_answers_divide_the_points():
    with scratch() as d:
        plan = as_json("plan", trace(d, loop(600, 4, 30) + loop(150, 200, 300)), *LIMIT, "--points", "8")
        points, enough = plan["points"], plan["enough_ns"]
        eq([p["bytes"] for p in points], sorted({p["bytes"] for p in points}))
        assert all(p["bytes"] % plan["grain_bytes"] == 0 for p in points)
        for key, good in (("keeps_bytes", lambda p: p["end"] == "done" and p["time_ns"] <= 1.05 * enough),
                          ("quick_bytes", lambda p: p["end"] == "done" and p["time_ns"] < 2 * enough)):
            above = [p for p in points if p["bytes"] >= plan[key]]
            below = [p for p in points if p["bytes"] < plan[key]]
            assert all(map(good, above)), key
            if below:
                assert not good(below[-1]), key
                eq(above[0]["bytes"] - below[-1]["bytes"], plan["grain_bytes"])


def test_memory_is_varied_where_there_is_no_limit():
    with scratch() as d:
        plan = as_json("plan", trace(d, loop(3000, 5)))
        eq(plan["varied"], "memory")
        assert plan["keeps_bytes"] >= plan["footprint_bytes"]
        assert plan["points"][-1]["end"] == "done"


def test_without_swap_less_is_death():
    with scratch() as d:
        plan = as_json("plan", trace(d, loop(300, 5)), *LIMIT, "--set", "swap=[]")
        eq(plan["keeps_bytes"], plan["works_bytes"])
        assert plan["headline"].endswith("; with less it is killed."), plan["headline"]


def test_working_set_follows_the_phases():
    with scratch() as d:
        # 1024 touches of 16 pages, then 1024 of 128, and none after.
        plan = as_json("plan", trace(d, loop(16, 64) + loop(128, 8)), *LIMIT)
        eq((plan["clock"], plan["touched_pages"]), ("touches", 128))
        window = next(w for w in plan["working_set"] if w["window"] == 256)
        eq(window["pages"][:8], [16] * 4 + [128] * 4)


def test_the_same_bytes_each_time():
    with scratch() as d:
        path = trace(d, loop(200, 10) + loop(90, 30))
        outputs = []
        for cpus in ("0", "0-63"):
            files = [os.path.join(d, n) for n in ("o.json", "o.html")]
            r = steward("plan", path, *LIMIT, "--json", files[0], "-o", files[1], timeout=120,
                        prefix=("taskset", "-c", cpus) if cpus == "0" else ())
            eq(r.returncode, 0)
            outputs.append((r.stdout, *(open(f).read() for f in files)))
        eq(outputs[0], outputs[1])
        eq(*(steward("sim", path, *LIMIT, "-t").stdout for _ in range(2)))


def test_the_terminal_has_80_columns():
    with scratch() as d:
        r = steward("plan", trace(d, loop(500, 6) + loop(100, 300, 20)), *LIMIT, timeout=120)
        eq((r.returncode, r.stderr), (0, ""))
        assert max(map(len, r.stdout.splitlines())) <= 80, max(r.stdout.splitlines(), key=len)
        assert re.match(r"\d+(\.\d+)? [KM]iB as the limit keep it within 5 % \(footprint ", r.stdout), r.stdout
        assert "\x1b" not in r.stdout


def data_of(page):
    """What a page is made of, and the page without it."""
    with open(page, encoding="utf-8") as f:
        before, _, rest = f.read().partition('<script type="application/json" id="data">')
    data, _, after = rest.partition("</script>")
    return json.loads(data), before + after


def items(data, kind):
    return [item[kind] for i in data["inputs"] for section in i["sections"] for item in section["items"] if kind in item]


def test_pages_are_whole_and_need_no_network():
    with scratch() as d:
        path = trace(d, loop(300, 6))
        page = os.path.join(d, "page.html")
        for args in (["plan", path, *LIMIT, "-o", page], ["sim", path, "--set", "memory.limit=1M", "--report", page]):
            eq(steward(*args, timeout=120).returncode, 0)
            data, rest = data_of(page)
            charts = items(data, "chart")
            assert len(charts) >= 3, len(charts)
            for chart in charts:
                for series in chart["series"]:
                    x = series.get("x") or chart["x"]
                    eq((len(series["y"]), x), (len(x), sorted(x)))
            for table in items(data, "table"):
                eq({len(row) for row in table["rows"]}, {len(table["heads"])})
            eq(re.findall(r"(?:src|href)=|url\(|@import", rest), [])
            assert "prefers-color-scheme: dark" in rest


def test_a_browser_draws_them():
    with scratch() as d:
        path = trace(d, loop(300, 6))
        page = os.path.join(d, "page.html")
        for args in (["plan", path, *LIMIT, "-o", page], ["sim", path, "--set", "memory.limit=1M", "--report", page]):
            eq(steward(*args, timeout=120).returncode, 0)
            with browser(page, width=360) as b:
                eq(b.run("document.querySelectorAll('figure canvas').length"), len(items(data_of(page)[0], "chart")))
                assert b.run("document.documentElement.scrollWidth") <= 360


def steps_of(path, page, *args):
    r = steward("sim", path, *args, "--report", page, "--steps", timeout=60)
    eq((r.returncode, r.stderr), (0, ""))
    one, = items(data_of(page)[0], "steps")
    return one


def recency(touched):
    """After each touch: the pages, the one used last first."""
    stack = []
    for page in touched:
        stack = [page] + [p for p in stack if p != page]
        yield stack


def test_steps_are_those_of_a_list_by_recency():
    touched = [0x10000 + i for _ in range(2) for k in range(70) for i in ([k, 0] if k % 7 == 0 else [k])]
    with scratch() as d:
        path = trace(d, [f"{page},W\n" for page in touched])
        machine = ["-m", os.path.join(os.environ["MACHINES"], "textbook.yaml"), "--set", "memory.limit=256K"]
        got = steps_of(path, os.path.join(d, "p.html"), *machine)
        steps = [s for s in got["steps"] if " page 0x" in s["text"]]
        times = [page for i, page in enumerate(touched) if i == 0 or touched[i - 1] != page]
        eq([int(s["text"].split("page 0x")[1].rstrip(".").split(",")[0], 16) for s in steps], times)
        for step, stack in zip(steps, recency(times)):
            resident = stack[:64]
            eq((step["lists"][0]["pages"], step["charged"]), (len(resident), len(resident)))
            eq([int(p, 16) for p in step["lists"][0]["youngest"]], resident[:40])
        out = [int(t.split("0x")[1].split(" ")[0], 16) for s in steps for t in s["also"] if " goes out" in t]
        eq(out, [stack[64] for stack, before in zip(recency(times), [[], *recency(times)]) if len(stack) > 64 and stack[0] not in before[:64]])
        # What is neither free nor a page nor a table is slabs, which only grow here.
        rest = [sum(n << o for zone in s["free"] for o, n in enumerate(zone)) + s["charged"] + s["tables"] for s in steps]
        eq(rest, sorted(rest, reverse=True))


def test_steps_show_translations_and_are_played_forward_and_back():
    with scratch() as d:
        page = os.path.join(d, "p.html")
        got = steps_of(trace(d, [f"{0x10000 + i},W\n" for i in (0, 1, 2, 0, 1)]), page)
        texts = [s["also"] for s in got["steps"][-5:]]
        eq([t[0] for t in texts], 3 * ["No TLB has it: the page tables are walked."] + 2 * ["L1 data has the translation."])
        eq(got["steps"][-1]["tlb"][0][:3], ["0x10001", "0x10000", "0x10002"])
        eq([w["level"] for w in got["steps"][-1]["walk"]], [4, 3, 2, 1])
        eq(got["steps"][-1]["walk"][-1]["index"], 1)
        with browser(page) as b:
            click = "[...document.querySelectorAll('.controls button')].find(b => b.textContent.includes('%s')).click()"
            for button, number in (("forward", 1), ("forward", 2), ("back", 1), ("back", 0), ("back", 0)):
                b.run(click % button)
                eq(b.run("document.querySelector('.sentence').textContent"), got["steps"][number]["text"])
            b.run("document.querySelector('.player input').focus()")
            b.press("End", 35)
            eq(b.run("document.querySelector('.sentence').textContent"), got["steps"][-1]["text"])
            assert b.run("document.querySelectorAll('.chip').length") >= 6


def test_wrong_usage_of_steps():
    with scratch() as d:
        path = trace(d, loop(3, 1))
        fails(["sim", path, "--steps"], 2, "--steps: they are played in a page; give --report FILE, too")
        fails(["sim", path, path, "--steps", "-r", "x"], 2, "--steps: they are those of one trace; leave the others out")
        for bad in ("0", "x", "2001", ""):
            fails(["sim", path, f"--steps={bad}", "-r", "x"], 2, f'--steps: "{bad}" is not a number from 1 to 2000; give one')
        eq(len(steps_of(path, os.path.join(d, "p.html"))["steps"]), 4)


def test_processes_and_their_time():
    with scratch() as d:
        path, page = made(d, "family"), os.path.join(d, "page.html")
        plan = as_json("plan", path, *LIMIT)
        # 200 of the parent and 400 of the child; it ran 42 ms.
        eq((plan["clock"], plan["touched_pages"]), ("ns", 600))
        window = plan["working_set"][0]
        eq(len(window["pages"]), 42000000 // window["window"] + 1)
        assert max(plan["working_set"][2]["pages"]) == 600
        eq(steward("sim", path, "-r", page).returncode, 0)
        names = [s["name"] for chart in items(data_of(page)[0], "chart") for s in chart["series"]]
        for name in ("1 parent", "2 child <&>"):
            eq(names.count(name), 2)


def test_what_a_killed_parent_would_have_forked_is_left_out():
    never = "not forked: its parent was killed"
    with scratch() as d:
        path = made(d, "heirs")
        for limit, touches, ends in (("1G", [200, 1, 1], ["exited"] * 3),
                                     ("512K", None, ["killed by the OOM killer", never, never])):
            tasks = as_json("sim", path, "--set", f"memory.limit={limit}", "--set", "swap=[]")["tasks"]
            eq([t["end"] for t in tasks], ends)
            eq([t["touches"] for t in tasks], touches or [tasks[0]["touches"], 0, 0])
        plan = as_json("plan", path, *LIMIT, "--set", "swap=[]")
        eq({p["end"] for p in plan["points"]}, {"done", "killed"})


def test_a_machine_of_two_nodes():
    with scratch() as d:
        page = os.path.join(d, "page.html")
        machine = os.path.join(os.environ["MACHINES"], "server-2node.yaml")
        eq(steward("sim", "-m", machine, made(d, "family"), "-r", page).returncode, 0)
        titles = [chart["title"] for chart in items(data_of(page)[0], "chart")]
        for node in (0, 1):
            assert f"Free memory of node {node}, and its watermarks" in titles
        plan = as_json("plan", "-m", machine, made(d, "family"), "--points", "4")
        assert plan["keeps_bytes"] < 64 << 20, plan["keeps_bytes"]


def test_names_of_others_stay_text():
    with scratch() as d:
        path = os.path.join(d, "machine.yaml")
        with open(path, "w") as f:
            f.write('name: "<script>&x"\n')
        page = os.path.join(d, "page.html")
        eq(steward("sim", "-m", path, trace(d, loop(10, 2)), "-r", page).returncode, 0)
        data, rest = data_of(page)
        assert "<script>&x" in data["inputs"][0]["title"] and "<script>&x" not in rest


# --- the document ---

def fields(value, prefix=""):
    for key, inner in value.items():
        path = prefix + key
        yield path
        if isinstance(inner, dict) and key != "counters":
            yield from fields(inner, path + ".")
        elif isinstance(inner, list) and inner and isinstance(inner[0], dict):
            yield from fields(inner[0], path + "[].")


def test_json_is_as_documented():
    with open(os.path.join(os.environ["DOCS_DIR"], "sim-schema.md")) as f:
        doc = f.read()
    sim_doc, plan_doc = re.split(r"^## `steward plan", doc, flags=re.M)
    sim_doc, counters_doc = sim_doc.split("### counters")
    documented = lambda part: re.findall(r"^\| `([^`]+)` \|", part, re.M)
    with scratch() as d:
        path = trace(d, loop(300, 5))
        sim = as_json("sim", path, "--set", "memory.limit=512K", "--set", "swap=[]")
        assert sim["oom"] and sim["timeline"] and sim["tasks"]
        eq(sorted(set(fields(sim))), sorted(documented(sim_doc)))
        eq(sorted(sim["counters"]), sorted(documented(counters_doc)))
        eq(sorted(set(fields(as_json("plan", path, *LIMIT)))), sorted(documented(plan_doc)))


# --- bad usage and input ---

def test_wrong_usage():
    with scratch() as d:
        path = trace(d, loop(10, 2))
        none = "no trace given; steward record -o T.stw -- CMD makes one"
        fails(["plan"], 2, f"plan: {none}")
        fails(["sim"], 2, f"sim: {none}")
        fails(["plan", path, "more"], 2, "more: one trace at a time; leave it out")
        for bad in ("5", "x%", "-1%", "1.%", "5 %", "%"):
            fails(["plan", path, "--slowdown", bad], 2, f'--slowdown: "{bad}" is not a share; write it as 5% or 2.5%')
        fails(["plan", path, "--slowdown", "100001%"], 2, '--slowdown: "100001%" is too much; 100000% is the most')
        for bad in ("3", "65", "x", "", "-4", "16 "):
            fails(["plan", path, "--points", bad], 2, f'--points: "{bad}" is not a number from 4 to 64; give one')
        fails(["plan", "-"], 2, "-: it is read many times, so it must be a file; save it as one")
        fails(["plan", d], 2, f"{d}: it is read many times, so it must be a file; save it as one")
        for command in ("plan", "sim"):
            r = steward(command, path, "--policy", "oracle-of-delphi")
            assert re.match(r'steward: --policy: "oracle-of-delphi" is unknown; use one of \w', r.stderr), r.stderr
            eq((r.returncode, r.stdout), (2, ""))
            fails([command, "/no/such"], 2, "/no/such: it cannot be opened (No such file or directory); check the name")


def test_bad_input_leaves_nothing():
    with scratch() as d:
        path = trace(d, loop(3000, 5))
        with open(path, "rb") as f:
            whole = f.read()
        out = [os.path.join(d, n) for n in ("o.json", "o.html")]
        for name, content, what in (("none.stw", b"not a trace at all, but long enough", "steward import makes one"),
                                    ("cut.stw", whole[:-30], "get or make it again"),
                                    ("damaged.stw", whole[:60] + b"\xff" + whole[61:], "get or make it again")):
            bad = os.path.join(d, name)
            with open(bad, "wb") as f:
                f.write(content)
            for args in (["plan", bad, "--json", out[0], "-o", out[1]], ["sim", bad, "--json", out[0], "-r", out[1]]):
                r = steward(*args)
                eq(r.returncode, 2)
                eq(r.stderr.count("\n"), 1)
                assert r.stderr.startswith(f"steward: {bad}: ") and what in r.stderr, r.stderr
                eq(r.stdout, "")
        eq(sorted(os.listdir(d)), ["cut.stw", "damaged.stw", "none.stw", "t.stw"])


def test_a_trace_without_touches():
    with scratch() as d:
        path = made(d, "empty")
        fails(["plan", path], 2, f"{path}: no page is touched in it; record what the program does")


def test_files_that_cannot_be_written():
    with scratch() as d:
        path = trace(d, loop(10, 2))
        for args in (["plan", path, "-o"], ["plan", path, "--json"], ["sim", path, "--report"], ["sim", path, "--json"]):
            r = steward(*args, "/no/such/file")
            eq((r.returncode, r.stderr),
               (1, "steward: /no/such/file: No such file or directory; name a file that can be written\n"))
            r = steward(*args, "/dev/full")
            eq((r.returncode, r.stderr),
               (1, "steward: /dev/full: No space left on device; name a file that can be written\n"))


main(globals())
