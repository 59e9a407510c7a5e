"""Signals and job control between terminal, launcher and command."""
import os
import select
import signal
import subprocess
import sys
import time

from tap import STEWARD, environment, eq, main

# Prints a line for each signal that it handles; "ready" and its pid first.
CHILD = """
import os, signal, sys, time
def told(n, frame):
    print(signal.Signals(n).name, flush=True)
    if n == signal.SIGTERM:
        sys.exit(7)
for n in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT, signal.SIGCONT, signal.SIGQUIT,
          signal.SIGWINCH, signal.SIGALRM):
    signal.signal(n, told)
print("ready", os.getpid(), flush=True)
while True:
    time.sleep(0.05)
"""


class Job:
    """A run in a process group of its own."""

    def __init__(self, code=CHILD, prepare=lambda: None, stdin=None):
        # The same session: the stop signals of a terminal do nothing to a group that nobody could continue.
        def in_child():
            os.setpgid(0, 0)
            prepare()

        self.p = subprocess.Popen([STEWARD, "run", sys.executable, "-c", code], env=environment(STUB="fit"), stdin=stdin,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=in_child)
        self.text = b""
        word, pid = self.line().split()
        eq(word, "ready")
        self.child = int(pid)

    def line(self, timeout=10):
        end = time.monotonic() + timeout
        while b"\n" not in self.text:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.p.stdout], [], [], left)[0]:
                return None
            part = os.read(self.p.stdout.fileno(), 4096)
            if not part:
                return None
            self.text += part
        line, self.text = self.text.split(b"\n", 1)
        return line.decode()

    def state(self, pid):
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0]

    def until(self, pid, states):
        for _ in range(500):
            if self.state(pid) in states:
                return
            time.sleep(0.01)
        raise AssertionError(f"state of {pid} is {self.state(pid)}, not one of {states}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.p.poll() is None:
            os.killpg(self.p.pid, signal.SIGKILL)
        self.p.wait()
        if self.p.stdin is not None:
            self.p.stdin.close()
        self.p.stdout.close()
        self.p.stderr.close()


def test_signals_of_others_are_passed_on():
    with Job() as job:
        for n in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT, signal.SIGQUIT, signal.SIGCONT,
                  signal.SIGWINCH, signal.SIGALRM):
            job.p.send_signal(n)
            eq(job.line(), n.name)
        job.p.send_signal(signal.SIGTERM)
        eq(job.line(), "SIGTERM")
        eq(job.p.wait(10), 7)


def test_deadly_signal_ends_both():
    with Job("import os, time; print('ready', os.getpid(), flush=True); time.sleep(60)") as job:
        job.p.send_signal(signal.SIGTERM)
        eq(job.p.wait(10), -signal.SIGTERM)
        assert b"ended by signal 15" in job.p.stderr.read()


def test_killed_launcher_takes_the_command_along():
    with Job() as job:
        job.p.kill()
        eq(job.p.wait(10), -signal.SIGKILL)
        eq(job.line(), None)
        for _ in range(500):
            if not os.path.exists(f"/proc/{job.child}") or job.state(job.child) == "Z":
                return
            time.sleep(0.01)
        raise AssertionError("the command still runs")


# A daemon: its parent is gone, and its session is its own.
DAEMON = """
import subprocess, sys
sleeper = "import os, sys, time; print('ready', os.getpid(), flush=True); time.sleep(60)"
p = subprocess.Popen([sys.executable, "-c", "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]], "
                      "start_new_session=True)", sleeper])
p.wait()
sys.stdin.readline()
"""


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def test_killed_launcher_takes_daemons_along():
    for whole_group in (False, True):
        with Job(DAEMON, stdin=subprocess.PIPE) as job:
            assert not gone(job.child)
            (os.killpg if whole_group else os.kill)(job.p.pid, signal.SIGKILL)
            eq(job.p.wait(10), -signal.SIGKILL)
            for _ in range(500):
                if gone(job.child):
                    break
                time.sleep(0.01)
            assert gone(job.child), f"whole group: {whole_group}"


def test_daemons_outlive_the_end_of_the_command():
    with Job(DAEMON, stdin=subprocess.PIPE) as job:
        job.p.stdin.close()
        eq(job.p.wait(10), 0)
        time.sleep(0.2)
        assert not gone(job.child)
        os.kill(job.child, signal.SIGKILL)


def test_command_that_signals_its_group_is_told_once():
    # The launcher sleeps meanwhile: a second signal must not merge with the first.
    code = CHILD.replace("while True:", """
os.kill(os.getppid(), signal.SIGSTOP)
os.kill(0, signal.SIGUSR1)
time.sleep(0.1)
os.kill(os.getppid(), signal.SIGCONT)
while True:""")
    with Job(code) as job:
        eq(job.line(), "SIGUSR1")
        eq(job.line(0.4), None)


