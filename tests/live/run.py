#!/usr/bin/python3
"""The live tests: programs whose output inside a budget must be what it is without.

  run.py --build DIR [--with steward|kernel|native] [--only SUBSTRING] [--shares 50,25,12.5] GROUP…

Groups: verifier, syscalls, invalid, corners, jobs, base-path, move-again, policies, scenarios, stores, trees. TAP on stdout.

Each case runs alone first (the oracle: output, status, peak resident size),
then for each share of that size as `steward run --ram SHARE` inside a memory
cgroup whose hard limit is the budget + 8 MiB, without swap. Output must be the
same byte for byte, the status too, and nothing in the cgroup may have been
killed or have run into its timeout. Where no cgroup can be made (no root) the
outputs are still compared; that is said in a comment line.

--with kernel runs the cases against the kernel's own swap, whatever is on, and
--with native without any limit: both test the tests.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)

import accounts  # noqa: E402
import cage  # noqa: E402
import jobs  # noqa: E402
import trees  # noqa: E402
import stores  # noqa: E402

MIB = 1 << 20
SLACK = 8 * MIB
SHARES = [50.0, 25.0, 12.5]
ENDS = [50.0, 12.5]
# What ends within half a minute. All jobs end at all shares, gcc at an eighth after ten minutes: --shares 50,25,12.5
JOB_SHARES = {"sort": SHARES, "xz": SHARES, "threads8": SHARES, "sqlite": [50.0, 25.0], "redis": [50.0, 25.0]}
VERIFIER_MIB = 64
# Beside the budget: memory mapped by raw system calls is found every half second (docs/limits.md), on a busy machine all of it is
# touched before; and a deep stack is not managed.
LARGE_SLACK = {"raw": VERIFIER_MIB * MIB, "recursion": 16 * MIB}
SLOW_MODES = {"fork-read", "fork-write", "fork-nested", "fork-threads", "fork-orphan", "fork-inherit", "fork-heirs", "model"}
# At every share the plain accesses; the others differ in how they change memory, not in how much, and run at one share,
# unless --shares asks for more.
BALANCE_MODES = {"random-read", "random-write", "sequential"}
# What is measured is the process that makes the heirs, and that is to fit.
FITS_MODES = {"fork-heirs"}
# Without UFFDIO_MOVE: what places, takes and drops pages, and everything that changes addresses under it.
BASE_PATH_MODES = ["random-write", "same-filled", "mremap", "madvise", "mprotect", "munmap", "model", "mixed", "atomic", "fork-write",
                   "fork-inherit"]
# With UFFDIO_MOVE reporting successes as failures: Linux 6.18, when it has to try twice.
MOVE_AGAIN_MODES = ["random-write", "sequential", "mremap", "model", "fork-write"]
# second-chance is what all others run with.
POLICIES = ["two-list", "clock", "mglru", "s3-fifo", "random"]
POLICY_MODES = ["random-write", "model"]  # the second with fork, madvise and the rest
NOBODY = 65534


class Tap:
    def __init__(self):
        self.count = 0
        self.failed = 0

    def result(self, name, problems, skip=None):
        self.count += 1
        self.failed += bool(problems)
        line = "%sok %d - %s" % ("not " if problems else "", self.count, name)
        print(line + (" # SKIP %s" % skip if skip else ""), flush=True)
        for problem in problems:
            for text in problem.rstrip().splitlines():
                print("#   " + text, flush=True)

    def comment(self, text):
        print("# " + text, flush=True)

    def done(self):
        print("1..%d" % self.count, flush=True)
        return 1 if self.failed else 0


class Case:
    """argv(prefix) gives the command with its memory-hungry part under the prefix."""

    def __init__(self, name, argv, shares, slack=SLACK, timeout=90, options=()):
        self.name = name
        self.argv = argv
        self.shares = shares
        self.slack = slack
        self.timeout = timeout
        self.options = list(options)  # of steward run


def simple(name, command, shares, **more):
    return Case(name, lambda prefix: list(prefix) + command, shares, **more)


class Suite:
    def __init__(self, args, work):
        self.args = args
        self.work = work
        self.tap = Tap()
        self.tools = os.path.join(args.build, "tests", "live")
        self.steward = args.steward or os.path.join(args.build, "src", "cli", "steward")
        self.no_cage = cage.why_not()
        if self.no_cage:
            self.tap.comment("the hard limit is not enforced: " + self.no_cage)

    def tool(self, name):
        return os.path.join(self.tools, name)

    def listed(self, program):
        return subprocess.run([self.tool(program), "list"], check=True, capture_output=True, text=True).stdout.split()

    def wanted(self, name):
        return self.args.only is None or self.args.only in name

    def prefix(self, ram, options=()):
        if self.args.peer != "steward":
            return []
        return [self.steward, "run", "--ram", str(ram)] + list(options) + ["--"]

    def limited(self, argv, ram, slack, timeout, options=(), **more):
        """argv(prefix) inside the budget, and inside a cage where there are cages."""
        env = dict(os.environ, TMPDIR=self.work)
        if self.args.peer == "native" or self.no_cage:
            return cage.run(argv(self.prefix(ram, options)), timeout, env=env, **more)
        kernel = self.args.peer == "kernel"
        with cage.Cage("live", ram if kernel else ram + slack, swap=kernel, patient=kernel) as c:
            return cage.run(argv(c.prefix + self.prefix(ram, options)), timeout, c, env=env, **more)

    def compare(self, case):
        if not self.wanted(case.name):
            return
        native = cage.run(case.argv([]), case.timeout, env=dict(os.environ, TMPDIR=self.work))
        if native.timed_out or native.status in (1, 2, 3, 126, 127):
            self.tap.result(case.name + " alone", ["status %d" % native.status, native.stderr])
            return
        for share in case.shares:
            ram = int(native.rss_mib * MIB * share / 100)
            got = self.limited(case.argv, ram, case.slack, case.timeout, case.options)
            self.tap.result("%s at %g %% (%.1f of %.0f MiB, %.1f s, alone %.1f)" % (
                case.name, share, ram / MIB, native.rss_mib, got.seconds, native.seconds), self.problems(native, got))

    @staticmethod
    def problems(native, got):
        wrong = []
        if got.timed_out:
            wrong.append("timeout")
        if got.oom_kills:
            wrong.append("OOM kills in the cgroup: %d (peak %.1f MiB)" % (got.oom_kills, got.peak / MIB))
        if got.status != native.status:
            wrong.append("status %d instead of %d" % (got.status, native.status))
        if got.digest != native.digest:
            wrong.append("output differs: %d bytes instead of %d; it begins" % (got.size, native.size))
            wrong.append(repr(got.head[:300]))
        if wrong and got.stderr:
            wrong.append(got.stderr[-1500:])
        return wrong

    # Groups

    def verifier(self):
        for mode in self.listed("verifier"):
            shares = self.args.shares or (SHARES if mode in BALANCE_MODES else [150.0] if mode in FITS_MODES else [50.0])
            self.compare(simple("verifier " + mode, [self.tool("verifier"), mode, str(VERIFIER_MIB)], shares,
                                slack=SLACK + LARGE_SLACK.get(mode, 0), timeout=600 if mode in SLOW_MODES else 180))

    def base_path(self):
        self.other_kernel("base path", BASE_PATH_MODES, "--debug-base-path")
        for mode, options in ("restless", []), ("drops-ahead", ["--swap", "file:" + self.work]):
            self.compare(simple("base path, corners " + mode, [self.tool("corners"), mode, "64"], [50.0], timeout=180,
                                options=["--debug-base-path"] + options))

    def move_again(self):
        self.other_kernel("move again", MOVE_AGAIN_MODES, "--debug-move-again")

    def other_kernel(self, name, modes, option):
        for mode in modes:
            self.compare(simple("%s, verifier %s" % (name, mode), [self.tool("verifier"), mode, str(VERIFIER_MIB)], [25.0],
                                timeout=180, options=[option]))

    def policies(self):
        """Whoever chooses the pages, the program finds what it has left."""
        for policy in POLICIES:
            for mode in POLICY_MODES:
                self.compare(simple("policy %s, verifier %s" % (policy, mode),
                                    [self.tool("verifier"), mode, str(VERIFIER_MIB)], [25.0],
                                    timeout=180, options=["--policy", policy]))
        self.own_pages("policies, the program's own pages are no unmanaged memory")

    def own_pages(self, name):
        """Whichever lists a policy keeps its pages on, they are not taken for what is outside of Steward's reach."""
        if not self.wanted(name):
            return
        if self.args.peer != "steward":
            self.tap.result(name, [], skip="only with steward")
            return
        expected = self.unmanaged("second-chance")
        found = {policy: self.unmanaged(policy) for policy in POLICIES}
        self.tap.result(name, ["%s: %.1f MiB unmanaged instead of %.1f" % (policy, n / MIB, expected / MIB)
                               for policy, n in found.items() if n > expected + MIB])

    def unmanaged(self, policy):
        stats = os.path.join(self.work, "stats.json")
        argv = self.prefix(32 * MIB, ["--policy", policy, "--stats", stats]) + [self.tool("verifier"), "random-write", "96"]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=180)
        with open(stats) as f:
            return json.load(f)["peak"]["unmanaged_bytes"]

    def syscalls(self):
        # The limit of time is for what hangs: at an eighth they take a minute, and beside others on a slow machine twice that.
        self.compare(simple("syscalls", [self.tool("syscalls"), "all", str(VERIFIER_MIB)], self.args.shares or ENDS, timeout=300))
        # Alone each mode starts from a region that has never been touched by another; that is the share between the two.
        for mode in self.listed("syscalls"):
            self.compare(simple("syscalls " + mode, [self.tool("syscalls"), mode, "64"], [25.0]))

    def invalid(self):
        for mode in self.listed("invalid") + ["handled", "child"]:
            self.compare(simple("invalid " + mode, [self.tool("invalid"), mode, "64"], [25.0]))

    def corners(self):
        for mode in self.listed("corners"):
            options = ["--swap", "file:" + self.work] if mode in ("holes", "drops-ahead") else []
            self.compare(simple("corners " + mode, [self.tool("corners"), mode, "64"], [50.0], options=options))

    def jobs(self):
        for job in jobs.JOBS:
            if not self.wanted("job " + job.name) or not (job.tested or self.args.shares):
                continue
            if job.missing():
                self.tap.result("job " + job.name, [], skip=", ".join(job.missing()) + " not installed")
                continue
            job.prepare(self.work)
            self.compare(Case("job " + job.name, lambda prefix, j=job: j.argv(self.work, self.tools, prefix),
                              self.args.shares or JOB_SHARES.get(job.name, [50.0]), timeout=1500 if self.args.shares else 240))

    def scenarios(self):
        self.checks(SCENARIOS)

    def stores(self):
        self.checks(stores.STORES)

    def trees(self):
        self.checks(trees.TREES)

    def checks(self, checks):
        for check in checks:
            if not self.wanted(check.__name__):
                continue
            name = check.__doc__.splitlines()[0].rstrip(".")
            if self.args.peer != "steward":
                self.tap.result(name, [], skip="only with steward")
                continue
            problems = check(self)
            if isinstance(problems, str):
                self.tap.result(name, [], skip=problems)
            else:
                self.tap.result(name, problems)


