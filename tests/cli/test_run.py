"""What steward run hands to a program, and what it tells about it. The stub plays the library."""
import contextlib
import errno
import grp
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys

from tap import STUB, Skip, environment, eq, main, scratch, steward

PAGE = 4096
M = 1 << 20
RAM = "256M"

SUMMARY = """\
steward: true
  budget            256 MiB
  peak              {peak} = managed 78.1 MiB + pool 31.2 MiB + Steward {own} + unmanaged 7.8 MiB
  without Steward   437 MiB would have been needed, 1.71 times the budget
  processes         1
  faults            1 234 567: 1 001 minor, 1 002 soft, 1 003 major
  pages out         1 006, 1 009 of one repeated word; 1 011 dropped because they were free
  pages in          1 005, 1 007 of them read ahead
  pool              93.7 MiB in 31.2 MiB, ratio 3.00
  swap file         257 MiB in /tmp, full, 3 errors
  stalled           1.50 s in all threads; a fault: p50 0.0 us, p99 1.1 us, longest 2.0 ms
  time              {time} elapsed, {time} user, {time} system
"""


def pattern(template):
    """The template as a regular expression; {name} stands for a size or a time."""
    return re.sub(r"\\\{\w+\\\}", r"[0-9.]+ [a-zA-Z]+", re.escape(template))


def stats(*args, **env):
    with scratch() as d:
        path = os.path.join(d, "stats.json")
        r = steward("run", "--ram", RAM, "--stats", path, *args, **env)
        with open(path) as f:
            text = json.load(f)
        eq(os.listdir(d), ["stats.json"])
    return text, r


def log_of(*args, **env):
    with scratch() as d:
        path = os.path.join(d, "log")
        r = steward("run", "--ram", RAM, "--", *args, STUB="fit", STUB_LOG=path, **env)
        with open(path) as f:
            return f.read().splitlines(), r


def is_root():
    return os.geteuid() == 0


def as_nobody():
    if not is_root() or shutil.which("setpriv") is None:
        raise Skip("needs root and setpriv to become somebody else")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*nobody, os.environ["STEWARD"], "--version"], stdout=subprocess.DEVNULL,
                      stderr=subprocess.DEVNULL).returncode != 0:
        raise Skip("the build directory is closed to others")
    return nobody


def test_exit_status_is_the_commands():
    for status in (0, 1, 2, 77, 125, 255):
        eq(steward("run", "sh", "-c", f"exit {status}").returncode, status)


def test_death_by_signal_is_the_commands():
    r = steward("run", "sh", "-c", "kill -TERM $$", STUB="fit")
    eq(r.returncode, -signal.SIGTERM)
    eq(r.stderr.splitlines()[0], "steward: sh: ended by signal 15 (Terminated)")
    eq(steward("run", "sh", "-c", "kill -KILL $$").returncode, -signal.SIGKILL)


def test_arguments_and_streams_pass_through():
    r = steward("run", "--", "printf", "%s|", "a b", "--ram", "", "-v")
    eq((r.stdout, r.returncode), ("a b|--ram||-v|", 0))
    r = subprocess.run([os.environ["STEWARD"], "run", "cat"], input=b"\0\xff in", stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, env=environment())
    eq(r.stdout, b"\0\xff in")


def test_closed_streams_stay_closed():
    script = ("import os, sys\n"
              "for fd in (0, 1, 2):\n"
              "    try:\n"
              "        os.fstat(fd)\n"
              "        sys.exit(fd + 1)\n"
              "    except OSError:\n"
              "        pass\n")
    r = steward("run", sys.executable, "-c", script, prefix=("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"), STUB="fit")
    eq((r.returncode, r.stdout, r.stderr), (0, "", ""))
    with scratch() as d:
        path = os.path.join(d, "s.json")
        steward("run", "--stats", path, "true", prefix=("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"), STUB="fit")
        with open(path) as f:
            eq(json.load(f)["command"], ["true"])


def test_options_end_at_the_command():
    r = steward("run", "--ram=64M", "echo", "--help", "--ram", "1")
    eq((r.stdout, r.returncode), ("--help --ram 1\n", 0))


def test_name_of_the_command_stays():
    eq(steward("run", "sh", "-c", "echo $0").stdout, "sh\n")


def test_command_from_path_with_unusable_entries():
    with scratch() as d:
        with open(os.path.join(d, "echo"), "w"):
            pass
        r = steward("run", "echo", "hi", PATH=f"/no/such::{d}:{os.environ['PATH']}")
        eq((r.stdout, r.returncode), ("hi\n", 0))


def test_script_with_interpreter_line():
    with scratch() as d:
        for name, text in (("sh", "#!/bin/sh\necho $1 $0\n"), ("env", "#!/usr/bin/env sh\necho $1 $0\n"),
                           ("blanks", "#! \t/bin/sh -e \necho $1 $0\n")):
            path = os.path.join(d, name)
            with open(path, "w") as f:
                f.write(text)
            os.chmod(path, 0o755)
            r = steward("run", path, "arg")
            eq((r.stdout, r.returncode), (f"arg {path}\n", 0))
        nested = os.path.join(d, "nested")
        with open(nested, "w") as f:
            f.write(f"#!{d}/sh\n")
        os.chmod(nested, 0o755)
        eq(steward("run", nested).stdout, f"{nested} {d}/sh\n")


