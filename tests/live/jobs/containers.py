"""A python3 job on containers: dicts, lists and bytes of about 120 MiB, built,
changed and read in random order; prints a digest that depends on all of it."""

import hashlib
import random

RECORDS = 110_000

rng = random.Random(7)
table = {}
for i in range(RECORDS):
    table["key-%d" % i] = [i, rng.random(), ("%08x" % rng.getrandbits(32)).encode() * 40]

digest = hashlib.sha256()
order = rng.sample(range(RECORDS), RECORDS // 4)
for i in order:
    record = table["key-%d" % i]
    record[0] += 1
    record.append(record[2][:8] + b"+")
for i in order[::3]:
    del table["key-%d" % i]
for i in rng.sample(range(RECORDS), RECORDS // 8):
    record = table.get("key-%d" % i)
    if record is not None:
        digest.update(record[2])

by_value = sorted(table, key=lambda k: table[k][1])
for key in by_value[:: 8]:
    digest.update(repr(table[key]).encode())

blob = bytearray()
for key, record in table.items():
    blob += record[2][:64]
digest.update(blob)
print(len(table), sum(len(r) for r in table.values()), digest.hexdigest())
