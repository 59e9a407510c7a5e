"""steward record: what a program does to its memory, every touch or by samples, and how recording ends."""
import os
import re
import shutil
import signal
import subprocess
import sys
import time

from tap import STEWARD, Skip, environment, eq, main, scratch, steward

PAGES = os.environ["PAGES"]
R, W, X, SHARED, HEAP, STACK = 1, 2, 4, 8, 16, 32


class Event:
    def __init__(self, line):
        op, task, thread, flags, vpn, n, arg, file, self.text = line.split(" ", 8)
        self.op = op
        self.task, self.thread, self.flags, self.vpn, self.n, self.arg, self.file = map(
            int, (task, thread, flags, vpn, n, arg, file))


def read_trace(path, sampled=False):
    r = subprocess.run([os.environ["TRACE_SHOW"], path], stdout=subprocess.PIPE, text=True, check=True)
    lines = r.stdout.splitlines()
    assert lines[-1].startswith("totals sampled " if sampled else "totals exact "), lines[-1]
    return [Event(line) for line in lines[:-1]]


def need_valgrind():
    if shutil.which("valgrind") is None:
        raise Skip("no valgrind")


def record(d, *args, options=(), **more):
    need_valgrind()
    path = os.path.join(d, "t.stw")
    r = steward("record", "--exact", "-o", path, *options, "--", *args, timeout=300, **more)
    return r, path


def sample(d, *args, interval=100, **more):
    """Records by samples, with the real library."""
    path = os.path.join(d, "t.stw")
    r = steward("record", "--interval", str(interval), "-o", path, "--", *args, timeout=300,
                STEWARD_PRELOAD=os.environ["STEWARD_LIBRARY"], **more)
    if r.returncode == 125 and "userfaultfd" in r.stderr:
        raise Skip(r.stderr.strip())
    return r, path


def check_mappings(events):
    """The oracle is a page table of our own, driven by the events: every touch is allowed by it."""
    mapped = {}
    for e in events:
        pages = mapped.setdefault(e.task, {})
        span = range(e.vpn, e.vpn + e.n)
        if e.op == "mmap":
            pages.update(dict.fromkeys(span, e.flags))
        elif e.op == "munmap":
            for p in span:
                pages.pop(p, None)
        elif e.op == "mremap":
            for i in range(e.n):
                pages[e.arg + i] = pages.pop(e.vpn + i)
        elif e.op == "mprotect":
            pages.update((p, pages[p] & ~7 | e.flags) for p in span)
        elif e.op == "exec":
            pages.clear()
        elif e.op == "fork":
            mapped[e.arg] = dict(pages)
        elif e.op == "access":
            assert pages.get(e.vpn, 0) & e.flags, f"page {e.vpn:#x}, {e.flags}, has {pages.get(e.vpn)}"


class Walk:
    """One recording of the test program that all tests look at."""
    done = None

    def __init__(self, events, base, brk):
        self.events, self.base, self.brk = events, base, brk

    @classmethod
    def get(cls):
        if cls.done is None:
            with scratch() as d:
                # A low soft limit: the program can close everything that it may have opened, and does.
                r, path = record(d, PAGES, os.path.join(d, "file"), prefix=("prlimit", "--nofile=256:4096"))
                eq((r.returncode, r.stderr), (5, "words of its own\n"))
                base, brk = map(int, r.stdout.split())
                cls.done = cls(read_trace(path), base, brk)
        return cls.done

    def of(self, task, *ops):
        return [e for e in self.events if e.task == task and e.op in ops]

    def touches(self, task, first, n):
        """(page, letter) for touches of pages [first, first + n) from the base."""
        out = []
        for e in self.of(task, "access"):
            if self.base + first <= e.vpn < self.base + first + n:
                out += [(e.vpn - self.base, {R: "R", W: "W", X: "X"}[e.flags])] * e.n
        return out


def test_the_very_sequence_of_touches():
    w = Walk.get()
    want = [(i, "R") for i in range(100)] + [(i, "W") for i in reversed(range(100))]
    want += [(10, "W"), (11, "W"), (20, "R"), (20, "W"), (40, "W"), (7, "W")]
    eq(w.touches(0, 0, 100), want)