def test_script_without_interpreter_line():
    with scratch() as d:
        path = os.path.join(d, "script")
        with open(path, "w") as f:
            f.write("echo $0 $#; exit 3\n")
        os.chmod(path, 0o755)
        r = steward("run", path, "a", "b")
        eq((r.stdout, r.returncode), (f"{path} 2\n", 3))


def test_environment_of_the_command():
    r = steward("run", "env")
    variables = dict(line.split("=", 1) for line in r.stdout.splitlines() if "=" in line)
    eq(variables["LD_PRELOAD"], os.path.realpath(STUB))
    assert re.fullmatch(r"steward-\d+-[0-9a-f]{16}:\d+:\d+:-?\d+", variables["STEWARD_RUN"]), variables["STEWARD_RUN"]
    assert int(variables["STEWARD_RUN"].split(":")[1]) >= 200


def test_existing_preload_comes_behind_ours():
    r = steward("run", "env", LD_PRELOAD="libdl.so.2", ASAN_OPTIONS="verify_asan_link_order=0")
    assert f"LD_PRELOAD={os.path.realpath(STUB)}:libdl.so.2\n" in r.stdout, r.stdout


def test_ledger_cannot_be_resized():
    script = ("import os, fcntl\n"
              "fd = int(os.environ['STEWARD_RUN'].split(':')[1])\n"
              "print(fcntl.fcntl(fd, 1034) & 7)\n")
    eq(steward("run", sys.executable, "-c", script).stdout, "7\n")


def test_descriptors_are_inherited():
    log, _ = log_of("true")
    how, device, pid = log[0].split()
    eq((how, pid, len(log)), ("inherited", "pid=same", 1))


def test_closed_descriptors_come_through_the_socket():
    script = "import subprocess, sys; sys.exit(subprocess.run(['true'], close_fds=True).returncode)"
    log, r = log_of(sys.executable, "-c", script)
    eq(r.returncode, 0)
    eq([line.split()[0] for line in log], ["inherited", "socket"])
    eq(log[1].split()[2], "pid=same")
    eq(log[1].split()[1], log[0].split()[1])
    assert r.stderr.startswith("steward: fitted"), r.stderr


def test_descriptor_number_taken_by_a_file_of_the_program():
    script = ("import os, subprocess\n"
              "fd = int(os.environ['STEWARD_RUN'].split(':')[1])\n"
              "os.dup2(os.open('/dev/null', os.O_RDONLY), fd)\n"
              "subprocess.run(['true'], close_fds=False)\n")
    log, _ = log_of(sys.executable, "-c", script)
    eq([line.split()[0] for line in log], ["inherited", "socket"])


def test_low_limit_of_descriptors():
    log, r = log_of("sh", "-c", "exit 5", prefix=("prlimit", "--nofile=40:40"))
    eq((log[0].split()[0], r.returncode), ("inherited", 5))


def test_low_limit_of_file_size():
    """It counts for the ledger too, which is a file in memory. The command has it all the same."""
    script = "ulimit -S -f 100; exec \"$@\""
    r = steward("run", "--ram", RAM, "sh", "-c", "ulimit -f", STUB="fit", prefix=("bash", "-c", script, "sh"))
    eq((r.returncode, r.stdout), (0, "200\n"))
    if not is_root() or shutil.which("setpriv") is None:
        raise Skip("needs root and setpriv to lose the right to raise a limit")
    r = steward("run", "--ram", RAM, "true", STUB="fit", prefix=("setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource",
                                                                 "bash", "-c", "ulimit -f 100; exec \"$@\"", "sh"))
    eq(r.returncode, 125)
    assert re.fullmatch(r"steward: ledger: the limit on the size of files is too low; allow \d+ MiB or more \(ulimit -f\)\n", r.stderr), r.stderr


def test_strangers_get_nothing_from_the_socket():
    nobody = as_nobody()
    script = ("import os, socket, subprocess, sys\n"
              "name = os.environ['STEWARD_RUN'].split(':')[0]\n"
              "code = '''import socket, sys\n"
              "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
              "s.connect(chr(0) + sys.argv[1])\n"
              "data, fds, _, _ = socket.recv_fds(s, 16, 4)\n"
              "print(len(data), len(fds))'''\n"
              "env = {k: v for k, v in os.environ.items() if k not in ('LD_PRELOAD', 'STEWARD_RUN')}\n"
              f"for who in ([], {nobody!r}):\n"
              "    print(subprocess.run(who + [sys.executable, '-c', code, name], env=env,\n"
              "          stdout=subprocess.PIPE, text=True).stdout, end='')\n")
    r = steward("run", sys.executable, "-c", script)
    owner, stranger = r.stdout.splitlines()
    assert owner in ("4 1", "4 2"), owner
    eq(stranger, "0 0")


def test_fitted_is_one_line():
    r = steward("run", "--ram", RAM, "true", STUB="fit")
    assert re.fullmatch(r"steward: fitted: Steward did nothing \(peak [0-9.]+ MiB of 256 MiB\)\n", r.stderr), r.stderr


def test_library_not_loaded_is_told():
    r = steward("run", "--ram", RAM, "true")
    assert r.stderr.startswith("steward: true: Steward's library was not loaded, so nothing was managed; "), r.stderr
    eq(r.returncode, 0)


