"""Wrong usage: one line, its exact text, and the exit status."""
import os
import re

from tap import STEWARD, eq, main, scratch, steward


def fails(args, status, line, **env):
    r = steward(*args, **env)
    eq(r.stderr, f"steward: {line}\n")
    eq(r.returncode, status)
    eq(r.stdout, "")


def test_no_command():
    fails([], 2, "command: none given; see steward --help")


def test_unknown_command():
    fails(["frobnicate"], 2, "frobnicate: unknown command; see steward --help")


def test_control_characters_do_not_reach_the_terminal():
    fails(["a\nb\033[2J"], 2, "a?b?[2J: unknown command; see steward --help")


def test_unknown_options():
    fails(["run", "--bogus", "true"], 2, "--bogus: unknown option; see steward run --help")
    fails(["run", "-x", "true"], 2, "-x: unknown option; see steward run --help")
    fails(["run", "-vv", "true"], 2, "-vv: unknown option; see steward run --help")
    fails(["doctor", "--bogus"], 2, "--bogus: unknown option; see steward doctor --help")


def test_missing_and_superfluous_values():
    fails(["run", "--ram"], 2, "--ram: its value is missing; write --ram SIZE|auto")
    fails(["run", "--verbose=1", "true"], 2, "--verbose=1: --verbose takes no value; leave it out")
    fails(["doctor", "here"], 2, "here: doctor takes no argument; leave it out")
    fails(["version", "2"], 2, "2: version takes no argument; leave it out")
    fails(["help", "run", "doctor"], 2, "doctor: one command at a time; steward help run")


def test_run_without_command():
    for args in (["run"], ["run", "--ram", "64M"], ["run", "--ram=64M", "--"]):
        fails(args, 2, "run: no command given; steward run [OPTION…] [--] COMMAND [ARG…]")


def test_sizes_that_are_none():
    for bad in ("12Q", "", "-5M", "1.M", "M", "0x100000", "64M garbage"):
        fails(["run", "--ram", bad, "true"], 2, f'--ram: "{bad}" is not a size; write it as 128M, 1.5G or auto')


def test_sizes_out_of_range():
    fails(["run", "--ram", "99999999999P", "true"], 2, '--ram: "99999999999P" is too large; give less')
    for small in ("0", "4096", "7.9M", "8388607"):
        fails(["run", "--ram", small, "true"], 2, f"--ram: {small} is too small; the smallest that works is 8 MiB")


def test_unknown_policy():
    fails(["run", "--policy", "best", "true"], 2, '--policy: "best" is unknown; use one of second-chance, two-list, clock, '
          'mglru, s3-fifo, random')


def test_policy_of_the_simulator():
    fails(["run", "--policy", "opt", "true"], 2, '--policy: "opt" is for steward sim only; use one of second-chance, two-list, clock, mglru, '
          's3-fifo, random')


def test_wrong_faults():
    for bad in ("", "x", "-1", "1:", "1:x", "1:1001", "1:2:3"):
        fails(["run", "--debug-store-faults", bad, "true"], 2,
              f'--debug-store-faults: "{bad}" is no seed; write it as 7 or 7:20, 1000 at most')


def test_wrong_swap():
    for spec, why in (("disk", '"disk" is no place to swap to; use pool, file:PATH or nbd://HOST/EXPORT'),
                      ("pool:gzip", '"gzip" is no way to compress; use lz4, zstd or auto'),
                      ("file:/tmp,size=x", "size=x is not a size; write it as size=4G"),
                      ("pool,prio=-1", "prio=-1 is no priority; give a number from 0 to 32767")):
        fails(["run", "--swap", spec, "true"], 2, f"--swap {spec}: {why}")
    fails(["run", "--swap", "pool", "--swap=pool", "true"], 2, "--swap pool: there is a pool already; give one")


def test_squeeze_without_a_number():
    for bad in ("", "0", "1001", "10%", "-1", "x"):
        fails(["run", f"--squeeze={bad}", "true"], 2, f'--squeeze: "{bad}" is not a number of per cent from 1 to 1000; '
              "write it as --squeeze=10")


