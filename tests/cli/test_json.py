"""The JSON writer against Python's reader."""
import json
import os
import random
import subprocess

from tap import eq, main


def show(*args):
    out = subprocess.run([os.environ["JSON_SHOW"], *args], stdout=subprocess.PIPE, check=True).stdout
    return json.loads(out.decode("utf-8"))


def test_every_kind_of_value():
    eq(show(), {"args": [], "empty": {}, "none": [], "max": 2**64 - 1, "fixed": 0.05, "yes": True, "null": None})


def test_strings_come_back():
    texts = ["", "plain", 'quote " backslash \\ slash /', "tab\tnewline\nbell\a\x01\x1f\x7f", "äß€𝄞", "\u0080\u07ff\uffff"]
    eq(show(*texts)["args"], texts)


def test_text_longer_than_the_buffer():
    text = "".join(chr(0x30 + i % 70) for i in range(20000))
    eq(show(text)["args"], [text])


def test_bytes_that_are_not_utf8():
    # Overlong forms, a surrogate, above U+10FFFF, a lone continuation, a cut sequence.
    for bad in (b"\xc0\xaf", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xe2\x82", b"\xff"):
        got = show(b"<" + bad + b">")["args"][0]
        eq(got, "<" + "\ufffd" * len(bad) + ">")


def test_random_bytes_always_give_valid_json():
    rng = random.Random(2)
    for _ in range(50):
        raw = bytes(rng.randrange(1, 256) for _ in range(rng.randrange(200)))
        got = show(raw)["args"][0]
        try:
            eq(got, raw.decode("utf-8"))
        except UnicodeDecodeError:
            assert "\ufffd" in got


main(globals())