def test_summary_under_pressure():
    r = steward("run", "--ram", RAM, "--swap", "pool", "--swap", "file:/tmp", "true", STUB="pressure")
    assert re.fullmatch(pattern(SUMMARY), r.stderr), r.stderr


def test_verbose_tells_plan_and_counters():
    r = steward("run", "-v", "--ram", RAM, "--swap", "pool", "true", STUB="pressure")
    lines = r.stderr.splitlines()
    eq(lines[0], "steward: budget 256 MiB (--ram), pages go to pool (lz4)")
    assert "  pgfault                     1234567  faults served by Steward" in lines, r.stderr
    assert any(line.split()[0] == "kswapd_ns" for line in lines), r.stderr
    r = steward("run", "--verbose", "--ram", RAM, "--swap", "file:/tmp,size=2M", "--swap", "pool:zstd,max=64M,prio=3", "true",
                STUB="fit")
    eq(r.stderr.splitlines()[0], "steward: budget 256 MiB (--ram), pages go to pool (zstd, at most 64 MiB, prio 3), "
       "file:/tmp (at most 2 MiB)")


def test_stopped_by_steward_says_why():
    said = "out of room: the budget of 128M is used, pool is full with 128 MiB; raise --ram, or give more with --swap"
    text, r = stats("true", STUB="fatal")
    eq(r.returncode, -signal.SIGKILL)
    eq(r.stderr.splitlines()[0], f"steward: {said}")
    eq(r.stderr.count(said), 1)
    eq((text["fatal"], text["fitted"]), (said, False))


def test_stats_hold_the_figures():
    text, r = stats("--swap", "pool:zstd", "--swap", "file:/tmp,size=4M,encrypt,prio=0", "true", STUB="pressure")
    eq(text["schema"], 2)
    eq(text["command"], ["true"])
    eq(text["exit"], {"status": 0, "signal": None})
    eq((text["fatal"], text["fitted"]), (None, False))
    eq(text["processes"], {"total": 1, "running": 0})
    eq((text["budget"]["ram_bytes"], text["budget"]["from"]), (256 * M, "--ram"))
    launcher = text["budget"]["launcher_bytes"]
    assert 0 < launcher < 128 * M, launcher
    eq(text["budget"]["granted_peak_bytes"], launcher + 29000 * PAGE)
    peak = text["peak"]
    eq((peak["managed_bytes"], peak["pool_bytes"], peak["unmanaged_bytes"]), (20000 * PAGE, 8000 * PAGE, 2000 * PAGE))
    assert peak["own_bytes"] >= 1500 * PAGE + launcher, peak
    eq(peak["total_bytes"], sum(v for k, v in peak.items() if k != "total_bytes"))
    eq(text["need_peak_bytes"], 112000 * PAGE)
    eq(text["pool"], {"stored_peak_bytes": 24000 * PAGE, "compressed_bytes": 8000 * PAGE, "memory_bytes": 8000 * PAGE,
                      "ratio": 3.0})
    eq(text["areas"], [
        {"kind": "file", "path": "/tmp", "encrypted": True, "size_bytes": 4 * M, "prio": 0, "used_peak_bytes": 24000 * PAGE, "errors": 0,
         "state": "ok"},
        {"kind": "pool", "codec": "zstd", "encrypted": False, "size_bytes": 0, "prio": -1, "used_peak_bytes": 66000 * PAGE, "errors": 3,
         "state": "full"}])
    counters = text["counters"]
    eq((counters["pgfault"], counters["pgminor"], counters["stall_ns"]), (1234567, 1001, 1500000000))
    fault = text["fault_ns"]
    eq((fault["count"], fault["sum"], fault["max"]), (100, 98 * 8 + 1024 + 2000000, 2000000))
    eq((fault["p50"], fault["p90"], fault["p99"], fault["p999"]), (9, 9, 1152, 2000000))
    eq(fault["histogram"], {"8": 98, "1024": 1, "1966080": 1})


def test_stats_are_documented():
    text, _ = stats("--squeeze", "--swap", "pool", "--swap", "file:/tmp", "true", STUB="pressure")

    def keys(value, prefix=""):
        for key, inner in value.items():
            yield prefix + key
            if key == "areas":
                for area in inner:
                    yield from keys(area, "areas[].")
            if isinstance(inner, dict) and key not in ("counters", "histogram"):
                yield from keys(inner, f"{prefix}{key}.")

    with open(os.path.join(os.environ["DOCS_DIR"], "stats-schema.md")) as f:
        doc = f.read()
    for key in (*keys(text), *text["counters"]):
        assert f"| `{key}` |" in doc, f"docs/stats-schema.md does not tell about {key}"


def test_stats_of_several_processes():
    text, _ = stats("sh", "-c", "/bin/true; /bin/true; exit 0", STUB="pressure", STUB_ONLY="true")
    eq(text["processes"], {"total": 3, "running": 0})
    eq(text["counters"]["pgfault"], 2 * 1234567)
    eq(text["fault_ns"]["count"], 200)
    # sh, which lives while each true does, has no engine: nothing of it is managed.
    eq(text["peak"]["managed_bytes"], 20000 * PAGE)