def test_empty_stats_name():
    fails(["run", "--stats=", "true"], 2, "--stats: the file name is empty; give one")


def test_command_not_found():
    fails(["run", "no-such-command"], 127, "no-such-command: command not found; check the name and PATH")
    fails(["run", "/no/such"], 127, "/no/such: command not found; check the name")
    fails(["run", "/etc/passwd/x"], 127, "/etc/passwd/x: command not found; check the name")
    fails(["run", ""], 127, ": command not found; check the name and PATH")


def test_command_not_executable():
    with scratch() as d:
        plain = os.path.join(d, "plain")
        with open(plain, "w"):
            pass
        why = "it cannot be executed (Permission denied); check that it is a program and its mode"
        fails(["run", plain], 126, f"{plain}: {why}")
        fails(["run", d], 126, f"{d}: {why}")
        fails(["run", "plain"], 126, f"plain: {why}", PATH=f"{d}:{os.environ['PATH']}")


def test_files_that_are_no_programs():
    with scratch() as d:
        def write(name, content):
            path = os.path.join(d, name)
            with open(path, "wb") as f:
                f.write(content)
            os.chmod(path, 0o755)
            return path

        path = write("binary", b"\x01\x02\x00\x03")
        fails(["run", path], 126, f"{path}: it is neither a program nor a script; check the name")
        with open("/bin/true", "rb") as f:
            elf = f.read()
        for length in (4, 20, 63, 70):
            path = write(f"cut{length}", elf[:length])
            fails(["run", path], 126, f"{path}: it is a damaged ELF file; build or install it again")
        path = write("alien", elf[:18] + b"\xb7\x00" + elf[20:])
        fails(["run", path], 125, f"{path}: it is not a 64-bit x86 program, so Steward cannot manage it; "
              "run an x86-64 build of it")
        path = write("noint", b"#!/no/such/interpreter\n")
        fails(["run", path], 127, f"{path}: its interpreter /no/such/interpreter does not exist; "
              "correct its first line")
        path = write("badint", b"#!/etc/passwd -x\n")
        fails(["run", path], 126, f"{path}: its interpreter /etc/passwd cannot be executed; correct its first line")
        path = write("empty", b"#!  \n")
        fails(["run", path], 126, f'{path}: its "#!" line leads nowhere; correct its first line')
        loop = os.path.join(d, "loop")
        write("loop", f"#!{loop}\n".encode())
        fails(["run", loop], 126, f'{loop}: its "#!" line leads nowhere; correct its first line')


def test_static_program_is_refused():
    path = os.environ["STATIC_PROGRAM"]
    fails(["run", path], 125, f"{path}: it is statically linked, so Steward cannot manage it; "
          "run a dynamically linked build of it")


def test_script_for_a_static_program_is_refused():
    path = os.environ["STATIC_PROGRAM"]
    with scratch() as d:
        script = os.path.join(d, "script")
        with open(script, "w") as f:
            f.write(f"#! {path} arg\n")
        os.chmod(script, 0o755)
        fails(["run", script], 125, f"{path}: it is statically linked, so Steward cannot manage it; "
              "run a dynamically linked build of it")


def test_library_not_found():
    fails(["run", "true"], 125, "STEWARD_PRELOAD: /no/such.so: No such file or directory; unset it or correct it",
          STEWARD_PRELOAD="/no/such.so")


def test_library_path_that_cannot_be_preloaded():
    with scratch() as d:
        path = os.path.join(d, "with blank.so")
        os.symlink(os.environ["STEWARD_STUB"], os.path.join(d, "link.so"))
        with open(path, "w"):
            pass
        fails(["run", "true"], 125, f"{path}: a path with a blank or colon cannot be preloaded; "
              "install Steward elsewhere", STEWARD_PRELOAD=path)


def test_run_inside_a_run():
    fails(["run", "true"], 125, "run: this is already inside a steward run; leave the inner one out, "
          "the outer budget covers its command", STEWARD_RUN="x:1:2:3")


