"""What the benchmarks do with their figures: medians with their spread, geometric means, files of JSON."""

import json
import math
import os
import statistics


def spread(values, digits=1):
    """"median (least..most)"; of one value, only it."""
    middle = "%.*f" % (digits, statistics.median(values))
    return middle if len(values) == 1 else "%s (%.*f..%.*f)" % (middle, digits, min(values), digits, max(values))


def geomean(values):
    return math.exp(statistics.fmean(map(math.log, values)))


def write_json(path, data):
    """Nothing incomplete is ever seen under the path's name."""
    with open(path + ".part", "w", encoding="utf-8") as f:
        json.dump(data, f, indent=1)
    os.rename(path + ".part", path)