def test_peak_of_processes_that_live_together():
    text, _ = stats("--swap", "pool", "--swap", "file:/tmp", "sh", "-c", "sleep 0.3 & sleep 0.3; wait", STUB="pressure",
                    STUB_ONLY="sleep")
    eq(text["peak"]["managed_bytes"], 40000 * PAGE)
    shell = text["need_peak_bytes"] // PAGE - 2 * 112000
    assert 0 < shell < 1500, shell
    eq(text["peak"]["unmanaged_bytes"], (2 * 2000 + shell) * PAGE)
    eq(text["pool"], {"stored_peak_bytes": 48000 * PAGE, "compressed_bytes": 16000 * PAGE, "memory_bytes": 16000 * PAGE,
                      "ratio": 3.0})
    eq(text["areas"][1]["used_peak_bytes"], 132000 * PAGE)


def test_processes_without_an_engine_count_with_the_others():
    # What the kernel says of the process itself is the oracle.
    script = ("import os, time; hold = bytearray(os.urandom(1 << 20)) * 48; time.sleep(0.3); "
              "print(open('/proc/self/smaps_rollup').read().split('Pss:')[1].split()[0])")
    text, r = stats("sh", "-c", f"sleep 5 & {shlex.quote(sys.executable)} -c {shlex.quote(script)}; kill $!; wait; exit 0",
                    STUB="pressure", STUB_ONLY="sleep")
    part = int(r.stdout) // 4
    for what, beside in ((text["need_peak_bytes"], 112000), (text["peak"]["unmanaged_bytes"], 2000)):
        # The shell is in it, too, and files that others outside of the run map count more than their part.
        assert part - 256 < what // PAGE - beside < part + 3000, (what // PAGE, beside, part)


def test_grant_of_the_dead_comes_back():
    # Each true takes 29000 of 65536 pages. Were they not returned, all would be gone with the third.
    script = "for i in 1 2 3 4 5; do /bin/true; sleep 0.2; done"
    text, _ = stats("sh", "-c", script, STUB="pressure", STUB_ONLY="true")
    granted = text["budget"]["granted_peak_bytes"] - text["budget"]["launcher_bytes"]
    assert granted < 2 * 29000 * PAGE, granted // PAGE


def test_killed_process_leaves_its_slot():
    text, _ = stats("sh", "-c", "sleep 10 & sleep 0.3; kill -9 $!; wait; exit 0", STUB="fit")
    eq(text["processes"], {"total": 3, "running": 0})


def test_processes_in_another_pid_namespace_stay_outside():
    """With the real library: a pid of theirs would name somebody else to the supervisor."""
    def run(*command):
        numbers, r = stats(*command, STEWARD_PRELOAD=os.environ["STEWARD_LIBRARY"])
        return numbers["processes"]["total"], r

    def enter(code):
        return (sys.executable, "-c", "import ctypes, os, subprocess, sys\n"
                "if ctypes.CDLL(None).unshare(0x20000000) != 0: sys.exit('no namespace')\n" + code)

    if not is_root() or run(*enter(""))[1].returncode != 0:
        raise Skip("cannot make a PID namespace")
    told = ("steward: cannot join the run: this process is in another PID namespace; "
            "it and all others there go on outside of the budget\n")
    # One that forks, one that runs programs, and the first process of the namespace and its children.
    for code, status in (("pid = os.fork() or os._exit(7)\nsys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))", 7),
                         ("sys.exit(subprocess.run(['sh', '-c', 'true; env true; exit 8']).returncode)", 8)):
        count, r = run(*enter(code))
        eq((r.returncode, count), (status, 1))
        assert r.stderr.startswith(told) and r.stderr.count("steward: ") == 2, r.stderr
    count, r = run("sh", "-c", "true; env true; exit 9")
    eq((r.returncode, count), (9, 2))
    assert "namespace" not in r.stderr, r.stderr


def test_zombies_count_as_ended():
    script = "import os, time; os.posix_spawn('/bin/true', ['true'], os.environ); time.sleep(0.3)"
    text, _ = stats(sys.executable, "-c", script, STUB="fit")
    eq(text["processes"], {"total": 2, "running": 0})


def test_processes_that_outlive_the_command_are_told():
    text, r = stats("sh", "-c", "sleep 1 >/dev/null 2>&1 & sleep 0.3", STUB="pressure", STUB_ONLY="sh")
    eq(text["processes"]["running"], 1)
    assert ", 1 of them still running\n" in r.stderr, r.stderr


def test_stats_with_a_signal():
    text, _ = stats("sh", "-c", "kill -SEGV $$", STUB="fit")
    eq(text["exit"], {"status": 139, "signal": 11})


def test_unwritable_stats_fail_before_the_command_starts():
    with scratch() as d:
        mark = os.path.join(d, "started")
        r = steward("run", "--stats", "/no/such/dir/s.json", "touch", mark)
        eq(r.stderr, "steward: /no/such/dir/s.json: cannot be written (No such file or directory); "
           "give --stats another file\n")
        eq((r.returncode, os.path.exists(mark)), (125, False))
        r = steward("run", "--stats", d, "touch", mark)
        eq(r.stderr, f"steward: {d}: cannot be written (Is a directory); give --stats another file\n")
        eq((r.returncode, os.path.exists(mark)), (125, False))


def test_nothing_is_left_of_stats_without_a_command():
    with scratch() as d:
        eq(steward("run", "--stats", os.path.join(d, "s.json"), "no-such-command").returncode, 127)
        eq(os.listdir(d), [])