def test_malloc_only():
    fails(["run", "--malloc-only"], 2, "run: no command given; steward run [OPTION…] [--] COMMAND [ARG…]")
    for options in (["--ram", "64M"], ["-v"]):
        name = {"-v": "--verbose"}.get(options[0], options[0])
        fails(["run", "--malloc-only", *options, "true"], 2, f"--malloc-only: there is no budget then; leave {name} out")
        fails(["run", *options, "--malloc-only", "true"], 2, f"--malloc-only: there is no budget then; leave {name} out")
    fails(["run", "--malloc-only", "true"], 125, "run: this is already inside a steward run, which has the same malloc; "
          "leave the inner one out", STEWARD_RUN="x:1:2:3")
    fails(["run", "--malloc-only", "no-such-command"], 127, "no-such-command: command not found; check the name and PATH")
    path = os.environ["STATIC_PROGRAM"]
    fails(["run", "--malloc-only", path], 125, f"{path}: it is statically linked, so Steward cannot manage it; "
          "run a dynamically linked build of it")


def test_validate():
    fails(["validate", "--bogus"], 2, "--bogus: unknown option; see steward validate --help")
    fails(["validate", "ls"], 2, "ls: a command needs its trace; steward record --exact -o T.stw -- ls makes one, --trace T.stw")
    fails(["validate", "--trace", "T.stw"], 2,
          "--trace: no command given that it is of; steward validate --trace FILE -- COMMAND [ARG…]")
    for bad in ("0", "x", "-1", "5x", "65", ""):
        fails(["validate", "--runs", bad], 2, f'--runs: "{bad}" is not a number from 1 to 64; write it as 5')
    fails(["validate", "--live", "--trace", "T.stw", "ls"], 2, "--live: it runs the workloads only; leave --trace out")
    fails(["validate", "--touch", "lop"], 2,
          '--touch: "lop" is no workload; there are loop, uniform, zipf0.6, zipf0.9, hotscan, window')
    fails(["validate", "--only", "loop,lop"], 2,
          '--only: "lop" is no workload; there are loop, uniform, zipf0.6, zipf0.9, hotscan, window')


def test_validate_needs_root():
    if os.geteuid() != 0:
        fails(["validate", "--quick"], 1, "validate: it sets a memory limit and swaps, and that takes root; run it as root")


def test_help_and_version():
    for args in (["--help"], ["-h"], ["help"]):
        r = steward(*args)
        eq((r.returncode, r.stderr), (0, ""))
        assert r.stdout.startswith("Usage: steward COMMAND"), r.stdout
    for args in (["help", "run"], ["run", "--help"], ["run", "--ram", "64M", "-h"]):
        r = steward(*args)
        eq((r.returncode, r.stderr), (0, ""))
        assert r.stdout.startswith("Usage: steward run [OPTION…] [--] COMMAND [ARG…]\n"), r.stdout
    for args in (["--version"], ["version"]):
        r = steward(*args)
        eq((r.returncode, r.stderr), (0, ""))
        assert re.fullmatch(r"steward \d+\.\d+\.\d+\n", r.stdout), r.stdout


def test_output_that_cannot_be_written():
    import subprocess
    with open("/dev/full", "w") as full:
        r = subprocess.run([STEWARD, "--help"], stdout=full, stderr=subprocess.PIPE, text=True)
    eq(r.stderr, "steward: standard output: No space left on device; send it somewhere else\n")
    eq(r.returncode, 1)


def test_man_pages_name_every_option_and_command():
    for command in re.findall(r"^  (\w+)", steward("--help").stdout, re.M):
        if command in ("help", "version"):
            continue
        with open(os.path.join(os.environ["MAN_DIR"], f"steward-{command}.1.scd")) as f:
            page = f.read()
        for option in re.findall(r"--[a-z-]+", steward("help", command).stdout):
            assert f"*{option}*" in page, f"steward-{command}(1) does not tell about {option}"
    with open(os.path.join(os.environ["MAN_DIR"], "steward.1.scd")) as f:
        page = f.read()
    for command in re.findall(r"^  (\w+)", steward("--help").stdout, re.M):
        assert f"*{command}*" in page, f"steward(1) does not tell about {command}"


main(globals())
