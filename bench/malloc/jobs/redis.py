"""redis.py BENCHMARK_REQUESTS PREFIX…: a redis-server under the prefix, loaded by redis-benchmark, checked and stopped.

Prints two lines: what the benchmark's keys hold at the end, and `seconds=S`, the wall time of the benchmark.
"""

import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "tests", "live", "jobs"))

import redis_check  # noqa: E402

KEYS = 4000  # of our own, compared at the end


def main():
    requests, prefix = sys.argv[1], sys.argv[2:]
    port = redis_check.free_port()
    with tempfile.TemporaryDirectory(prefix="redis-bench.") as folder:
        server = subprocess.Popen(prefix + ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no",
                                            "--dir", folder, "--loglevel", "warning"], stdout=subprocess.DEVNULL)
        try:
            client = redis_check.wait_until_up(port, server)
            began = time.monotonic()
            subprocess.run(["redis-benchmark", "-p", str(port), "-q", "-t", "set,get,lpush,lpop,sadd,hset,zadd,lrange_100",
                            "-n", requests, "-r", "50000", "-d", "200", "-c", "20", "-P", "16"], check=True,
                           stdout=subprocess.DEVNULL)
            seconds = time.monotonic() - began
            wrong = redis_check.check(client, KEYS, redis_check.exercise(client, KEYS))
            client.socket.sendall(b"*2\r\n$8\r\nSHUTDOWN\r\n$6\r\nNOSAVE\r\n")
            status = server.wait(timeout=30)
        finally:
            if server.poll() is None:
                server.kill()
                server.wait()
    print("keys %d, wrong %d, server's status %d" % (KEYS, wrong, status))
    print("seconds=%.3f" % seconds)
    return 1 if wrong or status else 0


if __name__ == "__main__":
    sys.exit(main())
