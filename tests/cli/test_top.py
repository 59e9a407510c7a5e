"""steward top: one screen as text and as JSON; and the live one, in a terminal that remembers what it was told to show."""
import json
import os
import pty
import re
import signal
import subprocess
import time

from running import children_of, printed, process_of, running
from tap import STEWARD, environment, eq, main, steward
from terminal import terminal

PAGE = 4096
KEY_DOWN = "\x1b[B"
SCREEN = """\
steward run {launcher}: sh, 1 process, TIME
budget [#######pps..........] of 256M resident 85M pool 31M Steward OWN
free   [############........] 1.1M min 400K low 800K high 1.5M kswapd 0.0%
lists  [aaaaaaaaaaaaaaaiiiis] active 58M inactive 15M sample 3.9M
out    351M: pool 93M in 31M, ratio 3.0, file:/DIR 257M 3 errors
a sec.  minor N soft N major N in N out N stall N%
fault  <1us @.         .         >268ms  since start: p50 0.0us p99 1.1us
heap   [###############sssff] of 122M live 93M 76.2% slots 17M chunks 10M
    PID STATE   BUDGET   RES  POOL  SWAP MINOR  SOFT MAJOR  STALL COMMAND
{process} engaged   113M   85M   31M  351M     N     N     N     N% sh
"""


def plain(text):
    """Without what is a matter of time."""
    text = re.sub(r"\d+:\d\d:\d\d", "TIME", text)
    text = re.sub(r"Steward [0-9.]+M", "Steward OWN", text)
    text = re.sub(r"file:/\S+", "file:/DIR", text)
    text = re.sub(r"^a sec\..*$", lambda line: re.sub(r" [0-9.]+[kM]?", " N", line.group()), text, flags=re.M)
    return re.sub(r"(351M)( +\S+){3} +[0-9.]+%", r"\1     N     N     N     N%", text)


def top_json(*args):
    return json.loads(printed("top", "--once", "--json", *args))


def test_one_screen():
    with running(STUB="pressure") as run:
        text = printed("top", "--once", str(run.pid))
        want = SCREEN.format(launcher=run.pid, process=f"{process_of(run):7}")
    eq(plain(text).splitlines(), want.splitlines())


def test_the_terminal_shows_the_same():
    with running(STUB="pressure") as run:
        want = printed("top", "--once", str(run.pid)).splitlines()[1:]
        with terminal(str(run.pid)) as t:
            got = t.until(lambda text: "q quit" in text).splitlines()
            eq([plain(line) for line in got[1:len(want) + 1]], [plain(line) for line in want])
            assert got[0].startswith(f"steward run {run.pid}: sh, 1 process, 0:00:0"), got[0]
            eq(got[-1], "q quit  space pause  s sort: stall  t tree  / filter  +- 1.0 s  h help")
            eq(t.quit(), 0)


def test_bars_in_utf8():
    with running(STUB="pressure") as run:
        text = printed("top", "--once", str(run.pid), LC_ALL="C.UTF-8").splitlines()
    assert re.match(r"budget \[█{8,13}·+\] of 256M ", text[1]), text[1]
    assert text[6].startswith("fault  <1us █▁"), text[6]


def test_json_of_one_screen():
    with running(STUB="pressure") as run:
        pid = process_of(run)
        since = top_json(str(run.pid))
        interval = top_json("-d", "20ms", str(run.pid))
    eq(since["interval_ns"], since["age_ns"])
    assert 20e6 <= interval["interval_ns"] < interval["age_ns"], interval
    eq((since["in_interval"]["pgmajfault"], interval["in_interval"]["pgmajfault"]), (1003, 0))
    eq([(p["pid"], p["in_interval"]["pgmajfault"]) for p in since["processes"]], [(pid, 1003)])
    eq((since["fault_ns"]["count"], since["fault_ns"]["histogram"]), (100, {"8": 98, "1024": 1, "1966080": 1}))
    with open(os.path.join(os.environ["DOCS_DIR"], "see-schema.md")) as f:
        doc = f.read()
    for key in (*since, *since["processes"][0]):
        assert f"`{key}`" in doc, f"docs/see-schema.md does not tell about {key}"


def table_of(text):
    """(pid, name with its indent) of each row of the table."""
    rows = re.findall(r"^ *(\d+) (?:native|engaged) .*?[\d.]+% (.*)$", text, re.M)
    return [(int(pid), name) for pid, name in rows]