def test_stats_replace_an_old_file_at_the_end_only():
    with scratch() as d:
        path = os.path.join(d, "s.json")
        with open(path, "w") as f:
            f.write("old")
        r = steward("run", "--ram", RAM, "--stats", path, "cat", path, STUB="fit")
        eq(r.stdout, "old")
        with open(path) as f:
            eq(json.load(f)["command"], ["cat", path])


def test_stats_through_links():
    """A link stays a link; what standard output goes to already is written on, and not replaced."""
    with scratch() as d:
        for name, target in (("link", "target"), ("out", "/proc/self/fd/1")):
            os.symlink(target, os.path.join(d, name))
        with open(os.path.join(d, "target"), "w") as f:
            f.write("old")
        eq(steward("run", "--ram", RAM, "--stats", os.path.join(d, "link"), "true", STUB="fit").returncode, 0)
        with open(os.path.join(d, "target")) as f:
            eq(json.load(f)["exit"]["status"], 0)
        with open(os.path.join(d, "both"), "w") as f:
            subprocess.run([os.environ["STEWARD"], "run", "--ram", RAM, "--stats", os.path.join(d, "out"), "echo", "hello"], stdout=f,
                           stderr=subprocess.DEVNULL, env=environment(STUB="fit"), check=True, timeout=20)
        with open(os.path.join(d, "both")) as f:
            eq(f.readline(), "hello\n")
            eq(json.load(f)["exit"]["status"], 0)
        eq(sorted(os.listdir(d)), ["both", "link", "out", "target"])
        assert all(os.path.islink(os.path.join(d, name)) for name in ("link", "out"))


def test_stats_to_a_device():
    r = steward("run", "--ram", RAM, "--stats", "/dev/stdout", "true", STUB="fit")
    eq(json.loads(r.stdout)["exit"]["status"], 0)


def test_stats_to_a_full_disk():
    r = steward("run", "--ram", RAM, "--stats", "/dev/full", "true", STUB="fit")
    eq(r.stderr.splitlines()[1], "steward: /dev/full: cannot be written (No space left on device); "
       "the summary above is all there is")
    eq(r.returncode, 1)
    eq(steward("run", "--stats", "/dev/full", "sh", "-c", "exit 9", STUB="fit").returncode, 9)


def test_debug_options_reach_the_ledger():
    def words(*options):
        script = ("import mmap, os, struct\n"
                  "m = mmap.mmap(int(os.environ['STEWARD_RUN'].split(':')[1]), 4096)\n"
                  "print(*struct.unpack_from('=IIIII', m, 48), struct.unpack_from('=B', m, 81)[0])\n")
        return steward("run", *options, sys.executable, "-c", script).stdout

    eq(words(), "0 0 0 0 0 0\n")
    eq(words("--debug-base-path"), "1 0 0 0 0 0\n")
    eq(words("--debug-engage"), "0 1 0 0 0 0\n")
    eq(words("--debug-move-again"), "0 0 1 0 0 0\n")
    eq(words("-v", "--swap=pool:zstd"), "0 0 0 1 0 1\n")
    eq(words("--debug-store-faults", "7"), "0 0 0 0 20 0\n")
    eq(words("--debug-store-faults", "7:1000"), "0 0 0 0 1000 0\n")


def file_area(text):
    """The file of a run that was given none; None: it has none."""
    areas = text["areas"]
    eq((areas[0]["kind"], areas[0]["codec"], areas[0]["prio"]), ("pool", "lz4", -1))
    assert len(areas) <= 2, areas
    return areas[1] if len(areas) == 2 else None


def test_tmpdir_on_a_disk_is_taken():
    with scratch() as d:
        area = file_area(stats("true", STUB="fit", TMPDIR=d)[0])
        if area is None or area["path"] != d:
            raise Skip("the temporary directory is not on a disk")
        eq((area["kind"], area["prio"]), ("file", -2))
        assert area["size_bytes"] > 0


def test_tmpdir_in_memory_is_not_taken():
    if not os.access("/dev/shm", os.W_OK):
        raise Skip("no /dev/shm")
    area = file_area(stats("true", STUB="fit", TMPDIR="/dev/shm")[0])
    assert area is None or area["path"] != "/dev/shm"


def test_full_tmpdir_is_not_taken():
    with scratch() as d:
        image, disk = os.path.join(d, "image"), os.path.join(d, "disk")
        os.mkdir(disk)
        with open(image, "wb") as f:
            f.truncate(8 * M)
        if subprocess.run(["mkfs.ext4", "-q", image], stderr=subprocess.DEVNULL).returncode != 0 or \
                subprocess.run(["mount", "-o", "loop", image, disk], stderr=subprocess.DEVNULL).returncode != 0:
            raise Skip("needs root and a loop device")
        try:
            with open(os.path.join(disk, "fill"), "wb") as f, contextlib.suppress(OSError):
                while True:
                    f.write(bytes(65536))
                    f.flush()
            r = steward("run", "--ram", RAM, "-v", "true", TMPDIR=disk, STUB="fit")
        finally:
            subprocess.run(["umount", disk], check=True)
    eq(r.returncode, 0)
    assert disk not in r.stderr, r.stderr


def swap_file(d, size, signature=False):
    path = os.path.join(d, "swap")
    with open(path, "wb") as f:
        f.truncate(size)
        if signature:
            f.write(b"\1" * 4086 + b"SWAPSPACE2")
    return path


