#!/usr/bin/python3
"""What is each of many source files about? Its words that are frequent there and rare elsewhere (tf-idf).

    keywords.py LIST >keywords.txt

LIST names a text file a line. How rare a word is, is known only when all files have been read; until then everything
is kept in memory: the lines, the words, the counts, a dozen times the size of the text. `make demo` runs this inside
a quarter of that.
"""
import gc
import math
import re
import sys

WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9]{2,}")
TOP = 6


class File:
    def __init__(self, path):
        self.path = path
        with open(path, encoding="utf-8", errors="replace") as f:
            self.lines = f.read().splitlines()
        self.words = [WORD.findall(line) for line in self.lines]
        self.count = {}
        for words in self.words:
            for word in words:
                self.count[word] = self.count.get(word, 0) + 1


def keywords(file, files_with, nr_files):
    """The best words of a file, and the line that has most of them."""
    def score(word):
        return file.count[word] * math.log(nr_files / files_with[word])

    best = sorted(file.count, key=lambda word: (-score(word), word))[:TOP]
    top = set(best)
    line = max(range(len(file.lines)), key=lambda i: (len(top.intersection(file.words[i])), -i), default=None)
    return best, "" if line is None else "%d: %s" % (line + 1, file.lines[line].strip()[:80])


def main():
    gc.disable()  # there are no cycles to find, and looking for them walks through all of the memory
    with open(sys.argv[1], encoding="utf-8", errors="surrogateescape") as f:
        files = [File(path) for path in f.read().split("\n")[:-1]]
    files_with = {}
    for file in files:
        for word in file.count:
            files_with[word] = files_with.get(word, 0) + 1
    for file in files:
        best, line = keywords(file, files_with, len(files))
        print("%s\n\t%s\n\t%s" % (ascii(file.path), " ".join(best), ascii(line)))


main()