def test_threads_are_told_apart():
    w = Walk.get()
    last = [e for e in w.of(0, "access") if e.vpn == w.base + 7 and e.flags == W][-1]
    main_thread = [e for e in w.of(0, "access") if e.vpn == w.base + 40][-1]
    assert last.thread != main_thread.thread


def test_a_program_of_one_thread_is_one_thread_in_all_that_it_does():
    with scratch() as d:
        for events in (read_trace(record(d, "/bin/true")[1]), read_trace(sample(d, os.environ["PHASES"])[1], sampled=True)):
            eq({e.thread for e in events if e.op not in ("file", "note")}, {1})
            assert any(e.op == "time" for e in events)


def test_a_fork_continues_and_an_exec_begins_anew():
    w = Walk.get()
    (fork,) = [e for e in w.events if e.op == "fork"]
    child = fork.arg
    eq((fork.task, child), (0, 1))
    eq(w.touches(child, 0, 100), [(i, "W") for i in range(30, 35)])
    names = [(e.op, os.path.basename(e.text)) for e in w.of(child, "exec", "exit")]
    eq(names, [("exec", os.path.basename(PAGES)), ("exit", "")])


def test_changes_of_the_address_space():
    w = Walk.get()
    b = w.base
    mine = [(e.op, e.vpn - b, e.n, e.flags, e.arg - b if e.op == "mremap" else 0)
            for e in w.of(0, "munmap", "mprotect", "drop", "mremap", "mmap") if b <= e.vpn < b + 212]
    eq([m for m in mine if m[1:3] != (0, 100)][-6:],
       [("munmap", 50, 10, 0, 0), ("mprotect", 60, 2, R, 0), ("drop", 0, 3, 0, 0), ("munmap", 200, 10, 0, 0),
        ("mremap", 90, 10, 0, 200), ("mmap", 210, 2, R | W, 0)])
    eq(w.touches(0, 200, 12), [(211, "W")])


def test_the_heap():
    w = Walk.get()
    heaps = [e for e in w.of(0, "mmap") if e.flags & HEAP]
    assert any(e.vpn <= w.brk < e.vpn + e.n for e in heaps), w.brk
    assert any(e.vpn == w.brk and e.flags == W for e in w.of(0, "access"))


def test_files():
    w = Walk.get()
    file = [e for e in w.events if e.op == "file" and e.text.endswith("/file")]
    eq([e.n for e in file], [0, 3])
    number = file[0].file
    eq([(e.op, e.arg, e.n) for e in w.events if e.op in ("read", "write", "fsync") and e.file == number],
       [("write", 0, 3), ("fsync", 0, 0), ("read", 1, 1), ("read", 2, 1)])
    (at,) = [i for i, e in enumerate(w.events) if e.op == "mmap" and e.file == number]
    m = w.events[at]
    eq((m.arg, m.n, m.flags), (1, 2, R | SHARED))
    eq([(e.vpn - m.vpn, e.flags) for e in w.events[at:] if e.op == "access" and m.vpn <= e.vpn < m.vpn + 2], [(1, R)])


def test_every_touch_is_inside_of_a_mapping():
    check_mappings(Walk.get().events)


def test_code_and_stack_are_there_and_valgrind_is_not():
    w = Walk.get()
    names = [e.text for e in w.events if e.op == "file"]
    eq([n for n in names if "valgrind" in n], [])
    assert any(os.path.basename(n) == os.path.basename(PAGES) for n in names), names
    assert any(re.search(r"/libc\.so", n) for n in names), names
    stack = [e for e in w.of(0, "mmap") if e.flags & STACK]
    assert sum(e.n for e in stack) >= 40, "the stack has not grown"
    assert sum(e.arg for e in w.of(0, "time")) > 0


def test_output_status_and_signals_are_the_commands():
    with scratch() as d:
        r, path = record(d, PAGES, os.path.join(d, "file"), str(int(signal.SIGUSR1)))
        eq((r.returncode, r.stderr), (-signal.SIGUSR1, "words of its own\n"))
        eq(read_trace(path)[-1].op, "exit")
        eq(sorted(os.listdir(d)), ["file", "t.stw"])


