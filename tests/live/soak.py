#!/usr/bin/python3
"""The soak: the verifier again and again, by a seed, while everything around it is disturbed.

  soak.py --build DIR [--seed N] [--duration SECONDS] [--round N]

Each round draws a mode of the verifier, how much memory it verifies and with which seed, a budget, places to swap to that
may fail now and then, and what happens meanwhile: the budget changes, the launcher or the program is stopped for a moment, a
swap server is killed and comes back. The program must print what it prints without Steward, and end.

A round depends on the seed and its number only, as far as time allows; --round N plays that one alone. TAP on stdout.
"""

import argparse
import os
import random
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

import cage  # noqa: E402
import stores  # noqa: E402

MIB = 1 << 20
BUDGET_MIN = 16
TIMEOUT = 300  # of one round, on a machine that does other things too
DISTURBANCES = ["nothing", "budget", "launcher stopped", "program stopped"]


def children(pid):
    """Pids of all descendants that are there now."""
    found = []
    try:
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, task), encoding="ascii") as f:
                for child in map(int, f.read().split()):
                    found += [child] + children(child)
    except OSError:
        pass  # it has ended
    return found


def stop_for(pids, seconds, launcher):
    """SIGSTOP, and SIGCONT whatever happens; also to the launcher, which stops when its program does."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
    except ProcessLookupError:
        pass
    finally:
        for pid in pids + [launcher]:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass


class Round:
    """What a round does, drawn from the seed and its number."""

    def __init__(self, seed, number, modes, folder):
        self.rng = random.Random("%d %d" % (seed, number))
        rng = self.rng
        self.mode = rng.choice(modes)
        self.mib = rng.randrange(24, 64)
        self.verifier_seed = rng.randrange(1, 1 << 30)
        self.ram = max(BUDGET_MIN, self.mib * rng.randrange(25, 75) // 100)
        self.place = rng.choice(["default", "default", "zstd", "file", "file", "sealed", "two files", "server"])
        self.disturbance = rng.choice(DISTURBANCES + (["server killed"] if self.place == "server" else []))
        # Even: whatever fails does so once.
        self.faults = 2 * rng.randrange(1, 1 << 20) if self.place != "server" and rng.randrange(3) == 0 else 0
        self.folder = folder
        self.server = None

    def __str__(self):
        return "%s %dM %d in %dM on %s%s, %s" % (self.mode, self.mib, self.verifier_seed, self.ram, self.place,
                                                 " with faults %d" % self.faults if self.faults else "", self.disturbance)

    def places(self):
        files = [stores.sparse(self.folder, name, 1024 * MIB) for name in "ab"]
        return {
            "default": [],
            "zstd": ["pool:zstd,max=4M", "file:" + self.folder],
            "file": ["file:" + self.folder],
            "sealed": ["pool,max=4M", "file:%s,encrypt" % files[0]],
            "two files": ["file:%s,prio=1" % name for name in files],
            "server": ["pool,max=2M", self.server.uri] if self.server else [],
        }[self.place]

    def options(self):
        options = [word for place in self.places() for word in ("--swap", place)]
        # So seldom that six tries of a batch do not fail one after the other, which would end a program without another place.
        if self.faults:
            options += ["--debug-store-faults", "%d:%d" % (self.faults, self.rng.randrange(1, 4))]
        return options

    def disturb(self, steward, launcher, ended):
        """Until the run has ended."""
        while not ended.wait(self.rng.uniform(0.05, 0.6)):
            if self.disturbance == "budget":
                ram = self.rng.randrange(BUDGET_MIN, 2 * self.ram)
                subprocess.run([steward, "set", "--ram", "%dM" % ram, str(launcher)], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, timeout=60, check=False)
            elif self.disturbance == "launcher stopped":
                stop_for([launcher], self.rng.uniform(0.01, 0.4), launcher)
            elif self.disturbance == "program stopped":
                stop_for(children(launcher), self.rng.uniform(0.01, 0.1), launcher)
            elif self.disturbance == "server killed":
                self.server.kill()
                ended.wait(self.rng.uniform(0.05, 0.5))
                self.server.start()

    def play(self, steward, verifier):
        """What differs from the program alone; nothing: an empty list."""
        command = [verifier, self.mode, str(self.mib), str(self.verifier_seed)]
        native = cage.run(command, TIMEOUT)
        if self.place == "server":
            self.server = stores.Server(self.folder)
            self.server.start()
        started, ended = threading.Event(), threading.Event()
        launcher, got = [], []

        def start(process):
            launcher.append(process.pid)
            started.set()

        def run():
            try:
                got.append(cage.run([steward, "run", "--ram", "%dM" % self.ram] + self.options() + ["--"] + command, TIMEOUT,
                                    env=dict(os.environ, TMPDIR=self.folder), before_wait=start))
            finally:
                started.set()
                ended.set()

        # A server lives as long as the thread that started it, so it is the run that gets a thread of its own.
        runner = threading.Thread(target=run, daemon=True)
        runner.start()
        started.wait()
        try:
            self.disturb(steward, launcher[0], ended)
        finally:
            runner.join()
            if self.server:
                self.server.kill()
        return self.problems(native, got[0])

    @staticmethod
    def problems(native, got):
        found = []
        if got.timed_out or native.timed_out:
            found.append("timeout after %.0f s (alone %.1f)" % (got.seconds, native.seconds))
        if got.status != native.status:
            found.append("status %d instead of %d: %s" % (got.status, native.status, got.stderr.strip()[-800:]))
        elif got.digest != native.digest:
            found.append("output differs (%d bytes instead of %d): %s" % (got.size, native.size, got.stderr.strip()[-800:]))
        return found


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--build", required=True, help="build directory")
    p.add_argument("--seed", type=int, default=int(time.time()), help="default: the time")
    p.add_argument("--duration", type=float, default=7200, help="seconds (7200); the round that is on then is the last")
    p.add_argument("--round", type=int, help="play this round alone")
    return p.parse_args()


def main():
    args = parse()
    steward = os.path.join(args.build, "src", "cli", "steward")
    verifier = os.path.join(args.build, "tests", "live", "verifier")
    modes = subprocess.run([verifier, "list"], check=True, capture_output=True, text=True).stdout.split()
    print("# seed %d" % args.seed, flush=True)
    began, number, failed = time.monotonic(), args.round or 0, 0
    while True:
        with tempfile.TemporaryDirectory(prefix="steward-soak.", dir="/var/tmp") as folder:
            r = Round(args.seed, number, modes, folder)
            if r.place == "server" and not shutil.which("nbdkit"):
                r.place, r.disturbance = "default", "nothing"
            since = time.monotonic()
            problems = r.play(steward, verifier)
        print("# round %d, %.1f s: %s: %s" % (number, time.monotonic() - since, r, "FAILED" if problems else "ok"), flush=True)
        for problem in problems:
            print("#   " + problem.replace("\n", "\n#   "))
        if problems:
            failed += 1
            print("#   again: %s --build %s --seed %d --round %d" % (sys.argv[0], args.build, args.seed, number), flush=True)
        number += 1
        if args.round is not None or time.monotonic() - began >= args.duration:
            break
    print("%sok 1 - the soak, %d rounds by seed %d" % ("not " if failed else "", 1 if args.round is not None else number, args.seed))
    print("1..1")
    return 1 if failed else 0


if __name__ == "__main__":
    cage.end_tidily()
    sys.exit(main())