def test_swap_files_are_used_as_they_are():
    for signature in (False, True):
        with scratch() as d:
            path = swap_file(d, 3 * M, signature)
            text, _ = stats("--swap", "file:" + path, "true", STUB="fit")
            eq([(a["kind"], a["path"], a["size_bytes"]) for a in text["areas"]], [("file", path, 3 * M - PAGE)])
            # The command sees no descriptor of it, and the place is found from elsewhere.
            r = steward("run", "-v", "--swap", "file:swap,size=1M", "ls", "/proc/self/fd", STUB="fit",
                        prefix=("sh", "-c", f'cd {d} && exec "$@"', "sh"))
            eq((r.returncode, len(r.stdout.split())), (0, len(steward("run", "ls", "/proc/self/fd", STUB="fit").stdout.split())))
            assert f"file:{path} (at most 1 MiB)" in r.stderr, r.stderr


def refused(spec, said, **more):
    r = steward("run", "--swap", spec, "true", STUB="fit", **more)
    eq((r.returncode, r.stderr), (125, f"steward: {said}\n"))


def test_swap_files_that_cannot_be_used():
    with scratch() as d:
        refused(f"file:{d}/none", f"--swap file:{d}/none: there is nothing of that name; "
                "name a directory, or make a file: fallocate -l 4G FILE && mkswap FILE")
        refused("file:/dev/null", "--swap file:/dev/null: it is no directory, file or block device; name one")
        path = swap_file(d, PAGE)
        refused("file:" + path, f"--swap file:{path}: it is too small to hold a page; make it larger")
        path = swap_file(d, 2 * M)
        refused(f"file:{path},size=2M", f"--swap: size=2 MiB is more than the 1.9 MiB of {path}; leave it out, or make it larger")
        refused(f"file:{d},size=100P", f"--swap: size=100 PiB is more than the SIZE that {d} has free; give a smaller size"
                .replace("SIZE", free_text(d)))
        with open(path, "r+b") as f:
            f.write(b"data")
        refused("file:" + path, f"--swap file:{path}: it holds data; if it is not needed make it a swap area: mkswap")


def free_text(d):
    """As steward writes it."""
    fs = os.statvfs(d)
    free = fs.f_bavail * fs.f_frsize
    return re.search(r"more than the (.*) that", steward("run", "--swap", f"file:{d},size={free * 2}", "true").stderr).group(1)


def test_swap_file_of_another_run_is_refused():
    with scratch() as d:
        path = swap_file(d, 2 * M)
        other = ("import subprocess, os, sys\n"
                 "env = {k: v for k, v in os.environ.items() if k not in ('LD_PRELOAD', 'STEWARD_RUN')}\n"
                 "sys.exit(subprocess.run(sys.argv[1:], env=env).returncode)\n")
        r = steward("run", "--swap", "file:" + path, sys.executable, "-c", other, os.environ["STEWARD"], "run", "--swap",
                    "file:" + path, "true", STUB="fit")
        eq((r.returncode, r.stderr.splitlines()[0]),
           (125, f"steward: --swap file:{path}: another steward run uses it; give each run its own, or name a directory"))