def processes_with(marker):
    """Processes whose environment holds the marker, zombies left out."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/environ" % pid, "rb") as f:
                if marker in f.read():
                    found.append(int(pid))
        except OSError:
            pass
    return found


def killed_at_random(suite, who):
    """Starts a verifier, kills `who` after a random time; what is left over is a problem."""
    rng = random.Random(who)
    problems = []
    for attempt in range(8):
        folder = tempfile.mkdtemp(prefix="kill.", dir=suite.work)
        marker = "STEWARD_TEST_MARK=%d-%s-%d" % (os.getpid(), who, attempt)
        env = dict(os.environ, TMPDIR=folder, STEWARD_TEST_MARK=marker.split("=")[1])
        argv = suite.prefix(16 * MIB) + [suite.tool("verifier"), "fork-threads" if attempt % 2 else "random-write", "96"]
        process = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.02, 1.2))
        try:
            if who == "launcher":
                process.kill()
            else:
                for child in children(process.pid):
                    os.kill(child, signal.SIGKILL)
                # What it has forked would go on, as it does without Steward.
                for pid in processes_with(marker.encode()):
                    if pid != process.pid:
                        kill_if_there(pid)
            process.wait(timeout=20)
        except (subprocess.TimeoutExpired, ProcessLookupError):
            pass
        if process.poll() is None:
            problems.append("attempt %d: the launcher did not end" % attempt)
            process.kill()
            process.wait()
        elif who == "program" and process.returncode not in (0, -signal.SIGKILL):
            problems.append("attempt %d: status %d instead of -9" % (attempt, process.returncode))
        deadline = time.monotonic() + 5
        while processes_with(marker.encode()) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in processes_with(marker.encode()):
            problems.append("attempt %d: process %d is left" % (attempt, pid))
            kill_if_there(pid)
        problems += ["attempt %d: %s is left in $TMPDIR" % (attempt, f) for f in os.listdir(folder)]
        shutil.rmtree(folder)
    return problems


def kill_if_there(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        return [int(p) for p in f.read().split()]


def kill_program(suite):
    """kill -9 of the program at a random moment leaves no process and no file."""
    return killed_at_random(suite, "program")


def kill_launcher(suite):
    """kill -9 of the launcher at a random moment leaves no process and no file."""
    return killed_at_random(suite, "launcher")


def state_of(pid):
    with open("/proc/%d/stat" % pid) as f:
        return f.read().rsplit(")", 1)[1].split()[0]


def launcher_stopped(suite):
    """A program whose launcher is stopped goes on without its help, to the right end."""
    argv = suite.prefix(16 * MIB) + [suite.tool("verifier"), "random-write", "96"]
    native = subprocess.run(argv[-3:], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    time.sleep(0.3)
    program = [pid for pid in children(process.pid) if os.readlink("/proc/%d/exe" % pid) == os.path.realpath(argv[-3])]
    process.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + 120
    while program and state_of(program[0]) != "Z" and time.monotonic() < deadline:
        time.sleep(0.05)
    ended = bool(program) and state_of(program[0]) == "Z"
    process.send_signal(signal.SIGCONT)
    output, _ = process.communicate(timeout=120)
    problems = [] if ended else ["it did not end while the launcher was stopped"]
    if process.returncode != 0 or output != native:
        problems.append("status %d, output %r instead of %r" % (process.returncode, output[:200], native[:200]))
    return problems


def one_cpu(suite):
    """On one CPU, where nobody compresses for the program, the output is the same."""
    command = [suite.tool("verifier"), "random-write", "96"]
    native = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
    cpu = str(min(os.sched_getaffinity(0)))
    got = subprocess.run(["taskset", "-c", cpu] + suite.prefix(16 * MIB) + command, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, timeout=120, check=False)
    if got.returncode != 0 or got.stdout != native:
        return ["status %d, output %r instead of %r; %s" % (got.returncode, got.stdout[:200], native[:200], got.stderr[-300:])]
    return []


def one_line(text, *words):
    """One line of stderr, and only one, must be of the form `steward: WHAT: WHY; WHAT TO DO`, and name the words."""
    lines = [line for line in text.splitlines() if re.match(r"steward: [^:]+: .+; .+", line)]
    if len(lines) != 1:
        return ["%d lines of the form `steward: WHAT: WHY; WHAT TO DO`: %r" % (len(lines), text[:600])]
    return ["the message does not name %s: %r" % (w, lines[0]) for w in words if w not in lines[0]]


def budget_too_small(suite):
    """A budget below what a program needs to start is refused with the smallest that works, and that one works."""
    command = [suite.tool("verifier"), "random-write", "64"]
    got = cage.run(suite.prefix(64 << 10) + command, 20)
    problems = one_line(got.stderr, "--ram", "smallest that works")
    if got.status not in (1, 2) or got.size:
        problems.append("status %d, %d bytes of output" % (got.status, got.size))
    if problems:
        return problems
    smallest = "".join(re.search(r"smallest that works is ([\d.]+) ?([KMG]?i?B?)", got.stderr).groups())
    again = cage.run([suite.steward, "run", "--ram", smallest, "--"] + command, 90)
    native = cage.run(command, 30)
    return ["with --ram %s: %s" % (smallest, p) for p in suite.problems(native, again)]


def budget_of_any_size(suite):
    """A budget that is large and no round number serves as well."""
    command = [suite.tool("verifier"), "random-write", "16"]
    native = cage.run(command, 30)
    got = cage.run(suite.prefix((16 << 30) + 12 * 4096, ["--debug-engage"]) + command, 60)
    return suite.problems(native, got)


def pool_and_file_full(suite):
    """With the pool and a tiny swap file full the program is stopped by one message, and never reads wrong data."""
    problems = []
    for options in (["--swap", "pool"], ["--swap", "pool", "--swap", "file:%s,size=4M" % suite.work]):
        command = [suite.tool("verifier"), "random-read", "256"]
        got = suite.limited(lambda prefix: list(prefix) + command, 24 * MIB, SLACK, 60, options)
        name = " ".join(options)
        problems += ["%s: %s" % (name, p) for p in one_line(got.stderr, "--ram", "--swap")]
        if got.timed_out or got.oom_kills or got.status == 0 or got.size:
            problems.append("%s: status %d, %d bytes of output, %d OOM kills%s" % (
                name, got.status, got.size, got.oom_kills, ", timeout" if got.timed_out else ""))
        if "is wrong" in got.stderr:
            problems.append("%s: wrong data" % name)
    return problems


def out_of_memory(suite):
    """With memory and stores full one process goes, the one that asked goes on to the right end."""
    verifier = suite.tool("verifier")
    # The larger one asks, and goes itself; then one that sleeps goes for the one that asks.
    hog = "%s random-read 256 >/dev/null & %s random-write 8; echo $?; wait $!; echo $?" % (verifier, verifier)
    hold = "b = __import__('os').urandom(16 << 20); print(1, flush=True); __import__('time').sleep(60)"
    sleeper = "{ %s -c \"%s\" & wait $!; echo $? >&3; } 3>&1 | { read held; %s random-write 80; echo $?; cat; }" % (
        sys.executable, hold, verifier)
    problems = []
    for script, ram, options, victim, ends in (
            (hog, 40, ["--swap", "pool"], "verifier", ["0", "137"]),
            (sleeper, 48, ["--swap", "pool", "--oom-prefer", "python3*"], "python3", ["0", "137"])):
        got = suite.limited(lambda prefix: list(prefix) + ["sh", "-c", script], ram * MIB, SLACK, 60, options)
        lines = got.head.decode().splitlines()
        problems += one_line(got.stderr, "out of memory: killed " + victim, "--ram")
        if got.status != 0 or [line for line in lines if line.isdigit()] != ends or "random-write pages=" not in lines[0]:
            problems.append("%s: status %d, output %r; %s" % (victim, got.status, lines, got.stderr[:600]))
        if got.timed_out or got.oom_kills:
            problems.append("%s: %d OOM kills in the cgroup%s" % (victim, got.oom_kills, ", timeout" if got.timed_out else ""))
    return problems


def budget_changed(suite):
    """steward set lowers and raises the budget of a run, which holds it and ends as it would have."""
    if suite.no_cage:
        return suite.no_cage
    # One after the other: a single one may end before the last change.
    command = ["sh", "-c", "for seed in 1 2 3; do %s random-write 192 $seed || exit; done" % suite.tool("verifier")]
    native = cage.run(command, 30)
    problems, usage = [], []

    def change(c):
        time.sleep(0.5)
        launcher, = [p for p in c.pids() if os.readlink("/proc/%d/exe" % p) == os.path.realpath(suite.steward)
                     and len(children(p)) == 2]  # the keeper has none
        for ram in (32, 128, 48):
            done = subprocess.run([suite.steward, "set", "--ram", "%dM" % ram, str(launcher)], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=60, text=True, check=False)
            usage.append((ram, c.usage() / MIB))
            if done.returncode != 0 or usage[-1][1] > ram + SLACK / MIB:
                problems.append("set --ram %dM: status %d, %r, usage %.1f MiB" % (ram, done.returncode, done.stdout, usage[-1][1]))

    with cage.Cage("set", 160 * MIB, swap=False) as c:
        changer = threading.Thread(target=change, args=(c,), daemon=True)
        got = cage.run(c.prefix + suite.prefix(96 * MIB) + command, 90, c, before_wait=lambda process: changer.start())
        changer.join(5)
    if len(usage) != 3:
        problems.append("the program ended after %d of 3 changes, in %.1f s" % (len(usage), got.seconds))
    return problems + suite.problems(native, got)


def readable_by_others(suite):
    folder = os.path.abspath(suite.tools)
    while folder != "/":
        if not os.stat(folder).st_mode & 0o001:
            return False
        folder = os.path.dirname(folder)
    return True


def as_nobody():
    return ["setpriv", "--reuid=%d" % NOBODY, "--regid=%d" % NOBODY, "--clear-groups", "--"]


def user_with_descriptor(suite):
    """A program that drops to an ordinary user keeps working through the inherited descriptor."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None or not readable_by_others(suite):
        return "needs root, setpriv and a build directory that others can read"
    problems = []
    for mode, mib in (("random-write", "64"), ("fork-write", "32")):
        command = [suite.tool("verifier"), mode, mib]
        native = cage.run(command, 30)
        got = suite.limited(lambda prefix, c=command: list(prefix) + as_nobody() + c, 16 * MIB, SLACK, 180)
        problems += suite.problems(native, got)
    return problems


