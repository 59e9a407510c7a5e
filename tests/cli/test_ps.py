"""steward ps: runs are found by the ledgers that processes hold, and their figures are the stub's, to the digit."""
import json
import os
import re
import subprocess
import sys
import time

from running import children_of, printed, process_of, running
from tap import STEWARD, Skip, eq, main, steward

PAGE = 4096
TABLE = """\
    PID STATE   BUDGET RESIDENT   POOL SWAPPED    FAULTS     MAJOR  STALL COMMAND
{launcher} run       256M      85M    31M    351M   1234567      1003 STALL% sh
{process} engaged   113M      85M    31M    351M   1234567      1003 STALL%   sh
"""
F_ADD_SEALS, F_SEAL_SHRINK = 1033, 2


def table(text):
    """With a stall share, which is a matter of time, replaced."""
    return re.sub(r" +[0-9]+\.[0-9]%", " STALL%", text)


def ps_json(*args):
    return json.loads(printed("ps", "--json", *args))


def run_of(pid, processes):
    """The run, when so many processes have joined it: after a fork and an exec that takes a moment."""
    deadline = time.monotonic() + 10
    one, = ps_json(str(pid))["runs"]
    while len(one["processes"]) != processes and time.monotonic() < deadline:
        one, = ps_json(str(pid))["runs"]
    return one


def test_a_run_under_pressure():
    with running(STUB="pressure") as run:
        process = process_of(run)
        eq(table(printed("ps", str(run.pid))), TABLE.format(launcher=f"{run.pid:7}", process=f"{process:7}"))


def wait_for(run, commands):
    """A process is in the run once its library has started, a moment after the shell has forked it."""
    end = time.monotonic() + 20
    while sorted(p["command"] for p in ps_json(str(run.pid))["runs"][0]["processes"]) != sorted(commands):
        assert time.monotonic() < end, printed("ps", str(run.pid))
        time.sleep(0.02)


def test_a_process_names_its_run():
    with running("sleep 60 & echo ready; read x; kill $!", STUB="fit") as run:
        wait_for(run, ["sh", "sleep"])
        shell = process_of(run)
        sleep, = children_of(shell)
        run_of(run.pid, 2)
        for name in (run.pid, shell, sleep):
            one, = ps_json(str(name))["runs"]
            eq((one["pid"], [p["pid"] for p in one["processes"]]), (run.pid, sorted([shell, sleep])))
        eq({p["pid"]: (p["parent"], p["command"]) for p in one["processes"]}, {shell: (run.pid, "sh"), sleep: (shell, "sleep")})


def test_json_has_the_figures():
    with running(STUB="pressure") as run:
        text = ps_json(str(run.pid))
    eq(text["schema"], 1)
    one, = text["runs"]
    process, = one["processes"]
    eq((one["command"], one["watched"], one["ram_bytes"]), ("sh", True, 256 << 20))
    eq((process["command"], process["state"], process["granted_bytes"]), ("sh", "engaged", 29000 * PAGE))
    eq(one["launcher_bytes"] + one["page_cache_bytes"] + one["free_bytes"] + process["granted_bytes"], 256 << 20)
    pool, file = one["areas"]
    eq(pool, {"name": "pool", "used_bytes": 24000 * PAGE, "errors": 0, "state": "ok"})
    assert re.fullmatch("file:/.+", file.pop("name"))
    eq(file, {"used_bytes": 66000 * PAGE, "errors": 3, "state": "ok"})
    want = {"managed": 20000, "unmanaged": 2000, "pool": 8000, "own": 1500, "swapped": 90000, "pool_stored": 24000,
            "pool_compressed": 8000, "swap_file": 66000}
    for of in (one, process):
        eq({k: of[k + "_bytes"] for k in want}, {k: n * PAGE for k, n in want.items()})
        eq((of["counters"]["pgfault"], of["counters"]["stall_ns"]), (1234567, 1500000000))
        assert 0 < of["age_ns"] < 100e9, of["age_ns"]


def test_json_is_documented():
    def keys(value):
        for key, inner in value.items():
            yield key
            if isinstance(inner, list):
                yield from keys(inner[0])

    with running(STUB="pressure") as run:
        text = ps_json(str(run.pid))
    with open(os.path.join(os.environ["DOCS_DIR"], "see-schema.md")) as f:
        doc = f.read()
    for key in keys(text):
        assert f"`{key}`" in doc, f"docs/see-schema.md does not tell about {key}"


def test_figures_of_a_process_that_fits_are_the_kernels():
    with running(STUB="fit") as run:
        process = process_of(run)
        one, = ps_json(str(run.pid))["runs"]
        with open(f"/proc/{process}/statm") as f:
            resident = int(f.read().split()[1]) * PAGE
    eq(one["processes"][0]["state"], "native")
    eq((one["unmanaged_bytes"], one["managed_bytes"], one["swapped_bytes"]), (resident, 0, 0))


