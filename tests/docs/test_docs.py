"""What the documents say exists: commands, options, make targets, files behind links. TAP on stdout.

    test_docs.py SOURCE_ROOT STEWARD BUILD_ROOT
"""
import glob
import json
import os
import re
import subprocess
import sys

ROOT, STEWARD, BUILD = sys.argv[1:4]
SUBCOMMANDS = tuple(re.search(r"steward-(\w+)\.1", page).group(1) for page in sorted(glob.glob(f"{ROOT}/man/steward-*.1.scd")))


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as f:
        return f.read()


def documents(ending):
    """Relative paths of the documents with that ending: those at the top and in docs/, docs/learn/ and man/."""
    found = []
    for folder in ("", "docs", "docs/learn", "man"):
        found += [os.path.join(folder, name) for name in sorted(os.listdir(os.path.join(ROOT, folder)))
                  if name.endswith(ending)]
    return found


def help_of(*args):
    return subprocess.run([STEWARD, *args, "--help"], stdout=subprocess.PIPE, text=True, check=True).stdout


def options_of(subcommand):
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", help_of(subcommand).split("\n\n", 1)[1]))


def code_of(document):
    """Lines of commands: in fenced or indented blocks, and `inline`."""
    text = read(document)
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.S | re.M)
    rest = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.S | re.M)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"^(?: {4}|\t)(.*)", rest, re.M)
    return lines + re.findall(r"`([^`\n]+)`", rest)


def anchors_of(document):
    """As GitHub makes them of headings."""
    heads = re.findall(r"^#+ (.*)", read(document), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def every_option_is_in_the_man_page():
    for subcommand in SUBCOMMANDS:
        page = read("man/steward-%s.1.scd" % subcommand)
        for option in sorted(options_of(subcommand)):
            if not re.search(r"\*%s\*" % re.escape(option), page):
                yield "man/steward-%s.1.scd lacks %s" % (subcommand, option)


def every_option_in_the_man_page_exists():
    for subcommand in SUBCOMMANDS:
        page = read("man/steward-%s.1.scd" % subcommand)
        section = re.search(r"^# OPTIONS\n(.*?)^# ", page, re.S | re.M).group(1)
        for option in re.findall(r"\*(--?[a-z][a-z-]*)\*", section):
            if option not in options_of(subcommand):
                yield "man/steward-%s.1.scd has %s" % (subcommand, option)


def every_steward_command_in_the_documents_exists():
    known = set(re.findall(r"^  ([a-z]+)", help_of(), re.M))
    for document in documents(".md"):
        for line in code_of(document):
            for word, rest in re.findall(r"^(?:\$ )?(?:sudo )?(?:[\w./]*/)?steward ([a-z]+)(.*)", line):
                if word not in known:
                    yield "%s: steward %s" % (document, word)
                elif word in SUBCOMMANDS:
                    for option in re.findall(r"\s(--[a-z][a-z-]*)", rest.split(" -- ")[0]):
                        if option not in options_of(word):
                            yield "%s: steward %s %s" % (document, word, option)


def every_make_target_in_the_documents_exists():
    known = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.M))
    for document in documents(".md"):
        for line in code_of(document):
            for target in re.findall(r"(?:^|sudo |&& |\$ )make ([a-z-]+)", line):
                if target not in known:
                    yield "%s: make %s" % (document, target)


def every_script_in_the_documents_can_be_run():
    """A script with options after it is a command: it is there, and executable. (Other projects have other folders.)"""
    for document in documents(".md"):
        for line in code_of(document):
            for name in re.findall(r"^(?:\$ )?(?:sudo )?((?:\w+/)+\w+\.(?:py|sh)) -", line):
                ours = os.path.isdir(os.path.join(ROOT, name.split("/")[0]))
                if ours and not os.access(os.path.join(ROOT, name), os.X_OK):
                    yield "%s: %s" % (document, name)


