"""Texts as C arrays of characters, for the command to carry: bundle.py OUT.c NAME FILE… [NAME FILE…]; a NAME has no dot."""
import sys


def array(name, texts):
    data = b"\n".join(texts) + b"\0"
    rows = (",".join(map(str, data[i:i + 32])) for i in range(0, len(data), 32))
    return f"const char {name}[] = {{\n" + ",\n".join(rows) + "\n};\n"


def main(out, *args):
    parts = {}
    for arg in args:
        if "." not in arg:
            parts[arg] = texts = []
        else:
            with open(arg, "rb") as f:
                texts.append(f.read().rstrip())
    with open(out, "w") as f:
        f.write('#include "cli/draw/html_assets.h"\n')
        f.writelines(array(name, texts) for name, texts in parts.items())


main(*sys.argv[1:])