def test_swap_servers_that_cannot_be_used():
    r = steward("run", "--swap", "nbd+unix:///?socket=/none", "true", STUB="fit")
    if "libnbd is not installed" in r.stderr:
        raise Skip("no libnbd")
    eq(r.returncode, 125)
    assert re.fullmatch(r"steward: --swap nbd\+unix:///\?socket=/none: .*No such file or directory.*; "
                        "see that the server runs and has that export\n", r.stderr), r.stderr
    if shutil.which("nbdkit") is None:
        raise Skip("no nbdkit")
    with scratch() as d:
        small, read_only = "it is too small to hold a page; make it larger", \
            "the export is read-only; let the server serve it for writing"
        cases = [(["--readonly", "memory", "1M"], read_only), (["memory", "4096"], small), (["pattern", "1M"], read_only),
                 (["data", "1 @8192 0"], "it holds data; if it is not needed make it a swap area: mkswap")]
        for number, (more, said) in enumerate(cases):
            socket = os.path.join(d, str(number))
            r = subprocess.run(["nbdkit", "--unix", socket, *more, "--run",
                                f"{os.environ['STEWARD']} run --swap 'nbd+unix:///?socket={socket}' true"],
                               env=environment(STUB="fit"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=20)
            eq(r.stderr, f"steward: --swap nbd+unix:///?socket={socket}: {said}\n")


def test_swap_place_without_rights_is_refused():
    nobody = as_nobody()
    with scratch() as d:
        os.chmod(d, 0o755)
        path = swap_file(d, 2 * M)
        for place in (path, d):
            r = steward("run", "--swap", "file:" + place, "true",
                        prefix=("sh", "-c", 'exec "$@" 9<>/dev/userfaultfd', "sh", *nobody))
            if "userfaultfd: " in r.stderr:
                raise Skip("an ordinary user gets no userfaultfd")
            eq((r.returncode, r.stderr), (125, f"steward: --swap file:{place}: this user may not write there; "
                                          "change its rights, or name another place\n"))


def test_auto_is_the_default():
    with scratch() as d:
        path = os.path.join(d, "s.json")
        eq(steward("run", "--stats", path, "true", STUB="fit").returncode, 0)
        with open(path) as f:
            budget = json.load(f)["budget"]
        assert budget["from"] in ("cgroup", "memory") and budget["ram_bytes"] >= 8 * M, budget


def test_set_user_id_program_is_refused():
    as_nobody()
    with scratch() as d:
        os.chmod(d, 0o755)
        path = os.path.join(d, "su")
        shutil.copy("/bin/true", path)
        for mode, owner, refused in ((0o4755, (65534, 0), True), (0o2755, (0, 65534), True), (0o755, (65534, 0), False),
                                     (0o4755, (0, 0), False), (0o2745, (0, 65534), False)):
            os.chown(path, *owner)
            os.chmod(path, mode)
            r = steward("run", path)
            eq((oct(mode), owner, r.returncode), (oct(mode), owner, 125 if refused else 0))
            if refused:
                eq(r.stderr, f"steward: {path}: it gains rights when it starts (set-user-ID, set-group-ID or file "
                   "capabilities), so Steward cannot manage it; run it as the user whose rights it needs\n")


def test_user_without_rights_is_told_what_would_allow_it():
    nobody = as_nobody()
    if subprocess.run([*nobody, os.environ["STEWARD"], "doctor"], stdout=subprocess.DEVNULL).returncode == 0:
        raise Skip("every user may have a userfaultfd here")
    r = steward("run", "true", prefix=nobody)
    eq(r.returncode, 125)
    assert re.fullmatch(r"steward: userfaultfd: [^;]+; [^\n]+\n", r.stderr), r.stderr


def test_user_with_an_inherited_device():
    nobody = as_nobody()
    if not os.path.exists("/dev/userfaultfd"):
        raise Skip("no /dev/userfaultfd")
    script = f"exec 9<>/dev/userfaultfd; exec {' '.join(nobody)} \"$@\""
    r = steward("run", "--ram", RAM, "sh", "-c", "exit 4", STUB="fit", prefix=("sh", "-c", script, "sh"))
    eq(r.returncode, 4)
    r = steward("doctor", prefix=("sh", "-c", script, "sh"))
    assert "through an inherited descriptor" in r.stdout, r.stdout


def test_doctor_exit_status_and_verdict_agree():
    r = steward("doctor")
    assert r.returncode in (0, 1) and r.stderr == "", r
    eq("\nsteward run works here.\n" in r.stdout, r.returncode == 0)
    for label in ("kernel", "userfaultfd", "features", "page moving", "cgroup", "seccomp", "huge pages", "memlock",
                  "swap file"):
        assert re.search(f"^{label} ", r.stdout, re.M), f"{label} is missing:\n{r.stdout}"


def test_doctor_names_the_group_that_has_the_device():
    """With the device of a mount namespace of its own, which a group may open, as our package's udev rule has it."""
    nobody = as_nobody()
    script = ("set -e; d=$(mktemp -d); mount -t tmpfs none $d; mknod $d/u c $(stat -c '0x%t 0x%T' /dev/userfaultfd)\n"
              "chgrp games $d/u; chmod $MODE $d/u; mount --bind $d/u /dev/userfaultfd; umount -l $d; rmdir $d; exec \"$@\"")
    prefix = ("unshare", "-m", "sh", "-c", script, "sh")
    if not os.path.exists("/dev/userfaultfd") or steward("version", prefix=prefix, MODE="660").returncode != 0:
        raise Skip("no /dev/userfaultfd, or no mount namespace with a device of its own")
    for mode, remedy in (("660", "sudo adduser $USER games, and log in again"), ("640", "sudo chmod a+rw /dev/userfaultfd")):
        r = steward("doctor", prefix=(*prefix, *nobody), MODE=mode)
        if r.returncode == 0:
            raise Skip("everybody may have a userfaultfd here")
        eq(r.stdout.splitlines()[-1], f"steward run does not work here: this user may not open /dev/userfaultfd; allow it: {remedy}")
    # In a user namespace the group is not mapped, as in a rootless container.
    r = steward("doctor", prefix=(*prefix, *nobody, "unshare", "--user", "--map-root-user"), MODE="660")
    if r.returncode == 1:
        eq(r.stdout.splitlines()[-1], "steward run does not work here: this user may not open /dev/userfaultfd; "
           "start the container with: --group-add keep-groups")
    in_group = (*nobody[:-1], f"--groups={grp.getgrnam('games').gr_gid}")
    eq(steward("doctor", prefix=(*prefix, *in_group), MODE="660").stdout.splitlines()[-1], "steward run works here.")


def filtered(error):
    """In front of a command: a seccomp filter refuses userfaultfd(2), as the default profiles of containers do."""
    script = ("import ctypes, os, struct, sys\n"
              "code = ((0x20, 0, 0, 0), (0x15, 0, 1, 323), (6, 0, 0, 0x50000 + int(sys.argv[1])), (6, 0, 0, 0x7fff0000))\n"
              "program = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *c) for c in code))\n"
              "libc = ctypes.CDLL(None, use_errno=True)\n"
              "fprog = struct.pack('HxxxxxxQ', len(code), ctypes.addressof(program))\n"
              "assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, fprog) == 0, ctypes.get_errno()\n"
              "os.execvp(sys.argv[2], sys.argv[2:])\n")
    return (sys.executable, "-c", script, str(error))


def test_a_container_with_the_device_and_without():
    """The filter and the /dev of a container: with the device all works, without it one is told how to get it."""
    own_dev = ("set -e; d=$(mktemp -d); mount -t tmpfs none $d; mknod -m 666 $d/null c 1 3\n"
               "[ -z \"$DEVICE\" ] || mknod -m 600 $d/userfaultfd c $(stat -c '0x%t 0x%T' /dev/userfaultfd)\n"
               "mount --move $d /dev; rmdir $d; exec \"$@\"")
    prefix = ("unshare", "-m", "sh", "-c", own_dev, "sh")
    if not os.path.exists("/dev/userfaultfd") or steward("version", prefix=prefix, DEVICE="1").returncode != 0:
        raise Skip("no /dev/userfaultfd, or no mount namespace with a /dev of its own")
    for error in (errno.EPERM, errno.ENOSYS):
        container = (*prefix, *filtered(error))
        r = steward("doctor", prefix=container, DEVICE="1")
        refused = rf"^  system call +{os.strerror(error)}$"
        assert re.search(refused, r.stdout, re.M), r.stdout
        for line in ("^seccomp +a filter is on this process$", "^userfaultfd +yes, through /dev/userfaultfd$",
                     "^steward run works here.$"):
            assert re.search(line, r.stdout, re.M), r.stdout
        eq(steward("run", "--ram", RAM, "sh", "-c", "exit 4", STUB="fit", prefix=container, DEVICE="1").returncode, 4)
        r = steward("run", "true", prefix=container, DEVICE="")
        eq((r.returncode, r.stderr), (125, "steward: userfaultfd: a seccomp filter forbids userfaultfd and there is no usable "
                                      "/dev/userfaultfd; start the container with: --device /dev/userfaultfd\n"))


def test_malloc_only_gives_the_allocator_and_nothing_else():
    script = ("import os, re\n"
              "libraries = re.findall(r'libsteward[a-z-]*', open('/proc/self/maps').read())\n"
              "print(sorted(set(libraries)), os.getppid(), 'STEWARD_RUN' in os.environ)\n"
              "raise SystemExit(3)\n")
    r = steward("run", "--malloc-only", "--", sys.executable, "-c", script)
    eq((r.returncode, r.stdout, r.stderr), (3, f"['libsteward-malloc'] {os.getpid()} False\n", ""))


def test_malloc_only_keeps_other_libraries():
    r = steward("run", "--malloc-only", "sh", "-c", "echo $LD_PRELOAD", LD_PRELOAD="libm.so.6")
    assert r.stdout.endswith("/libsteward-malloc.so.0.1.0:libm.so.6\n"), r.stdout


def test_malloc_only_reads_scripts_as_a_run_does():
    with scratch() as d:
        path = os.path.join(d, "plain")
        with open(path, "w") as f:
            f.write("echo $# \"$1\"\n")
        os.chmod(path, 0o755)
        eq(steward("run", "--malloc-only", path, "a b").stdout, "1 a b\n")


def test_programs_outside_of_the_budget_are_told_once():
    path = os.environ["STATIC_PROGRAM"]
    r = steward("run", "--ram", RAM, "sh", "-c", f'sh -c "$0 {"x " * 20}; $0 {"x " * 8}; true"; exit 3', path, STUB="fit")
    assert re.fullmatch(r"steward: static-program \(pid \d+\): it is statically linked, so it runs outside of the budget; "
                        r"leave room for it beside --ram\nsteward: fitted: .*\n", r.stderr), r.stderr
    eq(r.returncode, 3)


def test_cleared_environments_are_told_once():
    """Of a child, and of a process that was in the run until then."""
    lost = r"steward: sleep \(pid \d+\): its environment has lost LD_PRELOAD, so it runs outside of the budget; leave room for it beside --ram\n"
    for script in ("env -i sleep 2; env -i sleep 0.6; true", "exec env -i sleep 2"):
        r = steward("run", "--ram", RAM, "sh", "-c", script, STUB="fit")
        assert re.fullmatch(lost + r"steward: .*\n", r.stderr), r.stderr
        eq(r.returncode, 0)
    # It only writes over it, as servers do that say in ps what they are at.
    script = ("import ctypes, time\n"
              "environ = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), 'environ')\n"
              "text = b'x=' + open('/proc/self/environ', 'rb').read()[2:].replace(b'=', b'-')\n"
              "ctypes.memmove(environ[0], text, len(text))\n"
              "time.sleep(2)\n")
    r = steward("run", "--ram", RAM, sys.executable, "-c", script, STUB="fit")
    assert r.stderr.startswith("steward: fitted"), r.stderr


def test_squeeze_says_what_it_found():
    text, r = stats("--squeeze", "true", STUB="fit")
    eq(text["squeeze"], {"percent": 10, "ram_bytes": None})
    assert r.stderr.endswith("steward: squeeze: no budget below 256 MiB was seen to keep it within 10 %; run it longer, or with more "
                             "to begin with\n"), r.stderr
    text, _ = stats("--squeeze=25", "true", STUB="fit")
    eq(text["squeeze"]["percent"], 25)
    eq(stats("true", STUB="fit")[0]["squeeze"], None)


def test_launcher_is_small():
    with open(os.environ["STEWARD"], "rb") as f:
        if b"__asan_init" in f.read():
            raise Skip("built with sanitizers")
    text, _ = stats("true", STUB="fit")
    assert text["budget"]["launcher_bytes"] < M, text["budget"]


main(globals())