def links_between_documents_resolve():
    for document in documents(".md"):
        for target in re.findall(r"\]\(([^)\s]+)\)", read(document)):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            path = os.path.normpath(os.path.join(os.path.dirname(document), name)) if name else document
            if not os.path.exists(os.path.join(ROOT, path)):
                yield "%s: %s" % (document, target)
            elif anchor and anchor not in anchors_of(path):
                yield "%s: %s, no such heading" % (document, target)


def every_man_page_named_exists():
    pages = {os.path.basename(page)[:-len(".scd")] for page in documents(".scd")}
    for document in documents(".md") + documents(".scd"):
        for name, section in re.findall(r"\*?((?:lib)?steward[a-z-]*)\*?\((\d)\)", read(document)):
            if "%s.%s" % (name, section) not in pages:
                yield "%s: %s(%s)" % (document, name, section)


def what_man_pages_refer_to_and_headers_are_installed():
    with open(os.path.join(BUILD, "meson-info", "intro-installed.json"), encoding="utf-8") as f:
        installed = {os.path.relpath(source, ROOT): target for source, target in json.load(f).items()}
    for page in documents(".scd"):
        for name in re.findall(r"_(share/[\w./-]+)_", read(page)):
            if not any(target.endswith("/" + name) for target in installed.values()):
                yield "%s: %s" % (page, name)
    for name in os.listdir(os.path.join(ROOT, "include", "steward")):
        header = os.path.join("include", "steward", name)
        if not installed.get(header, "").endswith("/" + header):
            yield header


def versions_are_the_same_everywhere():
    version = re.search(r"^  version: '([^']+)'", read("meson.build"), re.M).group(1)
    for name, pattern in (("debian/changelog", r"^steward \(([^)]+)\)"), ("CHANGELOG.md", r"^## \[([^]]+)\]"),
                          ("src/preload/meson.build", r"version: '([^']+)', soversion"),
                          ("src/embed/meson.build", r"version: '([^']+)', soversion")):
        found = re.search(pattern, read(name), re.M).group(1)
        if found != version:
            yield "%s: %s, and meson.build has %s" % (name, found, version)


def the_image_is_made_of_what_is_built():
    """Its packages are those of the Debian packages, and the files that it copies are installed."""
    recipe = read("examples/deploy/Containerfile").replace("\\\n", " ")
    packages = set(re.search(r"apt-get install ([^&\n]*)", recipe).group(1).split())
    wanted = re.search(r"^Build-Depends: (.*)", read("debian/control"), re.M).group(1)
    # The manual is not in the image, and what every Debian system that builds has is not in debian/control.
    for name in sorted(set(re.findall(r"([\w.+-]+)(?: \([^)]*\))?(?:, |$)", wanted)) - {"debhelper-compat", "scdoc"} | {"gcc", "libc6-dev"}):
        if name not in packages:
            yield "examples/deploy/Containerfile lacks %s" % name
    with open(os.path.join(BUILD, "meson-info", "intro-installed.json"), encoding="utf-8") as f:
        installed = {os.path.basename(target) for target in json.load(f).values()}
    for name in re.findall(r"^COPY --from=build \S*/(\S+) ", recipe, re.M):
        if not any(target == name or target.startswith(name + ".") for target in installed):
            yield "examples/deploy/Containerfile copies %s" % name


def main():
    tests = [every_option_is_in_the_man_page, every_option_in_the_man_page_exists,
             every_steward_command_in_the_documents_exists, every_make_target_in_the_documents_exists,
             every_script_in_the_documents_can_be_run, links_between_documents_resolve, every_man_page_named_exists,
             what_man_pages_refer_to_and_headers_are_installed, the_image_is_made_of_what_is_built, versions_are_the_same_everywhere]
    print("1..%d" % len(tests))
    failed = False
    for number, test in enumerate(tests, 1):
        problems = list(dict.fromkeys(test()))
        failed = failed or bool(problems)
        print("%sok %d - %s" % ("not " if problems else "", number, test.__name__.replace("_", " ")))
        for problem in problems:
            print("# " + problem)
    sys.exit(1 if failed else 0)


main()
