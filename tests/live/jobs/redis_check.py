"""redis_check.py KEYS [PREFIX...]: starts `PREFIX redis-server` on a free port,
lets redis-benchmark drive it, then writes KEYS keys of its own, changes and
deletes some, and reads every one of them back and compares. Prints what it
checked; the output is the same every time. The server is ended by its pid."""

import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time


class Client:
    """The few words of RESP that the check needs, pipelined."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self.file = self.socket.makefile("rb")

    def reply(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind in b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self.file.read(size + 2)[:-2]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        sys.exit("redis_check: server said %r" % line)

    def pipeline(self, commands):
        out = bytearray()
        for command in commands:
            out += b"*%d\r\n" % len(command)
            for word in command:
                out += b"$%d\r\n%s\r\n" % (len(word), word)
        self.socket.sendall(out)
        return [self.reply() for _ in commands]

    def call(self, *words):
        return self.pipeline([words])[0]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until_up(port, server):
    for _ in range(600):
        if server.poll() is not None:
            sys.exit("redis_check: the server ended with status %d" % server.returncode)
        try:
            return Client(port)
        except OSError:
            time.sleep(0.05)
    sys.exit("redis_check: the server does not answer")


def batches(items, size=200):
    for i in range(0, len(items), size):
        yield items[i:i + size]


def value_of(i, generation):
    rng = random.Random(i * 1000003 + generation)
    return b"%d:%d:" % (i, generation) + ("%016x" % rng.getrandbits(64)).encode() * (10 + i % 60)


def exercise(client, keys):
    """Writes, rewrites, deletes; returns what every key must hold now."""
    expected = {}
    rng = random.Random(11)

    def put(numbers, generation):
        for batch in batches(numbers):
            client.pipeline([(b"SET", b"own:%d" % i, value_of(i, generation)) for i in batch])
            expected.update((i, generation) for i in batch)

    put(list(range(keys)), 0)
    put(rng.sample(range(keys), keys // 4), 1)
    for batch in batches(rng.sample(range(keys), keys // 10)):
        client.pipeline([(b"DEL", b"own:%d" % i) for i in batch])
        for i in batch:
            expected.pop(i, None)
    return expected


def check(client, keys, expected):
    rng = random.Random(13)
    wrong = 0
    for batch in batches(rng.sample(range(keys), keys)):
        for i, got in zip(batch, client.pipeline([(b"GET", b"own:%d" % i) for i in batch])):
            wanted = value_of(i, expected[i]) if i in expected else None
            if got != wanted:
                wrong += 1
                print("key own:%d is wrong" % i)
    return wrong


def benchmark(port):
    subprocess.run(["redis-benchmark", "-p", str(port), "-q", "-t", "set,get,lpush,lrange_100", "-n", "20000",
                    "-r", "20000", "-d", "300", "-c", "20", "-P", "8"], check=True, stdout=subprocess.DEVNULL)


def main():
    keys, prefix = int(sys.argv[1]), sys.argv[2:]
    port, folder = free_port(), tempfile.mkdtemp(prefix="redis-check.")
    server = subprocess.Popen(prefix + ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no",
                                        "--dir", folder, "--loglevel", "warning"], stdout=subprocess.DEVNULL)
    try:
        client = wait_until_up(port, server)
        benchmark(port)
        expected = exercise(client, keys)
        benchmark(port)
        wrong = check(client, keys, expected)
        print("keys %d, wrong %d, of redis-benchmark %d" % (len(expected), wrong, client.call(b"EXISTS", b"mylist")))
        # A DEBUG-free end: SHUTDOWN is answered by the closing of the connection.
        client.socket.sendall(b"*2\r\n$8\r\nSHUTDOWN\r\n$6\r\nNOSAVE\r\n")
        status = server.wait(timeout=30)
        print("server's status", status)
        return 1 if wrong or status else 0
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGKILL)
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