def test_sorts_filters_and_trees():
    script = "sleep 60 & sh -c 'sleep 61; true' & echo ready; read x"
    with running(script, STUB="pressure", STUB_ONLY="sleep") as run, terminal(str(run.pid), "-d", "100ms") as t:
        t.until(lambda text: len(table_of(text)) == 4)
        shell = process_of(run)
        sleep, inner = sorted(children_of(shell))
        nested, = children_of(inner)
        t.press("s", lambda text: "sort: major " in text)
        t.press("sss", lambda text: "sort: pid " in text)
        eq([pid for pid, _ in table_of(t.text())], sorted([shell, sleep, inner, nested]))
        t.press("r", lambda text: "sort: pid (r)" in text and table_of(text)[0][0] == max(shell, sleep, inner, nested))
        t.press("r", lambda text: "(r)" not in text)
        text = t.press("t", lambda text: "t list" in text and "    sleep" in text)
        eq(table_of(text), [(shell, "sh"), (sleep, "  sleep"), (inner, "  sh"), (nested, "    sleep")])
        text = t.press("t/slee", lambda text: "/slee_" in text and len(table_of(text)) == 2)
        eq([name for _, name in table_of(text)], ["sleep", "sleep"])
        text = t.press("q\n", lambda text: "filter: sleeq" in text)
        assert "no process has the filter in its name or pid" in text, text
        t.press("/\x1b", lambda text: len(table_of(text)) == 4)
        ends = ("ends top; the run goes on$", "Esc clears$", "by up and down$", "go through the processes$")
        t.press("h", lambda text: all(re.search(end, text, re.M) for end in ends))
        t.press("x", lambda text: len(table_of(text)) == 4)
        for pid in (sleep, inner, nested):
            os.kill(pid, signal.SIGKILL)
        t.until(lambda text: len(table_of(text)) == 1)
        eq(t.quit(), 0)


def test_events_as_they_come():
    with running("echo ready; read a; sleep 60 & read b; kill $!; wait; read x", STUB="pressure", STUB_ONLY="sleep") as run, \
            terminal(str(run.pid), "-d", "100ms") as t:
        t.until(lambda text: "q quit" in text)
        run.stdin.write("\n")
        run.stdin.flush()
        t.until(lambda text: re.search(r"^\d\d:\d\d:\d\d \d+ sleep: started$", text, re.M))
        run.stdin.write("\n")
        run.stdin.flush()
        t.until(lambda text: re.search(r"^\d\d:\d\d:\d\d \d+ sleep: ended$", text, re.M))
        run.stdin.write("\n")
        run.stdin.flush()
        t.until(lambda text: "the launcher has ended" in text and "no process is left" in text)
        eq(t.quit(), 0)


def test_what_happens_again_and_again_is_one_line():
    with running(STUB="pressure") as run, terminal(str(run.pid), "-d", "100ms") as t:
        t.until(lambda text: "q quit" in text)
        for times in (5, 10, 15):
            os.kill(process_of(run), signal.SIGUSR1)
            want = rf"^\d\d:\d\d:\d\d direct reclaim: a fault waited for a frame, {times} times( in \d s)?$"
            text = t.until(lambda text, want=want: re.search(want, text, re.M))
            eq(text.count("direct reclaim"), 1)
        eq(t.quit(), 0)


def test_pause_holds_the_screen():
    with running(STUB="pressure") as run, terminal(str(run.pid), "-d", "100ms") as t:
        t.press(" ", lambda text: "PAUSED" in text)
        paused = t.settled()
        os.kill(process_of(run), signal.SIGUSR1)
        eq(t.settled(), paused)
        t.press("h", lambda text: "pauses the screen" in text)
        t.press("x", lambda text: text == paused)
        t.press(" ", lambda text: "PAUSED" not in text)
        eq(t.quit(), 0)


def test_another_budget_after_a_question():
    with running(STUB="fit") as run, terminal(str(run.pid), "-d", "100ms") as t:
        def said(text):
            return lambda screen: screen.splitlines()[-1] == text

        t.until(lambda text: "q quit" in text)
        t.press("b", said(f"budget of run {run.pid}, now 256M: _"))
        t.press("12x\x7f\x7f", said(f"budget of run {run.pid}, now 256M: 1_"))
        t.press("x\n", said('"1x" is not a size; write it as 128M or 1.5G'))
        t.press(" b4K\n", lambda text: re.search(r"^4 KiB is too small; the smallest that works is [0-9.]+ MiB$", text, re.M))
        for key in "n\x1b":
            t.press(" " if key == "n" else "", lambda text: "q quit" in text)
            t.press("b128M\n", said(f"change the budget of run {run.pid} from 256M to 128M? y/n"))
            t.press(key, lambda text: "q quit" in text)
        time.sleep(0.3)
        assert "of 256M" in t.text(), t.text()
        t.press("b128M\ny", lambda text: "of 128M" in text and re.search(" the budget is 128M now$", text, re.M))
        r = steward("set", "--ram", "192M", str(run.pid))
        eq((r.stderr, r.returncode), ("", 0))
        t.until(lambda text: "of 192M" in text)
        eq(t.quit(), 0)


