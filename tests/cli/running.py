"""A run that goes on until it is let go, with the stub as library, for commands that look at it."""
import contextlib
import os
import subprocess

from tap import STEWARD, environment, eq, steward

RAM = "256M"


@contextlib.contextmanager
def running(script="echo ready; read x", **env):
    """steward run of a shell's script, which has said "ready" and ends when its input does. Gives the Popen."""
    p = subprocess.Popen([STEWARD, "run", "--ram", RAM, "sh", "-c", script], env=environment(**env), text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        eq(p.stdout.readline(), "ready\n")
        yield p
    finally:
        p.stdin.close()
        p.wait(20)
        p.stdout.close()


def children_of(pid):
    """Without the keeper, who is the launcher itself once more."""
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [c for c in map(int, f.read().split()) if os.readlink(f"/proc/{c}/exe") != os.path.realpath(STEWARD)]


def process_of(run):
    """The command, where it is the only process."""
    one, = children_of(run.pid)
    return one


def printed(*args, **env):
    """What steward printed; it is to succeed and say nothing else."""
    r = steward(*args, **env)
    eq((r.stderr, r.returncode), ("", 0))
    return r.stdout
