"""A few lines of TAP: tests are functions named test_…, checked with assert or eq()."""
import os
import signal
import subprocess
import sys
import tempfile
import traceback

# A shell that starts a job in the background lets it ignore ctrl-C; the programs under test are to hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

STEWARD = os.environ["STEWARD"]
STUB = os.environ["STEWARD_STUB"]


class Skip(Exception):
    """This machine cannot show the behaviour; the text says why."""


def eq(got, want):
    assert got == want, f"got {got!r}, want {want!r}"


def environment(**more):
    """Our own, without what would disturb, with the stub as library."""
    env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "STEWARD_RUN", "STUB", "STUB_LOG", "STUB_ONLY", "STUB_ASKS")}
    env.update(STEWARD_PRELOAD=STUB, LC_ALL="C")
    env.update(more)
    return {k: v for k, v in env.items() if v is not None}


def steward(*args, timeout=80, prefix=(), **env):
    """Runs steward; status, stdout and stderr in the result."""
    return subprocess.run([*prefix, STEWARD, *args], env=environment(**env), timeout=timeout, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)


def scratch():
    return tempfile.TemporaryDirectory(prefix="steward-test-")


def main(module):
    tests = [(n[5:].replace("_", " "), f) for n, f in module.items() if n.startswith("test_")]
    print(f"1..{len(tests)}")
    failed = 0
    for number, (name, run) in enumerate(tests, 1):
        try:
            run()
            print(f"ok {number} - {name}", flush=True)
        except Skip as why:
            print(f"ok {number} - {name} # SKIP {why}", flush=True)
        except Exception:
            failed += 1
            print(f"not ok {number} - {name}")
            for line in traceback.format_exc().splitlines():
                print(f"# {line}", flush=True)
    sys.exit(1 if failed else 0)
