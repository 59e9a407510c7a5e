"""Who has to go when memory and stores are full. The stub plays processes under pressure, and one that asks."""
import json
import os
import re
import signal

from tap import Skip, eq, main, scratch, steward


def asks(script, *options, **env):
    """sh runs the script; in it `true` is out of room, and $OTHER, which sleeps, is under pressure as well."""
    with scratch() as d:
        path = os.path.join(d, "stats.json")
        # A process that outlives the test must not hold its pipes.
        script = script.replace("$OTHER &", "sleep 0.8 >/dev/null 2>&1 &").replace("$OTHER)", "sleep 0.8 >/dev/null 2>&1)")
        r = steward("run", "--ram", "256M", "--stats", path, *options, "sh", "-c", script,
                    STUB="pressure", STUB_ONLY=env.pop("STUB_ONLY", "sleep"), STUB_ASKS="true", **env)
        with open(path) as f:
            return r, json.load(f)


def choice(r):
    """The one line about the choice."""
    lines = [line for line in r.stderr.splitlines() if line.startswith("steward: out of memory: ") and ";" in line]
    eq(len(lines), 1)
    return lines[0]


SIZES = r"[0-9.]+ MiB = [0-9.]+ MiB resident \+ 351 MiB swapped \+ [0-9]+ KiB page tables"


def test_the_last_of_the_largest_goes_and_says_why():
    r, text = asks("/bin/true; echo status $?")
    eq(r.stdout, "status 137\n")
    assert re.fullmatch(r"steward: out of memory: killed true \(pid \d+\): it has the most memory, " + SIZES +
                        r"; raise --ram \(all processes need [0-9.]+ MiB so far\), or give more with --swap", choice(r)), choice(r)
    eq((r.returncode, text["exit"]["status"], text["counters"]["oom_kill"]), (0, 0, 1))
    eq((text["fatal"], text["fitted"]), (choice(r)[len("steward: "):], False))
    assert "  processes         2, 1 killed for want of memory\n" in r.stderr, r.stderr


def test_one_process_goes_and_the_one_that_asked_goes_on():
    r, text = asks("$OTHER & sleep 0.15; /bin/true; echo asked $?; wait $!; echo other $?", "--oom-prefer", "sl*")
    eq(r.stdout, "asked 0\nother 137\n")
    assert "killed sleep (pid " in choice(r) and "): --oom-prefer names it and is the only one that may be killed, " in choice(r), choice(r)
    eq(text["counters"]["oom_kill"], 1)


def test_one_that_is_alone_goes_itself():
    r = steward("run", "--ram", "256M", "true", STUB="ask")
    eq(r.returncode, -signal.SIGKILL)
    assert ": it is the only one that may be killed, " in choice(r), choice(r)


def test_whom_avoid_names_goes_last():
    r, _ = asks("$OTHER & sleep 0.15; /bin/true; echo asked $?; wait $!; echo other $?", "--oom-avoid", "true", "--oom-avoid=sh")
    eq(r.stdout, "asked 0\nother 137\n")
    r, _ = asks("/bin/true; echo asked $?", "--oom-avoid", "*")
    eq(r.stdout, "asked 137\n")
    assert "): only those that --oom-avoid names are left and it has the most memory, " in choice(r), choice(r)