def user_without(suite):
    """An ordinary user without the descriptor is served, or told in one line what would allow it."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None or not readable_by_others(suite):
        return "needs root, setpriv and a build directory that others can read"
    command = [suite.tool("verifier"), "random-write", "64"]
    native = cage.run(command, 30)
    with tempfile.TemporaryDirectory(prefix="nobody.") as folder:
        os.chown(folder, NOBODY, NOBODY)
        got = cage.run(as_nobody() + suite.prefix(16 * MIB) + command, 60, env=dict(os.environ, TMPDIR=folder))
    if got.status == 0:
        return suite.problems(native, got)
    problems = one_line(got.stderr)
    if got.size:
        problems.append("%d bytes of output beside the message" % got.size)
    return problems


def status_and_signal(suite):
    """Exit status and signals of the command come through; what cannot be run is said with 126 and 127."""
    problems = []
    for script, status in (("exit 0", 0), ("exit 42", 42), ("kill -TERM $$", 143), ("kill -SEGV $$", 139)):
        got = cage.run(suite.prefix(64 * MIB) + ["/bin/sh", "-c", script], 20)
        if got.status != status:
            problems.append("%s: status %d instead of %d" % (script, got.status, status))
    for command, status in (("/nonexistent/program", 127), ("/", 126)):
        got = cage.run(suite.prefix(64 * MIB) + [command], 20)
        if got.status != status:
            problems.append("%s: status %d instead of %d" % (command, got.status, status))
        problems += one_line(got.stderr)
    return problems


def signals_pass_through(suite):
    """SIGTERM and SIGINT to the launcher end the program as they would without it."""
    problems = []
    for number in (signal.SIGTERM, signal.SIGINT):
        def send(process, n=number):
            threading.Timer(0.7, lambda: process.poll() is None and os.kill(process.pid, n)).start()

        got = cage.run(suite.prefix(16 * MIB) + [suite.tool("verifier"), "random-read", "1024"], 30, before_wait=send)
        if got.status != 128 + number:
            problems.append("signal %d: status %d" % (number, got.status))
    return problems


# Memory that is only reserved makes the engine start, and nothing more. Prints what is new in the address space, in the program and in a child.
RESERVES = """
import json, mmap, os, sys

