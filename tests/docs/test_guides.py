"""The commands of the tutorial and of the how-to work, and print what is shown but for figures. TAP on stdout.

    test_guides.py SOURCE_ROOT STEWARD BUILD_ROOT

Blocks are those of docs/learn (test_learn.py): "$ " begins a command, "> " continues it, all else is what it prints. A command
must end with status 0. Numbers and their units are not compared, and a line "…" stands for any lines. What links with
libsteward finds it in the build directory.
"""
import os
import re
import subprocess
import sys
import tempfile

ROOT, STEWARD, BUILD = (os.path.abspath(p) for p in sys.argv[1:4])
BLOCK = re.compile(r"^```console\n(.*?)^```\n", re.S | re.M)
PAGES = ["docs/tutorial.md", "docs/howto.md"]


def commands_of(text):
    """(the shell's part, what is printed) of each command, in order."""
    found = []
    for block in BLOCK.findall(text):
        for line in block.splitlines(keepends=True):
            if line.startswith("$ "):
                found.append([line[2:], ""])
            elif line.startswith("> ") and not found[-1][1]:
                found[-1][0] += line[2:]
            else:
                found[-1][1] += line
    return found


def blank(line):
    """Without figures."""
    return " ".join(re.sub(r"[\d.,]*\d( ?[KMG]i?B|M| B| [mu]?s)?\b", "#", line).split())


def matches(shown, printed):
    """Both are lines; "…" in what is shown is any number of lines."""
    if not shown:
        return not printed
    if shown[0].strip() == "…":
        return any(matches(shown[1:], printed[i:]) for i in range(len(printed) + 1))
    return bool(printed) and blank(shown[0]) == blank(printed[0]) and matches(shown[1:], printed[1:])


def environment(folder):
    os.mkdir(os.path.join(folder, "bin"))
    os.symlink(STEWARD, os.path.join(folder, "bin", "steward"))
    env = dict(os.environ, PATH=os.path.join(folder, "bin") + ":/usr/bin:" + os.environ["PATH"], LC_ALL="C.UTF-8",
               PKG_CONFIG_PATH=os.path.join(BUILD, "meson-uninstalled"), LD_LIBRARY_PATH=os.path.join(BUILD, "src", "embed"))
    # Unbuffered, a line comes in two parts, and those of processes side by side would mix.
    for name in ("LD_PRELOAD", "PYTHONUNBUFFERED"):
        env.pop(name, None)
    return env


def problems_of(page):
    with open(os.path.join(ROOT, page), encoding="utf-8") as f:
        commands = commands_of(f.read())
    if not commands:
        yield "no command"
    with tempfile.TemporaryDirectory(prefix="steward-guide-") as folder:
        env = environment(folder)
        for script, shown in commands:
            r = subprocess.run(["sh", "-c", script], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               timeout=120, check=False)
            if r.returncode != 0:
                yield "status %d: $ %s%s" % (r.returncode, script, r.stdout)
            elif not matches(shown.splitlines(), r.stdout.splitlines()):
                yield "$ %sprinted %s" % (script, r.stdout)


def main():
    print("1..%d" % len(PAGES))
    failed = False
    for number, page in enumerate(PAGES, 1):
        problems = list(problems_of(page))
        failed = failed or bool(problems)
        print("%sok %d - the commands of %s" % ("not " if problems else "", number, page))
        for problem in problems:
            print("# " + problem.replace("\n", "\n# "), flush=True)
    sys.exit(1 if failed else 0)


main()
