"""What the preloaded allocator tells of itself: JSON, the summary at exit. TAP. Usage: look.py LIBRARY"""
import json
import os
import re
import subprocess
import sys

LIBRARY = sys.argv[1]
JOB = """
import ctypes, json
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.stw_malloc_stats_json.restype = ctypes.c_size_t
libc.stw_malloc_stats_json.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
buf = ctypes.create_string_buffer(65536)
def look():
    assert libc.stw_malloc_stats_json(buf, 65536) == len(buf.value)
    return json.loads(buf.value)
"""


def run(text, words="", **env):
    """Output and errors of a Python program under the allocator; its own objects are elsewhere."""
    env = dict(os.environ, LD_PRELOAD=LIBRARY, PYTHONMALLOC="pymalloc", STEWARD_MALLOC=words, **env)
    r = subprocess.run([sys.executable, "-c", JOB + text], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert r.returncode == 0, r.stderr
    return r.stdout, r.stderr


def json_counts_what_was_allocated():
    out, _ = run("""
before = look()
small = [libc.malloc(1000) for _ in range(500)]
big = [libc.malloc(5 << 20) for _ in range(3)]
between = look()
for b in small + big: libc.free(b)
print(json.dumps([before, between, look()]))""")
    before, between, after = json.loads(out)

    def used(stats, slot_bytes):
        return sum(c["used"] for c in stats["classes"] if c["slot_bytes"] == slot_bytes)
    for stats in (before, between, after):
        assert stats["schema"] == 1 and stats["used_bytes"] <= stats["held_bytes"], stats
        for c in stats["classes"]:
            assert c["used"] + c["cached"] + c["free"] == c["slots"], c
    assert used(between, 1024) - used(before, 1024) == 500, between
    assert abs(used(after, 1024) - used(before, 1024)) < 10, after
    assert between["mapped"]["blocks"] - before["mapped"]["blocks"] == 3, between
    assert between["mapped"]["bytes"] - before["mapped"]["bytes"] >= 15 << 20, between
    assert after["mapped"]["peak_bytes"] >= between["mapped"]["bytes"], after
    assert between["used_bytes"] - before["used_bytes"] >= 500 * 1000 + (15 << 20), between


def schema_in_the_documents_is_complete():
    out, _ = run("print(json.dumps(look()))")
    with open(os.path.join(os.path.dirname(__file__), "../../../docs/malloc.md"), encoding="utf-8") as f:
        documented = set(re.findall(r"^\| `([\w.\[\]]+)` \|", f.read(), re.M))
    names = set()
    for key, value in json.loads(out).items():
        inner = value if isinstance(value, dict) else value[0] if isinstance(value, list) else {}
        names |= {f"{key}.{name}" if isinstance(value, dict) else f"{key}[].{name}" for name in inner} or {key}
    assert names <= documented, names - documented


def summary_at_exit_even_if_stderr_is_closed():
    for text in ("", "import os; os.close(2)"):
        out, err = run(f"b = libc.malloc(700)\n{text}", "stats")
        lines = err.splitlines()
        assert re.fullmatch(r"steward: malloc: process \d+ at its end", lines[0]), err
        for label in ("held", "in use", "peak RSS", "arenas", "mapped", "caches", "tables"):
            assert any(re.match(rf"  {label} +\d", line) for line in lines), (label, err)
        rows = [[int(n) for n in line.split()] for line in lines if re.fullmatch(r"[ \d]+", line)]
        assert any(row[0] == 704 and row[2] >= 1 for row in rows), err
        assert all(len(row) == 5 for row in rows) and out == "", (out, rows)


def no_word_no_summary():
    assert run("") == ("", "")


def unknown_words_are_named_and_passed_over():
    _, err = run("", "stats,fast")
    assert err.startswith("steward: STEWARD_MALLOC: unknown word fast; known are classic, nothread, stats"), err
    assert "at its end" in err, err


def main():
    tests = [json_counts_what_was_allocated, schema_in_the_documents_is_complete, summary_at_exit_even_if_stderr_is_closed,
             no_word_no_summary, unknown_words_are_named_and_passed_over]
    print(f"1..{len(tests)}")
    failed = False
    for number, test in enumerate(tests, 1):
        why = ""
        try:
            test()
        except AssertionError as problem:
            failed, why = True, str(problem)
        print(f"{'not ' if why else ''}ok {number} - {test.__name__.replace('_', ' ')}")
        for line in why.splitlines():
            print("# " + line)
    sys.exit(failed)


main()