def areas():
    found, area = [], None
    for line in open("/proc/self/smaps"):
        words = line.split()
        if "-" in words[0] and words[0][0] in "0123456789abcdef":
            start, end = (int(x, 16) for x in words[0].split("-"))
            area = [start, end, words[1], False] if words[4:] == ["0"] else None
        elif words[0] == "VmFlags:" and area is not None:
            area[3] = "nr" in words
            found.append(area)
    return found

# The next child is expected to call exec as well, and gets no engine for what it might change.
pid = os.fork()
if pid == 0:
    os.execv("/bin/true", ["true"])
os.waitpid(pid, 0)
before = [a[:2] for a in areas()]
mine = mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
print(json.dumps([a for a in areas() if a[:2] not in before]), flush=True)
pid = os.fork()
if pid == 0:
    print(json.dumps([a for a in areas() if a[:2] not in before]), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
"""


def engine_memory(suite):
    """The engine's memory lies between guard pages, and a child that does without an engine has nothing left of it."""
    got = cage.run(suite.prefix(64 * MIB) + ["/usr/bin/python3", "-c", RESERVES], 30)
    if got.status != 0:
        return ["status %d" % got.status, got.stderr]
    parent, child = (json.loads(line) for line in got.head.decode().splitlines())
    # Reserved without accounting (MAP_NORESERVE, which the program does not do): the engine's; its guards can be read only.
    ours = [a for a in parent if a[3] and a[2] == "rw-p"]
    guards = [a for a in parent if a[3] and a[2] == "r--p"]
    starts, ends = {a[0] for a in guards}, {a[1] for a in guards}
    problems = ["%x-%x is not between guards" % tuple(a[:2]) for a in ours if a[0] not in ends or a[1] not in starts]
    if len(ours) < 5:
        problems.append("the engine has %d areas: did it start?" % len(ours))
    return problems + ["left in the child: %x-%x %s" % tuple(a[:3]) for a in child if a[3]]


# Makes a mapping larger and smaller whose beginning is in use and fits, and which is larger than the budget.
RESIZES = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
MIB, sizes = 1 << 20, (96 << 20, 192 << 20)
at = libc.mmap(None, sizes[0], 3, 0x22, -1, 0)
for k in range(32):
    for i in range(k * MIB, (k + 1) * MIB, 4096):
        ctypes.memset(at + i, k + 1, 4096)
    at = libc.mremap(at, sizes[k % 2], sizes[1 - k % 2], 1)
    if at == 2 ** 64 - 1:
        raise OSError(ctypes.get_errno(), "mremap %d" % k)
print([ctypes.string_at(at + k * MIB + 4095, 1)[0] for k in range(32)])
"""


def resized_early(suite):
    """A mapping of which a part is fenced can be resized, as without Steward."""
    argv = ["/usr/bin/python3", "-c", RESIZES]
    return suite.problems(cage.run(argv, 30), suite.limited(lambda prefix: prefix + argv, 64 * MIB, SLACK, 60))


# Forbids itself all system calls but exit_group and write, by the given call, and ends.
SANDBOX = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
code = b"".join(struct.pack("=HBBI", *line) for line in [
    (0x20, 0, 0, 0), (0x15, 2, 0, 231), (0x15, 1, 0, 1), (0x06, 0, 0, 0x80000000), (0x06, 0, 0, 0x7fff0000)])
lines = ctypes.create_string_buffer(code)
program = ctypes.create_string_buffer(struct.pack("=H6xQ", 5, ctypes.addressof(lines)))
libc.prctl(38, ctypes.c_ulong(1), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
if sys.argv[1] == "prctl":
    libc.prctl(22, ctypes.c_ulong(2), ctypes.c_void_p(ctypes.addressof(program)))
else:
    libc.syscall(ctypes.c_long(317), ctypes.c_ulong(1), ctypes.c_ulong(0), ctypes.c_void_p(ctypes.addressof(program)))
os.write(1, b"in the sandbox\\n")
os._exit(7)
"""


def sandboxed(suite):
    """A program that forbids itself system calls is not killed for one of ours when it ends."""
    problems = []
    for how in ("prctl", "seccomp"):
        argv = ["/usr/bin/python3", "-c", SANDBOX, how]
        native = cage.run(argv, 30)
        if native.status != 7:
            return "no filter can be set here"
        problems += suite.problems(native, cage.run(suite.prefix(64 * MIB) + argv, 60))
    return problems


# Reserves 16 TiB, as sanitizers and browsers do, and works on 96 MiB.
RESERVES_MUCH = """
import ctypes
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
assert libc.mmap(None, 1 << 44, 0, 0x4022, -1, 0) != 2 ** 64 - 1
print(sum((bytearray(range(256)) * (96 << 12))[7::4096]))
"""


def reserved(suite):
    """A reservation of many terabytes is not looked at page by page."""
    if tuple(int(n) for n in os.uname().release.split("-")[0].split(".")[:2]) < (6, 7):
        return "Linux 6.7 is needed"
    argv = ["/usr/bin/python3", "-c", RESERVES_MUCH]
    return suite.problems(cage.run(argv, 30), suite.limited(lambda prefix: prefix + argv, 64 * MIB, SLACK, 30))


SCENARIOS = [engine_memory, resized_early, sandboxed, reserved, status_and_signal, signals_pass_through, budget_too_small, budget_of_any_size, pool_and_file_full, out_of_memory, budget_changed,
             kill_program, kill_launcher, launcher_stopped, one_cpu, user_with_descriptor, user_without] + accounts.ACCOUNTS


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--build", required=True, help="build directory")
    p.add_argument("--steward", help="the steward command (default: that of the build directory)")
    p.add_argument("--with", dest="peer", choices=["steward", "kernel", "native"], default="steward")
    p.add_argument("--only", help="cases whose name contains this")
    p.add_argument("--shares", type=lambda s: [float(x) for x in s.split(",")], help="percent of the footprint (default 50,25,12.5)")
    p.add_argument("group", nargs="+", choices=["verifier", "syscalls", "invalid", "corners", "jobs", "base-path", "move-again", "policies", "scenarios", "stores", "trees"])
    return p.parse_args()


def main():
    args = parse()
    with tempfile.TemporaryDirectory(prefix="steward-live.", dir="/var/tmp") as work:
        os.chmod(work, 0o1777)  # the swap file of a program that drops to another user goes there too
        suite = Suite(args, work)
        if args.peer == "steward" and not os.access(suite.steward, os.X_OK):
            print("1..0 # SKIP no %s" % suite.steward)
            return 0
        for group in args.group:
            getattr(suite, group.replace("-", "_"))()
        return suite.tap.done()


if __name__ == "__main__":
    cage.end_tidily()
    sys.exit(main())