def test_the_heap_of_a_process():
    script = "sleep 60 & echo ready; read x; kill $!; read x"
    with running(script, STUB="pressure", STUB_ONLY="sh") as run, terminal(str(run.pid), "-d", "100ms") as t:
        t.until(lambda text: len(table_of(text)) == 2)
        shell = process_of(run)
        sleep, = children_of(shell)
        text = t.press("m", lambda text: f"heap of {shell} sh " in text and "does not say" in text)
        for line in ("heap   [###############sssff] of 122M live 93M 76.2% slots 17M chunks 10M",
                     "more      blocks of their own 20M kept by threads 1.0M books 2.0M",
                     "slots    16    @                                                     8192 bytes",
                     "used           *",
                     "emptiest 64 bytes: free 16M of 64M",
                     "map      the process does not say where its pages are"):
            assert line in text.splitlines(), text
        assert table_of(text) == [], text
        text = t.press(KEY_DOWN, lambda text: "its memory is the kernel's; the map comes once it is managed" in text)
        assert f"heap of {sleep} sleep " in text and "no heap: it has an allocator of its own, or has not begun" in text, text
        t.press(KEY_DOWN, lambda text: f"heap of {sleep} sleep " in text)
        run.stdin.write("\n")
        run.stdin.flush()
        t.until(lambda text: f"heap of {sleep} sleep, which has ended " in text)
        t.press("m", lambda text: len(table_of(text)) == 1)
        eq(t.quit(), 0)


def test_colours():
    with running(STUB="pressure") as run, terminal(str(run.pid)) as t:
        t.until(lambda text: "q quit" in text)
        cells = t.screen.buffer
        eq((cells[0][0].reverse, cells[1][0].bold, cells[2][8].fg, cells[1][16].fg), (True, True, "green", "magenta"))
        eq({cells[row][col].bg for row in range(24) for col in range(80)}, {"default"})
        t.quit()


def test_small_and_large_windows():
    with running(STUB="pressure") as run:
        for cols in (20, 40, 300):
            with terminal(str(run.pid), cols=cols) as t:
                t.until(lambda text: "q quit" in text)
                assert t.text().startswith("steward run"), t.text()
                eq(t.quit(), 0)


def test_a_terminal_that_is_closed():
    # In a session of its own, so that nobody sends a signal.
    with running(STUB="fit") as run:
        fd, slave = pty.openpty()
        top = subprocess.Popen([STEWARD, "top", str(run.pid)], stdin=slave, stdout=slave, stderr=subprocess.DEVNULL,
                               start_new_session=True, env=environment(TERM="xterm"))
        os.close(slave)
        try:
            os.read(fd, 1)
            eq(top.poll(), None)
            os.close(fd)
            eq(top.wait(10), 1)
        finally:
            top.kill()
            top.wait()


def test_what_cannot_be_shown():
    for stdin, which in ((None, "output"), (subprocess.DEVNULL, "input")):
        pid, tty = os.openpty()
        r = subprocess.run([STEWARD, "top"], stdin=tty if stdin is None else stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           env=environment(), timeout=20)
        os.close(pid)
        os.close(tty)
        eq((r.stderr, r.returncode), (f"steward: top: standard {which} is no terminal; steward top --once prints one screen\n", 2))
    r = steward("top", "--json")
    eq((r.stderr, r.returncode), ("steward: --json: it is for --once; steward stat --json prints a line for each interval\n", 2))
    with running(STUB="fit") as run, terminal(str(run.pid)) as t:
        t.quit()
        fd, slave = pty.openpty()
        p = subprocess.run([STEWARD, "top", str(run.pid)], stdin=slave, stdout=slave, stderr=subprocess.PIPE, text=True,
                           env=environment(TERM="no-such-terminal"))
        os.close(fd)
        os.close(slave)
        eq((p.stderr, p.returncode), ('steward: top: the terminal "no-such-terminal" is unknown here; set TERM, or use --once\n', 1))


main(globals())