def test_stop_of_the_command_stops_the_launcher():
    with Job() as job:
        os.kill(job.child, signal.SIGSTOP)
        job.until(job.child, "T")
        job.until(job.p.pid, "T")
        # As a shell's fg does it: the whole group.
        os.killpg(job.p.pid, signal.SIGCONT)
        eq(job.line(), "SIGCONT")
        job.until(job.p.pid, "SR")
        job.p.send_signal(signal.SIGTERM)
        while job.line() not in ("SIGTERM", None):
            pass
        eq(job.p.wait(10), 7)


def test_continued_launcher_continues_the_command():
    with Job() as job:
        os.kill(job.child, signal.SIGTSTP)
        job.until(job.child, "T")
        job.until(job.p.pid, "T")
        os.kill(job.p.pid, signal.SIGCONT)
        eq(job.line(), "SIGCONT")
        job.until(job.child, "SR")
        job.p.send_signal(signal.SIGTERM)
        eq(job.line(), "SIGTERM")
        eq(job.p.wait(10), 7)


def test_command_that_runs_again_already_is_not_continued_twice():
    with Job() as job:
        os.kill(job.child, signal.SIGSTOP)
        job.until(job.p.pid, "T")
        os.kill(job.child, signal.SIGCONT)
        eq(job.line(), "SIGCONT")
        job.until(job.p.pid, "SR")
        eq(job.line(0.4), None)


def test_continued_command_continues_the_launcher():
    with Job() as job:
        for stop in (signal.SIGSTOP, signal.SIGTSTP):
            os.kill(job.child, stop)
            job.until(job.p.pid, "T")
            os.kill(job.child, signal.SIGCONT)
            eq(job.line(), "SIGCONT")
            job.until(job.p.pid, "SR")
        # A kill is no continuation, and yet it is the end.
        os.kill(job.child, signal.SIGSTOP)
        job.until(job.p.pid, "T")
        os.kill(job.child, signal.SIGKILL)
        eq(job.p.wait(10), -signal.SIGKILL)


def test_interrupt_ends_a_script_that_runs_us():
    """bash goes on if the status says that the interrupt was dealt with, and not if its child died of it."""
    pid, tty = os.forkpty()
    if pid == 0:
        os.execve("/bin/bash", ["bash", "-c", '"$0" run --ram 64M sleep 20; echo went on', STEWARD], environment(STUB="fit"))
    time.sleep(1)
    os.write(tty, b"\x03")
    eq(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), -signal.SIGINT)
    os.close(tty)


def test_stop_request_to_the_launcher_reaches_the_command():
    with Job() as job:
        os.kill(job.p.pid, signal.SIGTSTP)
        job.until(job.child, "T")
        job.until(job.p.pid, "T")
        os.killpg(job.p.pid, signal.SIGCONT)
        job.until(job.child, "SR")
        job.until(job.p.pid, "SR")


def test_terminal_signals_come_once():
    pid, tty = os.forkpty()
    if pid == 0:
        os.execve(STEWARD, [STEWARD, "run", sys.executable, "-c", CHILD], environment(STUB="fit"))

    def read_until(word):
        text = b""
        end = time.monotonic() + 10
        while word not in text and time.monotonic() < end:
            if select.select([tty], [], [], 0.5)[0]:
                text += os.read(tty, 4096)
        assert word in text, text
        return text

    read_until(b"ready")
    # The launcher sleeps meanwhile: a second signal must not merge with the first.
    os.kill(pid, signal.SIGSTOP)
    os.write(tty, b"\x03")
    text = read_until(b"SIGINT")
    os.write(tty, b"\x1c")
    text += read_until(b"SIGQUIT")
    os.kill(pid, signal.SIGCONT)
    text += read_until(b"SIGCONT")
    os.kill(pid, signal.SIGTERM)
    text += read_until(b"SIGTERM")
    eq((text.count(b"SIGINT"), text.count(b"SIGQUIT")), (1, 1))
    eq(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 7)
    os.close(tty)


def test_command_starts_with_our_mask_and_dispositions():
    code = ("import os, signal\n"
            "print('ready', os.getpid())\n"
            "for line in open('/proc/self/status'):\n"
            "    if line.startswith(('SigBlk', 'SigIgn')): print(line.split()[1])\n")

    def prepare():
        signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGUSR1])
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    plain = subprocess.run([sys.executable, "-c", code], preexec_fn=prepare, stdout=subprocess.PIPE, text=True)
    with Job(code, prepare) as job:
        eq([job.line(), job.line()], plain.stdout.split("\n")[1:3])
        eq(job.p.wait(10), 0)


def test_ignored_sigchld_does_not_lose_the_status():
    with Job("import os, sys; print('ready', os.getpid(), flush=True); sys.exit(9)",
             lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)) as job:
        eq(job.p.wait(10), 9)


main(globals())