def test_a_program_that_is_killed_leaves_a_whole_trace():
    with scratch() as d:
        r, path = record(d, "/bin/sh", "-c", "kill -9 $$")
        eq(r.returncode, -signal.SIGKILL)
        events = read_trace(path)
        eq((events[-1].op, events[-1].task), ("exit", 0))


def test_a_child_that_is_killed_ends_in_the_trace():
    """And not only with the recording: the parent goes on for long enough that the child is missed."""
    with scratch() as d:
        r, path = record(d, "/bin/sh", "-c", "(read pid rest </proc/self/stat; kill -9 $pid); "
                         "i=0; while [ $i -lt 20 ]; do i=$((i + 1)); done; exit 3")
        eq(r.returncode, 3)
        events = read_trace(path)
        eq([(e.op, e.task) for e in events if e.op in ("fork", "exit")], [("fork", 0), ("exit", 1), ("exit", 0)])
        (end,) = [i for i, e in enumerate(events) if (e.op, e.task) == ("exit", 1)]
        assert any(e.op == "access" and e.task == 0 for e in events[end:]), "the child was not missed"


def test_a_killed_recorder_leaves_nothing_under_the_name():
    need_valgrind()
    with scratch() as d:
        path = os.path.join(d, "t.stw")
        p = subprocess.Popen([STEWARD, "record", "--exact", "-o", path, "sleep", "100"], env=environment(),
                             stdout=subprocess.DEVNULL)
        while not os.path.exists(path + ".tmp"):
            time.sleep(0.01)
        time.sleep(0.3)
        p.kill()
        p.wait()
        assert not os.path.exists(path)


def test_samples_find_the_pages_of_each_phase():
    """The program says which pages it touches in each phase; so many fit the bound, so the samples are exact."""
    with scratch() as d:
        r, path = sample(d, os.environ["PHASES"])
        eq((r.returncode, r.stderr), (6, ""))
        base, *lines = r.stdout.splitlines()
        base = int(base)
        want = [(int(line.split()[0]), line.split()[1], set(map(int, line.split()[2:]))) for line in lines]
        events = read_trace(path, sampled=True)
    check_mappings(events)
    marks = {}
    for i, e in enumerate(events):
        if e.op == "access":
            marks.setdefault(e.vpn - base, i)
    ends = [marks[mark] for mark, _, _ in want[1:]] + [len(events)]
    for (mark, kind, pages), end in zip(want, ends):
        found = {}
        for e in events[marks[mark] + 1:end]:
            if e.op == "access" and base <= e.vpn < base + 4000:
                found.setdefault(e.vpn - base, set()).add(e.flags)
        eq(set(found), pages)
        # The first phase, of fresh pages, and those that write are recorded as such.
        if kind == "write":
            eq({flag for flags in found.values() for flag in flags}, {W})
        else:
            assert all(flags == {R} for flags in found.values())
    assert sum(e.arg for e in events if e.op == "time") > 50_000_000


def test_samples_have_every_first_touch():
    """By a program that is over in a moment; in a row, and with a stride that might be taken for a stream."""
    for _ in range(5):
        with scratch() as d:
            r, path = sample(d, os.environ["FRESH"])
            eq((r.returncode, r.stderr), (7, ""))
            events = read_trace(path, sampled=True)
        base, in_a_row, apart, step = map(int, r.stdout.split())
        want = set(range(in_a_row)) | {in_a_row + i * step - 1 for i in range(1, apart + 1)}
        found = {e.vpn - base for e in events if e.op == "access" and 0 <= e.vpn - base < in_a_row + apart * step}
        eq((sorted(want - found), sorted(found - want)), ([], []))


