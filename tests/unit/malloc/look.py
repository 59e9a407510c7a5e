"""What the preloaded allocator tells of itself: JSON, the summary at exit, the heap profile. TAP.

    look.py LIBRARY PROGRAM_WITH_KNOWN_SITES
"""
import json
import os
import re
import subprocess
import sys
import tempfile

LIBRARY, SITES = sys.argv[1:3]
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
    for word in ("fast", "statsfast", "profile=", "profile=:5", "profile=x:5Q"):
        _, err = run("", f"stats,{word}")
        assert err.startswith(f"steward: STEWARD_MALLOC: unknown word {word}; known are secure, classic, nothread, "
                              "profile=FILE[:BYTES], stats\n"), err
        assert "at its end" in err, err
    # It is not the word that it begins with: that one would add to each block.
    out, err = run("p = libc.malloc(100); print(libc.malloc_usable_size(ctypes.c_void_p(p)))", "secureX")
    assert out == "112\n" and "unknown word secureX;" in err, (out, err)


def the_threshold_of_mappings_may_be_any_number():
    """Blocks that are mappings of their own, of four sizes: each value as glibc 2.36 has it, of these sizes."""
    text = """
before = look()["mapped"]["blocks"]
for size in 150000, 1 << 20, 33 << 20, 200 << 20:
    p = libc.malloc(size)
    print(look()["mapped"]["blocks"] - before, end=" ")
    libc.free(p)"""
    for value, want in (("4294967296", "0 0 0 0"), ("1000000", "0 1 1 1"), ("0x100000", "0 1 1 1"), ("-1", "0 0 0 0"),
                        ("99999999999999999999999", "0 0 0 0"), ("33554433", "0 0 1 1")):
        assert run(text, MALLOC_MMAP_THRESHOLD_=value) == (want + " ", ""), (value, run(text, MALLOC_MMAP_THRESHOLD_=value))


def profile_of_known_sites(words):
    """What the program says of its sites, what the profile says of them, and the profile."""
    with tempfile.TemporaryDirectory() as folder:
        env = dict(os.environ, LD_PRELOAD=LIBRARY, STEWARD_MALLOC=words.replace("FILE", f"{folder}/heap"))
        r = subprocess.run([SITES], env=env, stdout=subprocess.PIPE, check=True, text=True)
        name, = os.listdir(folder)
        assert re.fullmatch(r"heap\.\d+", name), name
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            profile = f.read()
    sites = {name: (int(at, 16), int(size)) for name, at, size in map(str.split, r.stdout.splitlines())}
    found = dict.fromkeys(sites, 0)
    for size, frame in re.findall(r"^\d+: (\d+) \[.*\] @ 0x([0-9a-f]+)", profile.split("MAPPED_LIBRARIES")[0], re.M):
        below = [(at, name) for name, (at, _) in sites.items() if at < int(frame, 16)]
        found[max(below)[1]] += int(size)
    return sites, found, profile


def profile_says_whose_the_bytes_are():
    sites, found, _ = profile_of_known_sites("profile=FILE")
    for name, (_, size) in sites.items():
        # Known from the slabs; each a sample; by chance.
        part = {"small": 0.01, "of_a_thread": 0.01, "large": 0}.get(name, 0.3)
        assert abs(found[name] - size) <= size * part, (name, size, found)


def profile_without_caches_of_threads():
    sites, found, _ = profile_of_known_sites("classic,profile=FILE:64K")
    for name, (_, size) in sites.items():
        assert abs(found[name] - size) <= max(size * 0.3, 1 << 19), (name, size, found)


def profile_has_the_format_of_gperftools():
    _, _, profile = profile_of_known_sites("profile=FILE:100000")
    head, *samples = profile.split("\n\nMAPPED_LIBRARIES:\n")[0].splitlines()
    total = re.fullmatch(r"heap profile: (\d+): (\d+) \[\1: \2\] @ heapprofile", head)
    assert total, head
    rows = [re.fullmatch(r"(\d+): (\d+) \[\1: \2\] @( 0x[0-9a-f]+)+", sample) for sample in samples]
    assert all(rows) and len(rows) > 100, samples
    assert sum(int(row[1]) for row in rows) == int(total[1]) and sum(int(row[2]) for row in rows) == int(total[2]), head
    assert re.search(r"^[0-9a-f]+-[0-9a-f]+ r-xp .*test-sites$", profile, re.M), profile[-2000:]


def main():
    tests = [profile_says_whose_the_bytes_are, profile_without_caches_of_threads, profile_has_the_format_of_gperftools,
             json_counts_what_was_allocated, schema_in_the_documents_is_complete, summary_at_exit_even_if_stderr_is_closed,
             no_word_no_summary, unknown_words_are_named_and_passed_over, the_threshold_of_mappings_may_be_any_number]
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