def test_oom_score_adj_counts():
    script = "(echo 900 > /proc/self/oom_score_adj; exec $OTHER) & sleep 0.15; /bin/true; echo asked $?; wait $!; echo other $?"
    r, _ = asks(script, "-v", STUB_ONLY="nobody")
    eq(r.stdout, "asked 0\nother 137\n")
    assert "killed sleep" in choice(r) and "it has the most points; somebody larger is spared by oom_score_adj, " in choice(r), choice(r)
    row = re.search(r"^ +\d+ sleep .* 900 +(\d+)  ◄$", r.stderr, re.M)
    # 900 thousandths of the budget and of what lies in swap files, which is what the stub says of `true`.
    assert row is not None and 0 <= int(row[1]) - 900 * ((65536 + 66000) // 1000) < 2000, r.stderr
    r, _ = asks(script, "--oom-policy", "largest", STUB_ONLY="nobody")
    eq(r.stdout.split("\n")[0], "asked 137")


def test_who_is_never_killed():
    r, text = asks("echo -1000 2>/dev/null > /proc/self/oom_score_adj || exit 9; /bin/true; echo asked $?", "-v", "--oom-prefer", "true")
    if r.returncode == 9:
        raise Skip("-1000 cannot be set here")
    eq(r.stdout, "asked 137\n")
    assert "steward: out of room: nobody helped; raise --ram\n" in r.stderr, r.stderr
    assert re.search(r"^ +\d+ true .* -1000 +never$", r.stderr, re.M), r.stderr
    assert "out of memory" not in r.stderr, r.stderr
    eq(text["counters"]["oom_kill"], 0)


def test_the_youngest():
    r, _ = asks("sleep 0.1; $OTHER & sleep 0.1; /bin/true; echo asked $?", "--oom-policy", "youngest")
    assert "killed true" in choice(r) and " it was started last, " in choice(r), choice(r)
    r, _ = asks("(sleep 0.2; exec /bin/true) & sleep 0.1; $OTHER & wait %1; echo asked $?", "--oom-policy=youngest")
    eq(r.stdout, "asked 0\n")
    assert "killed sleep" in choice(r), choice(r)


def test_the_one_that_grows():
    # All of a process younger than the window is growth, so the larger young one has grown more than the smaller one.
    r, _ = asks("$OTHER & sleep 0.15; /bin/true; echo asked $?", "--oom-policy", "growing", STUB_ONLY="nobody")
    eq(r.stdout, "asked 137\n")
    assert " it has grown the most lately, " in choice(r), choice(r)


def test_grace_ends_with_sigkill():
    polite = "trap 'echo bye; exit 3' TERM; sleep 3 >/dev/null 2>&1 & wait $!"
    with scratch() as d:
        path = os.path.join(d, "server")
        with open(path, "w") as f:
            f.write(f"#!/bin/sh\n{polite}\n")
        os.chmod(path, 0o755)
        r, text = asks(f"{path} & sleep 0.15; /bin/true; echo asked $?; wait %1; echo other $?", "--oom-grace", "5s", "--oom-prefer", "server")
        eq(sorted(r.stdout.split("\n")), ["", "asked 0", "bye", "other 3"])
        assert "out of memory: sent SIGTERM to server (pid " in choice(r), choice(r)
        eq(text["counters"]["oom_kill"], 1)
        with open(path, "w") as f:
            f.write("#!/bin/sh\ntrap '' TERM; sleep 3 >/dev/null 2>&1\n")
        r, text = asks(f"{path} & sleep 0.15; /bin/true; echo asked $?; wait %1; echo other $?", "--oom-grace", "300ms", "--oom-prefer", "server")
        eq(r.stdout, "asked 0\nother 137\n")
        assert re.search(r"^steward: out of memory: server \(pid \d+\) is still there after its grace; killed$", r.stderr, re.M), r.stderr
        eq(text["counters"]["oom_kill"], 1)


def test_dry_run_kills_nobody():
    r, text = asks("sleep 1 & sleep 0.15; /bin/true; echo asked $?; wait $!; echo other $?", "--oom-dry-run", "--oom-prefer", "sleep")
    eq(r.stdout, "asked 137\nother 0\n")
    assert "out of memory: would have killed sleep (pid " in choice(r), choice(r)
    assert "steward: out of room: nobody helped; raise --ram\n" in r.stderr, r.stderr
    eq(text["counters"]["oom_kill"], 0)


def test_values_that_are_none():
    for option, value, line in (
            ("--oom-policy", "best", '"best" is unknown; use badness, largest, youngest or growing'),
            ("--oom-prefer", "", "the pattern is empty; give a process name, or a pattern as of the shell"),
            ("--oom-avoid", "", "the pattern is empty; give a process name, or a pattern as of the shell"),
            *(("--oom-grace", t, f'"{t}" is not a time up to a day; write it as 500ms, 5s or 2m')
              for t in ("", "x", "-1", "5h", "86401", "1e3", "99999999999999999999", "1441m"))):
        r = steward("run", option, value, "true")
        eq((r.returncode, r.stdout, r.stderr), (2, "", f"steward: {option}: {line}\n"))
    for limit in ("", "90", "90:", ":5", "0:5", "100:5", "90:0", "90:5s", "x:5", "90:-1", "90:86401", "-1:5"):
        r = steward("run", "--oom-on-stall", limit, "true")
        eq((r.returncode, r.stderr), (2, f'steward: --oom-on-stall: "{limit}" is not a share in per cent and a time; '
                                         "write it as 90:30, for 90 % during 30 seconds\n"))
    for t in ("0", "86400", "1440m", "86400000ms", "5s"):
        eq(steward("run", "--oom-grace", t, "true", STUB="fit").returncode, 0)
    r = steward("run", *["--oom-prefer=x"] * 17, "true")
    eq((r.returncode, r.stderr), (2, "steward: --oom-prefer: more than 16 patterns; write some as one, with * or [...]\n"))


main(globals())
