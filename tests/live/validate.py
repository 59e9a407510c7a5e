"""steward validate on this machine: what is steady is predicted, the live engine is, and nothing is left behind. TAP on stdout.

    validate.py STEWARD
"""
import glob
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cage  # noqa: E402

STEWARD = sys.argv[1]


def why_not_live():
    run = subprocess.run([STEWARD, "run", "--ram", "64M", "--", "true"], capture_output=True, text=True)
    return run.stderr.strip() if run.returncode == 125 else None


def why_not():
    if os.geteuid() != 0:
        return "not root"
    if not os.path.exists("/sys/class/zram-control/hot_add"):
        return "no zram"
    return cage.why_not()


def swaps():
    """Those that may be ours: others, who measure beside us, have swap of other sizes."""
    with open("/proc/swaps") as f:
        return [line.split()[0] for line in f.readlines()[1:] if int(line.split()[2]) == (512 << 10) - 4]


def groups():
    return [c for root in ("memory", "") for c in glob.glob(os.path.join("/sys/fs/cgroup", root, "steward-validate-*"))]


def left_behind(pid):
    return [g for g in groups() if "-%d-" % pid in g]


def median(case, side):
    values = sorted(run["major_faults"] for run in case[side] if not run["oom_killed"])
    return values[len(values) // 2] if values else None


TRIES = 4  # Linux 6.18 ends one run of `uniform` in five for want of memory with swap free, and of two now and then both


def validated(problems):
    """What two runs of each on the kernel and on the model gave; tried again where the kernel has ended both of one."""
    for _ in range(TRIES):
        with tempfile.TemporaryDirectory(prefix="steward-test-") as d:
            out = os.path.join(d, "out.json")
            before = swaps()
            process = subprocess.Popen([STEWARD, "validate", "--only", "loop,uniform", "--quick", "--runs", "2", "--json", out],
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            text, _ = process.communicate(timeout=300)
            if swaps() != before or left_behind(process.pid):
                problems.append("left behind: %s %s" % (swaps(), left_behind(process.pid)))
            if not os.path.exists(out):
                problems.append(text)
                return None
            with open(out) as f:
                cases = {case["workload"]: case for case in json.load(f)["cases"]}
        if median(cases["uniform"], "kernel") is not None:
            return cases
    problems.append("uniform: the kernel ended every run: " + text)
    return None


def steady_workloads_are_predicted():
    problems = []
    cases = validated(problems)
    yield from problems
    if cases is None:
        return
    loop, uniform = cases["loop"], cases["uniform"]
    if {run["major_faults"] for run in loop["kernel"] + loop["model"]} != {467232}:
        yield "loop: %s" % loop
    kernel, model = median(uniform, "kernel"), median(uniform, "model")
    if model is None:
        yield "uniform: the model ended every run"
    elif abs(model / kernel - 1) > 0.02:
        yield "uniform: kernel %d, model %d" % (kernel, model)


# What a case may be off, whatever the machine does meanwhile: the scheduler's part of it is 1 to 5 per cent. The window was
# off by 33 before the model knew when the live engine begins to watch, and the loop by 680 before faults waited for frames.
LIVE_TARGETS = {("loop", 96): 0.02, ("loop", 72): 0.02, ("window", 72): 0.12}


def the_live_engine_is_predicted():
    with tempfile.TemporaryDirectory(prefix="steward-test-") as d:
        out = os.path.join(d, "out.json")
        run = subprocess.run([STEWARD, "validate", "--live", "--only", "loop,window", "--runs", "1", "--json", out],
                             capture_output=True, text=True, timeout=300)
        if not os.path.exists(out):
            yield run.stdout + run.stderr
            return
        with open(out) as f:
            cases = {(case["workload"], case["budget_bytes"] >> 20): case for case in json.load(f)["cases"]}
    for name, target in LIVE_TARGETS.items():
        live, = (run["major_faults"] for run in cases[name]["live"])
        first, last = (run["major_faults"] for run in cases[name]["model"])
        if not abs((first + last) / 2 / live - 1) <= target:
            yield "%s in %d MiB: live %d, model %d to %d" % (*name, live, first, last)


def wait_until(what, seconds=30):
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.05)
    return what()


def nothing_is_left_when_it_is_killed():
    for how in (signal.SIGTERM, signal.SIGKILL):
        before = swaps()
        process = subprocess.Popen([STEWARD, "validate", "--only", "loop"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if not wait_until(lambda: left_behind(process.pid)):
            yield "no group was made"
        time.sleep(0.5)
        process.send_signal(how)
        process.wait()
        if not wait_until(lambda: swaps() == before and not left_behind(process.pid)):
            yield "%s left %s %s" % (how.name, swaps(), left_behind(process.pid))


def main():
    tests = [(steady_workloads_are_predicted, why_not), (nothing_is_left_when_it_is_killed, why_not),
             (the_live_engine_is_predicted, why_not_live)]
    failed = False
    print("1..%d" % len(tests))
    for number, (test, why) in enumerate(tests, 1):
        skip = why()
        problems = [] if skip else list(test())
        failed = failed or bool(problems)
        print("%sok %d - %s%s" % ("not " if problems else "", number, test.__name__.replace("_", " "),
                                  " # SKIP %s" % skip if skip else ""), flush=True)
        for problem in problems:
            print("# " + problem.replace("\n", "\n# "))
    sys.exit(1 if failed else 0)


main()
