#!/usr/bin/python3
"""Adds up what meson's test logs say and ends with one line: N passed, N failed.

    summary.py LOG...     LOG without its ending: build/meson-logs/testlog

LOG.junit.xml has the subtests of each TAP test, LOG.json how each test program ended. A program that ended badly
without a failed subtest (a crash, a leak found at exit, too few subtests, its time over) counts as one failure, and
so does a log that is not there: what did not run has not passed. Each failure is named, with the comment lines that
the program wrote behind it. Skipped subtests are counted on the line before the last.
Exit status 1 if anything failed.
"""
import collections
import json
import sys
import xml.etree.ElementTree as ET

GOOD = ("OK", "SKIP", "EXPECTEDFAIL")
REASON_LINES = 8


def subtests(path):
    """program -> [(name, passed | failed | skipped), ...]"""
    results = collections.defaultdict(list)
    for suite in ET.parse(path).getroot().iter("testsuite"):
        for case in suite.iter("testcase"):
            kinds = {child.tag for child in case}
            if kinds & {"failure", "error"}:
                result = "failed"
            else:
                result = "skipped" if "skipped" in kinds else "passed"
            results[suite.get("name").split(".", 1)[-1]].append((case.get("name"), result))
    return results


def programs(path):
    """[(program, how it ended, its stdout), ...]"""
    with open(path, encoding="utf-8") as f:
        tests = [json.loads(line) for line in f]
    return [(test["name"], test["result"], test.get("stdout", "")) for test in tests]


def reasons(stdout):
    """failed subtest -> the comment lines behind it"""
    found, lines = {}, None
    for line in stdout.splitlines():
        if line.startswith("not ok "):
            lines = found.setdefault(line[len("not ok "):], [])
        elif not line.startswith("#"):
            lines = None
        elif lines is not None and len(lines) < REASON_LINES:
            lines.append("    " + line.lstrip("# "))
    return found


def summarize(log, count, failures):
    try:
        cases, ends = subtests(log + ".junit.xml"), programs(log + ".json")
    except (OSError, ValueError, ET.ParseError) as e:
        count["failed"] += 1
        failures.append("%s: no results (%s)" % (log, e))
        return
    for program, ended, stdout in ends:
        failed, why, title = 0, reasons(stdout), program.split(" / ")[-1]
        for name, result in cases[program]:
            count[result] += 1
            if result == "failed":
                failed += 1
                failures.append("\n".join(["%s: %s" % (title, name)] + why.get(name, [])))
        if ended not in GOOD and failed == 0:
            count["failed"] += 1
            failures.append("%s: ended with %s" % (title, ended))


def main():
    count, failures = collections.Counter(), []
    for log in sys.argv[1:]:
        summarize(log, count, failures)
    for failure in failures:
        print("failed: " + failure)
    if count["skipped"]:
        print("%d skipped" % count["skipped"])
    print("%d passed, %d failed" % (count["passed"], count["failed"]))
    sys.exit(1 if count["failed"] or not count["passed"] else 0)


main()
