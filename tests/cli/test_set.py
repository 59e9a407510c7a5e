"""steward set: what it asks of a run, and what it says when that is reached or cannot be. The stub holds a fixed grant."""
import json
import os
import re
import signal
import time

from running import printed, process_of, running
from tap import eq, main, steward

M = 1 << 20
HELD = 29000 * 4096  # of the stub under pressure


def budget_of(run):
    return json.loads(printed("ps", "--json", str(run.pid)))["runs"][0]["ram_bytes"]


def test_up_and_down():
    with running(STUB="pressure") as run:
        eq(printed("set", "--ram", "1G", str(run.pid)), f"{run.pid}: 1 GiB, was 256 MiB\n")
        eq(budget_of(run), 1024 * M)
        # A process of the run names it, too; options may come last.
        eq(printed("set", str(process_of(run)), "--ram=128M"), f"{run.pid}: 128 MiB, was 1 GiB\n")
        eq(budget_of(run), 128 * M)
        eq(printed("set", "--ram", "128M", str(run.pid)), f"{run.pid}: 128 MiB, was 128 MiB\n")


def test_what_processes_keep_is_said():
    with running(STUB="pressure") as run:
        r = steward("set", "--ram", "64M", str(run.pid), timeout=40)
        least = re.fullmatch(r"steward: --ram: 64 MiB cannot be reached, because processes of the run need more; it is ([0-9.]+) MiB now, "
                             r"the smallest that works is about ([0-9.]+) MiB\n", r.stderr)
        assert least, r.stderr
        eq((r.returncode, r.stdout), (1, ""))
        # All that was not the process's has gone, and not more.
        eq(least[1], least[2])
        assert HELD <= budget_of(run) < HELD + 2 * M, budget_of(run)


def test_what_cannot_be():
    with running(STUB="fit") as run:
        r = steward("set", "--ram", "2G", str(run.pid))
        eq((r.returncode, r.stderr), (1, "steward: --ram: 2 GiB is more than that run can use; give up to 1 GiB, or start it again\n"))
        eq(budget_of(run), 256 * M)
        run.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOWAIT)
        time.sleep(0.2)
        r = steward("set", "--ram", "128M", str(run.pid))
        eq(r.returncode, 1)
        assert re.fullmatch(rf"steward: {run.pid}: [^;]+; [^\n]+\n", r.stderr), r.stderr


def test_a_launcher_that_is_stopped_does_not_answer():
    with running(STUB="fit") as run:
        run.send_signal(signal.SIGSTOP)
        r = steward("set", "--ram", "128M", str(run.pid))
        run.send_signal(signal.SIGCONT)
        time.sleep(0.5)
        eq(budget_of(run), 256 * M)
        eq((r.returncode, r.stderr), (1, "steward: set: the launcher of that run does not answer; is it stopped?\n"))


def test_wrong_usage():
    for args, line in (
            ((), "set: nothing to set; give --ram SIZE"),
            (("1",), "set: nothing to set; give --ram SIZE"),
            (("--ram", "4M"), "--ram: 4M is too small; the smallest that works is 8 MiB"),
            (("--ram", "auto"), '--ram: "auto" is not a size; write it as 128M or 1.5G'),
            (("--ram", "64M", "x"), "x: not a pid; give that of steward run or of a process in it, steward ps has them"),
            (("--ram", "64M", "1", "2"), "2: one run at a time; steward set --ram SIZE 1")):
        r = steward("set", *args)
        eq((r.returncode, r.stdout, r.stderr), (2, "", f"steward: {line}\n"))
    r = steward("set", "--ram", "64M", "1")
    eq((r.returncode, r.stderr), (1, "steward: 1: it is in no run that you may see; steward ps shows those of all runs\n"))


main(globals())