def test_the_run_counts_processes_that_have_ended():
    with running("/bin/true; sleep 0.2; echo ready; read x", STUB="pressure", STUB_ONLY="true") as run:
        one, = ps_json(str(run.pid))["runs"]
    eq((one["counters"]["pgmajfault"], one["swapped_bytes"], len(one["processes"])), (1003, 0, 1))


def test_all_runs_are_listed():
    with running(STUB="fit") as a, running(STUB="fit") as b:
        rows = [line.split() for line in steward("ps").stdout.splitlines()]
        listed = [int(row[0]) for row in rows if row[1] == "run"]
        eq(listed, sorted(listed))
        assert {a.pid, b.pid} <= set(listed), listed
        eq([r["pid"] for r in json.loads(steward("ps", "--json").stdout)["runs"] if r["pid"] in (a.pid, b.pid)],
           sorted([a.pid, b.pid]))


def test_a_run_that_its_launcher_has_left():
    with running("sleep 30 >/dev/null 2>&1 & echo ready; echo $!; read x", STUB="fit") as run:
        sleep = int(run.stdout.readline())
        run_of(run.pid, 2)
    try:
        one, = ps_json(str(sleep))["runs"]
        eq((one["watched"], [p["pid"] for p in one["processes"]]), (False, [sleep]))
        assert " left " in printed("ps", str(sleep))
    finally:
        os.kill(sleep, 9)


def test_control_characters_of_a_name_stay_away_from_the_terminal():
    script = f"exec {sys.executable} -c 'open(\"/proc/self/comm\", \"w\").write(\"a\\33b\"); print(\"ready\", flush=True); input()'"
    with running(script, STUB="fit") as run:
        assert printed("ps", str(run.pid)).endswith("  a?b\n")


def test_others_see_nothing_of_it():
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if os.geteuid() != 0 or subprocess.run([*nobody, STEWARD, "--version"], stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL).returncode != 0:
        raise Skip("needs root, setpriv and a build directory that is open to others")
    with running(STUB="pressure") as run:
        r = steward("ps", str(run.pid), prefix=nobody)
    eq((r.stderr, r.returncode), (f"steward: {run.pid}: it is in no run that you may see; steward ps shows those of all runs\n", 1))


def hold(content, seals):
    """A process that holds a file with a ledger's name."""
    script = (f"import fcntl, os\nfd = os.memfd_create('steward-ledger', os.MFD_ALLOW_SEALING)\n"
              f"os.write(fd, bytes.fromhex('{content.hex()}'))\nfcntl.fcntl(fd, {F_ADD_SEALS}, {seals})\nprint(flush=True)\ninput()")
    p = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    p.stdout.readline()
    return p


def test_another_version():
    magic = (0x5354574c44475231).to_bytes(8, "little")
    strange = (b"STWLDGR9" + bytes(8), magic + bytes(8), magic + (2**32 - 1).to_bytes(8, "little"))
    for content in strange:
        p = hold(content, F_SEAL_SHRINK)
        try:
            r = steward("ps", str(p.pid))
            eq((r.stdout, r.stderr, r.returncode), ("", f"steward: {p.pid}: it is of another version of Steward; use the steward "
                                                    "command of that version\n", 1))
            r = steward("ps")
            assert re.search(r"^steward: \d+ more of another version of Steward; use the steward command of that version$", r.stderr,
                             re.M), r.stderr
            eq(r.returncode, 0)
        finally:
            p.communicate(b"\n")


def test_a_file_that_could_be_cut_off_is_no_ledger():
    p = hold((0x5354574c44475231).to_bytes(8, "little") + bytes(4096), 0)
    try:
        r = steward("ps", str(p.pid))
        eq(r.stderr, f"steward: {p.pid}: it is in no run that you may see; steward ps shows those of all runs\n")
    finally:
        p.communicate(b"\n")


def test_names_that_are_no_runs():
    for bad in ("x", "-1", "0", "1x", "99999999999999999999"):
        r = steward("ps", "--", bad)
        eq((r.stderr, r.returncode), (f"steward: {bad}: not a pid; give that of steward run or of a process in it, "
                                      "steward ps has them\n", 2))
    r = steward("ps", "2147483647")
    eq((r.stderr, r.returncode), ("steward: 2147483647: there is no such process; steward ps shows those of all runs\n", 1))
    r = steward("ps", "1", "2")
    eq((r.stderr, r.returncode), ("steward: 2: one run at a time; leave it out\n", 2))


main(globals())
