"""The pages of docs/learn do what they show. TAP on stdout.

    test_learn.py SOURCE_ROOT STEWARD            runs each ```console block, compares every line
    test_learn.py SOURCE_ROOT STEWARD --write    puts what the commands print now into the pages

In a block, "$ " begins a command, "> " continues it, all else is what it prints. The blocks of a page run in one new
directory in which examples/ is that of the source; steward is the command given.
"""
import glob
import os
import re
import subprocess
import sys
import tempfile

ROOT, STEWARD = (os.path.abspath(p) for p in sys.argv[1:3])
WRITE = sys.argv[3:] == ["--write"]
BLOCK = re.compile(r"^```console\n(.*?)^```\n", re.S | re.M)


def commands_of(block):
    """(lines as they stand, what the shell gets, what is printed)"""
    found = []
    for line in block.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append(["", "", ""])
        shown, script, output = found[-1]
        if line.startswith("$ ") or (line.startswith("> ") and not output):
            found[-1] = [shown + line, script + line[2:], output]
        else:
            found[-1] = [shown, script, output + line]
    return found


def environment(folder):
    os.symlink(os.path.join(ROOT, "examples"), os.path.join(folder, "examples"))
    os.mkdir(os.path.join(folder, "bin"))
    os.symlink(STEWARD, os.path.join(folder, "bin", "steward"))
    env = dict(os.environ, PATH=os.path.join(folder, "bin") + ":" + os.environ["PATH"], LC_ALL="C.UTF-8")
    env.pop("LD_PRELOAD", None)
    return env


def run(script, folder, env):
    return subprocess.run(["sh", "-c", script], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=120).stdout


def play(page):
    """What the page is when its commands have run, and the commands that printed something else."""
    with open(page, encoding="utf-8") as f:
        text = f.read()
    wrong = []
    with tempfile.TemporaryDirectory(prefix="steward-learn-") as folder:
        env = environment(folder)

        def replay(match):
            done = ""
            for shown, script, expected in commands_of(match.group(1)):
                got = run(script, folder, env)
                if got != expected:
                    wrong.append((script, expected, got))
                done += shown + got
            return "```console\n" + done + "```\n"

        new = BLOCK.sub(replay, text)
    if not BLOCK.search(text) and not page.endswith("README.md"):
        wrong.append(("a command\n", "one at least\n", "none\n"))
    return new, wrong


def first_difference(expected, got):
    for want, have in zip(expected.splitlines() + ["(end)"], got.splitlines() + ["(end)"]):
        if want != have:
            return "want %r, got %r" % (want, have)
    return "one ends before the other"


def main():
    pages = sorted(glob.glob(os.path.join(ROOT, "docs", "learn", "*.md")))
    failed = False
    print("1..%d" % len(pages))
    for number, page in enumerate(pages, 1):
        new, wrong = play(page)
        if WRITE:
            with open(page, "w", encoding="utf-8") as f:
                f.write(new)
            wrong = []
        failed = failed or bool(wrong)
        print("%sok %d - %s prints what it shows" % ("not " if wrong else "", number, os.path.relpath(page, ROOT)))
        for script, expected, got in wrong:
            print("# $ %s# %s" % (script.replace("\n", "\n# ")[:-2], first_difference(expected, got)))
        sys.stdout.flush()
    sys.exit(1 if failed else 0)


main()