def test_samples_of_a_program_that_does_everything():
    with scratch() as d:
        r, path = sample(d, PAGES, os.path.join(d, "file"))
        eq((r.returncode, r.stderr), (5, "words of its own\n"))
        events = read_trace(path, sampled=True)
    eq([(e.op, e.task) for e in events if e.op in ("task", "fork", "exec", "exit")],
       [("task", 0), ("fork", 0), ("exec", 1), ("exit", 1), ("exit", 0)])
    base = int(r.stdout.split()[0])
    touched = {e.vpn - base for e in events if e.op == "access" and e.task == 0}
    assert set(range(100)) <= touched, sorted(set(range(100)) - touched)
    names = [e.text for e in events if e.op == "file"]
    eq([n for n in names if "steward" in os.path.basename(n)], [])


def check_lives(events):
    """Every event is of a task that has begun and not ended; all end."""
    alive = set()
    for e in events:
        if e.op not in ("task", "file", "note"):
            assert e.task in alive, f"{e.op} of task {e.task}"
        if e.op in ("task", "fork"):
            born = e.arg if e.op == "fork" else e.task
            assert born not in alive, f"task {born} begins twice"
            alive.add(born)
        elif e.op == "exit":
            alive.remove(e.task)
    eq(alive, set())


def test_samples_of_a_tree_of_short_processes_can_be_planned():
    """At the smaller sizes the first shell is killed for what it has in x; the trace goes on with what it forked."""
    with scratch() as d:
        r, path = sample(d, "/bin/sh", "-c",
                         "x=$(seq 100000); for i in $(seq 12); do /bin/sh -c 'x=$(seq 9); /bin/true' & done; wait")
        eq((r.returncode, r.stderr), (0, ""))
        events = read_trace(path, sampled=True)
        r = steward("plan", path, "--points", "8")
        eq((r.returncode, r.stderr), (0, ""))
    check_lives(events)
    # Even of those who are over before anybody can ask the kernel.
    eq([e.task for e in events if e.op in ("task", "exec") and e.text == ""], [])
    assert sum(e.op in ("task", "fork") for e in events) > 24


def test_samples_of_a_program_that_is_killed():
    with scratch() as d:
        r, path = sample(d, "/bin/sh", "-c", "kill -9 $$")
        eq(r.returncode, -signal.SIGKILL)
        eq(read_trace(path, sampled=True)[-1].op, "exit")


def test_wrong_usage():
    r = steward("record", "--exact")
    eq((r.returncode, r.stderr),
       (2, "steward: record: no command given; steward record [OPTION…] [--] COMMAND [ARG…]\n"))
    r = steward("record", "--output=", "true")
    eq((r.returncode, r.stderr), (2, "steward: --output: the file name is empty; give one\n"))
    for bad in ("0", "-1", "x", "", "60001", "1ms"):
        r = steward("record", "--interval", bad, "true")
        eq((r.returncode, r.stderr),
           (2, f'steward: --interval: "{bad}" is not a number of milliseconds from 1 to 60000; give one\n'))
    r = steward("record", "-o", "-", "true")
    eq((r.returncode, r.stderr),
       (2, "steward: --output: standard output is the command's; give a file or a pipe's name\n"))
    r = steward("record", "--exact", "-o", "/no/such/dir/t.stw", "true")
    eq((r.returncode, r.stderr), (125, "steward: /no/such/dir/t.stw: cannot be written (No such file or directory); "
                                  "give --output another file\n"))
    with scratch() as d:
        path = os.path.join(d, "t.stw")
        r = steward("record", "--exact", "-o", path, "no-such-command")
        eq((r.returncode, r.stderr),
           (127, "steward: no-such-command: command not found; check the name and PATH\n"))
        eq(os.listdir(d), [])


def test_without_valgrind():
    with scratch() as d:
        r = steward("record", "--exact", "-o", os.path.join(d, "t.stw"), "/bin/true", PATH=d)
        eq((r.returncode, r.stderr), (125, "steward: --exact: valgrind is not installed; install the package valgrind, "
                                      "or record without --exact\n"))
        eq(os.listdir(d), [])


def test_a_full_disk_is_told_at_the_end():
    need_valgrind()
    r = steward("record", "--exact", "-o", "/dev/full", "/bin/echo", "words", timeout=100)
    eq((r.returncode, r.stdout), (1, "words\n"))
    eq(r.stderr, "steward: /dev/full: the trace cannot be written (No space left on device); "
       "give --output another file\n")


main(globals())
