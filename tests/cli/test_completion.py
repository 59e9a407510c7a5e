"""steward completion: what shells offer is what the help has, asked of the shells themselves where they are installed."""
import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import time

from running import process_of, running
from tap import STEWARD, Skip, environment, eq, main, scratch, steward

COMMANDS = re.findall(r"^  (\w+)", steward("--help").stdout, re.M)


def script(shell):
    r = steward("completion", shell)
    eq((r.stderr, r.returncode), ("", 0))
    return r.stdout


def options_of(command):
    """(name, letter, value) of each, from the help."""
    rows = steward("help", command).stdout.split("\n\n", 1)
    return re.findall(r"^  (?:-(\w)|  )[, ] --([a-z-]+)(?:\[=\w+\])?(?: (?! )(\S+))? +", rows[1] if len(rows) > 1 else "", re.M)


def ask(shell, text, prefix=()):
    return subprocess.run([shell, *prefix, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=20,
                          env=environment(PATH=os.path.dirname(STEWARD) + ":" + os.environ["PATH"]))


class Bash:
    def __init__(self):
        self.asked = []

    def ask(self, *words):
        """Many questions in one shell: it takes longer to start than to answer."""
        self.asked.append(words)

    def answers(self):
        lines = [script("bash")]
        for words in self.asked:
            lines += [f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; _steward; echo \"${{COMPREPLY[*]}}\" | tr '\\n' ' '; echo"]
        r = ask("bash", "\n".join(lines), prefix=("--norc",))
        eq(r.stderr, "")
        return [set(line.split()) for line in r.stdout.splitlines()]


def test_bash_offers_commands_and_options():
    bash, want = Bash(), []
    bash.ask("steward", "")
    want.append(set(COMMANDS) | {"--help", "--version"})
    bash.ask("steward", "st")
    want.append({"stat"})
    for command in COMMANDS:
        bash.ask("steward", command, "--")
        want.append({f"--{name}" for _, name, _ in options_of(command)} | {"--help"})
    eq(bash.answers(), want)


def test_bash_offers_what_options_take():
    live = {"second-chance", "two-list", "clock", "mglru", "s3-fifo", "random"}
    with scratch() as d:
        for name in ("one", "other"):
            with open(os.path.join(d, name), "w"):
                pass
        bash = Bash()
        for words in (("run", "--ram", ""), ("run", "--policy", ""), ("sim", "-p", "op"), ("import", "--from", "c"), ("run", "--stats", d + "/o"),
                      ("sim", "-m", d + "/on"), ("run", "--fail-if", ""), ("stat", "--json", "xyz"), ("help", "di"), ("explain", "wa"),
                      ("completion", ""), ("diff", d + "/ot"), ("doctor", ""),
                      ("run", "--ram", "1G", "--verbose", d + "/o"), ("run", "--ram", "1G", "x", d + "/ot"), ("run", "--", "x", "-o", d + "/ot")):
            bash.ask("steward", *words)
        eq(bash.answers(), [{"auto"}, live, {"opt"}, {"csv", "champsim"}, {d + "/one", d + "/other"}, {d + "/one"}, set(), set(), {"diff"},
                            {"walk", "watermarks"}, {"bash", "zsh", "fish"}, {d + "/other"}, set(), set(), {d + "/other"}, {d + "/other"}])


def test_bash_offers_runs_and_processes():
    with running(STUB="fit") as run:
        bash, want = Bash(), []
        for command in ("top", "ps", "stat", "maps"):
            want.append(str(run.pid if command != "maps" else process_of(run)))
            bash.ask("steward", command, want[-1])
        # Pids of other runs may begin with the same digits.
        for pid, got in zip(want, bash.answers()):
            assert pid in got and all(other.startswith(pid) for other in got), (pid, got)


def test_every_option_is_in_every_script():
    scripts = {shell: script(shell) for shell in ("zsh", "fish")}
    for command in COMMANDS:
        assert f"\t\t'{command}:" in scripts["zsh"] and f"\t{command})\n" in scripts["zsh"], command
        part = scripts["zsh"].split(f"\n\t{command})\n", 1)[1].split(";;", 1)[0]
        for letter, name, value in options_of(command):
            if name == "help":
                continue
            assert (f"{{-{letter},--{name}}}" if letter else f"'*--{name}[") in part, (command, name)
            line, = re.findall(rf"^complete -c steward -n '__fish_seen_subcommand_from {command}' -l {name} .*", scripts["fish"], re.M)
            eq((command, name, bool(re.search(" -(x|rF) ", line)), f" -s {letter} " in line), (command, name, bool(value), bool(letter)))


def test_fish_offers_the_same():
    if shutil.which("fish") is None:
        raise Skip("fish is not installed")
    asked = ["steward ", "steward run --po", "steward sim --policy op", "steward import --from c", "steward explain wa"]
    with scratch() as d:
        path = os.path.join(d, "steward.fish")
        with open(path, "w") as f:
            f.write(script("fish"))
        r = ask("fish", f"source {path}\n" + "\n".join(f"complete -C '{text}' | string replace -r '\\t.*' ''; echo" for text in asked),
                prefix=("--no-config",))
    eq(r.stderr, "")
    answers = [set(part.split()) for part in r.stdout.split("\n\n")]
    assert set(COMMANDS) <= answers[0], answers[0]
    eq(answers[1:5], [{"--policy"}, {"opt"}, {"csv", "champsim"}, {"walk", "watermarks"}])


def test_zsh_offers_the_same():
    """It completes at a terminal only."""
    if shutil.which("zsh") is None:
        raise Skip("zsh is not installed")
    with scratch() as d:
        with open(os.path.join(d, "_steward"), "w") as f:
            f.write(script("zsh"))
        fd, slave = pty.openpty()
        p = subprocess.Popen(["zsh", "-f", "-i"], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                             env=environment(TERM="dumb", HOME=d))
        os.close(slave)
        try:
            os.write(fd, f"PROMPT=; fpath=({d} $fpath); autoload -U compinit; compinit -u -D; echo rea''dy\n".encode())
            until(fd, "ready")
            os.write(fd, b"echo got steward import --from cha\t end\n")
            os.write(fd, b"steward import --from cha\t")
            until(fd, "--from champsim")
        finally:
            p.kill()
            p.wait()
            os.close(fd)


def until(fd, seen, seconds=20):
    got, deadline = "", time.monotonic() + seconds
    while seen not in got:
        assert time.monotonic() < deadline, got
        if select.select([fd], [], [], 0.2)[0]:
            got += os.read(fd, 65536).decode(errors="replace")


def test_wrong_usage():
    for args, line in (([], "completion: name one shell; steward completion bash|zsh|fish"),
                       (["bash", "zsh"], "completion: name one shell; steward completion bash|zsh|fish"),
                       (["tcsh"], "tcsh: no script for this shell; there are bash, zsh and fish")):
        r = steward("completion", *args)
        eq((r.stderr, r.returncode), (f"steward: {line}\n", 2))


main(globals())
