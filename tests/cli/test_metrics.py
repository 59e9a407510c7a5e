"""steward run --metrics: the text that Prometheus gets, read as its parser reads it, and clients that do not behave."""
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time

from tap import STEWARD, environment, eq, main, scratch, steward

PAGE = 4096
SAMPLE = re.compile(r'(steward_[a-z_]+)(?:\{([a-z]+)="((?:[^"\\\n]|\\["\\n])*)"\})? ([0-9]+(?:\.[0-9]+)?)$')


@contextlib.contextmanager
def serving(where, command=("sh", "-c", "echo ready; read x"), **env):
    p = subprocess.Popen([STEWARD, "run", "--ram", "256M", "--metrics", where, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True, errors="replace", env=environment(**({"STUB": "pressure"} | env)))
    try:
        eq(p.stdout.readline(), "ready\n")
        yield p
    finally:
        if p.poll() is None:
            p.communicate("\n", 20)


def ask(address, request=b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"):
    """Status line, headers and body; an empty status if it was hung up."""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if len(address) == 4 else socket.AF_INET) as s:
        s.settimeout(20)
        s.connect(address)
        s.sendall(request)
        got = b"".join(iter(lambda: s.recv(65536), b""))
    head, _, body = got.partition(b"\r\n\r\n")
    status, *headers = head.decode().split("\r\n")
    return status, dict(h.split(": ", 1) for h in headers), body.decode()


def parse(text):
    """{(name, label value): number}; everything that the format and its linter ask for is asserted."""
    found, kind, helped = {}, {}, set()
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name, words = line[7:].split(" ", 1)
            assert words and name not in helped, line
            helped.add(name)
        elif line.startswith("# TYPE "):
            name, kind_of = line[7:].split(" ")
            assert name in helped and name not in kind and kind_of in ("gauge", "counter", "histogram"), line
            kind[name] = kind_of
        else:
            name, label, value, number = SAMPLE.match(line).groups()
            base = re.sub("_(bucket|sum|count)$", "", name) if name not in kind else name
            eq(kind[base] == "counter", name.endswith("_total"))
            assert (name, value) not in found and base == list(kind)[-1], line
            assert not re.search("_(ns|ms|pages|kib)(_|$)", base), line
            found[name, value] = float(number)
    return found


def test_figures_to_the_digit():
    with scratch() as d, serving(f"unix:{d}/m") as run:
        status, headers, body = ask(f"{d}/m")
        ps = json.loads(steward("ps", "--json", str(run.pid)).stdout)["runs"][0]
    eq((status, headers["Content-Type"]), ("HTTP/1.1 200 OK", "text/plain; version=0.0.4; charset=utf-8"))
    eq((int(headers["Content-Length"]), headers["Connection"]), (len(body), "close"))
    m = parse(body)
    eq((m["steward_run_info", "sh"], m["steward_processes", "engaged"], m["steward_processes", "native"]), (1, 1, 0))
    eq([m["steward_memory_bytes", k] for k in ("managed", "unmanaged", "pool")], [20000 * PAGE, 2000 * PAGE, 8000 * PAGE])
    eq(m["steward_memory_bytes", "own"], ps["own_bytes"] + ps["launcher_bytes"])
    eq((m["steward_budget_bytes", None], m["steward_budget_free_bytes", None]), (256 << 20, ps["free_bytes"]))
    eq((m["steward_swapped_bytes", "pool"], m["steward_swapped_bytes", "file"]), (24000 * PAGE, 66000 * PAGE))
    eq((m["steward_swap_area_bytes", "pool"], m["steward_swap_area_healthy", "pool"]), (24000 * PAGE, 1))
    eq([m["steward_watermark_bytes", k] for k in ("min", "low", "high")], [n * PAGE for n in (100, 200, 400)])
    eq([m["steward_heap_bytes", k] for k in ("live", "free_slots", "cached", "free_chunks", "meta")], [n << 20 for n in (93, 16, 1, 10, 2)])
    eq([m["steward_faults_total", k] for k in ("minor", "soft", "major")], [1001, 1002, 1003])
    eq(m["steward_stall_seconds_total", None], 1.5)
    named = {"pgminor", "pgsoft", "pgmajfault", "stall_ns", "kswapd_ns"}
    eq({n: m[f"steward_vm_{n}_total", None] for n in ps["counters"] if n not in named},
       {n: v for n, v in ps["counters"].items() if n not in named})
    buckets = [(float(le), n) for (name, le), n in m.items() if name == "steward_fault_duration_seconds_bucket"]
    eq(buckets, sorted(buckets))
    eq([n for le, n in buckets if le in (1.024e-6, 4.096e-6, 1.048576e-3, 4.194304e-3, float("inf"))], [98, 99, 99, 100, 100])
    eq((m["steward_fault_duration_seconds_sum", None], m["steward_fault_duration_seconds_count", None]), (0.002001808, 100))


def test_names_that_are_no_text():
    """What is not UTF-8, or is cut in the middle of a character, would have Prometheus refuse everything."""
    with scratch() as d:
        for name, seen in ((b"caf\xe9", "caf\ufffd"), ("\u00e4".encode() * 40, "\u00e4" * 31 + "\ufffd")):
            os.symlink(shutil.which("sh"), os.path.join(os.fsencode(d), name))
            with serving(f"unix:{d}/m", (os.path.join(os.fsencode(d), name), "-c", "echo ready; read x")):
                eq(parse(ask(f"{d}/m")[2])["steward_run_info", seen], 1)


def test_tcp_with_a_port_of_the_kernels():
    for host, family in (("127.0.0.1", 2), ("localhost", 2), ("[::1]", 4)):
        if family == 4 and not os.path.exists("/proc/net/if_inet6"):
            continue
        with serving(f"{host}:0") as run:
            port = int(re.fullmatch(r"steward: metrics at port (\d+)\n", run.stderr.readline()).group(1))
            status, _, body = ask(("::1", port, 0, 0) if family == 4 else ("127.0.0.1", port))
            eq(status, "HTTP/1.1 200 OK")
            parse(body)


def test_a_socket_is_gone_with_the_run_and_a_stale_one_is_replaced():
    with scratch() as d:
        with serving(f"unix:{d}/m"):
            pass
        eq(os.listdir(d), [])
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(f"{d}/m")
        with serving(f"unix:{d}/m") as run:
            eq(ask(f"{d}/m")[0], "HTTP/1.1 200 OK")
            r = steward("run", "--metrics", f"unix:{d}/m", "true")
            eq((r.stderr, r.returncode), (f"steward: unix:{d}/m: Address already in use; give --metrics another address\n", 125))
            eq(ask(f"{d}/m")[0], "HTTP/1.1 200 OK")
        eq(steward("run", "--metrics", f"unix:{d}/m", "no-such-command").returncode, 127)
        eq(os.listdir(d), [])


def test_other_requests():
    with scratch() as d, serving(f"unix:{d}/m"):
        for request, status in ((b"GET / HTTP/1.1\r\n\r\n", "404 Not Found"), (b"POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
                                (b"GET /metricsx HTTP/1.0\r\n\r\n", "404 Not Found"), (b"x" * 3000, "431 Request Header Fields Too Large"),
                                (b"GET /metrics?a=b HTTP/1.1\r\nA: b\r\n\r\n", "200 OK"), (b"\0\xff\r\n\r\n", "405 Method Not Allowed")):
            eq((request, ask(f"{d}/m", request)[0]), (request, f"HTTP/1.1 {status}"))
        status, headers, body = ask(f"{d}/m", b"HEAD /metrics HTTP/1.1\r\n\r\n")
        eq((status, body), ("HTTP/1.1 200 OK", ""))
        assert int(headers["Content-Length"]) > 5000, headers


def test_clients_that_say_nothing_do_not_keep_others_away():
    with scratch() as d, serving(f"unix:{d}/m", command=("sh", "-c", "echo ready; read x; exit 7")) as run:
        silent = [socket.socket(socket.AF_UNIX)]
        silent[0].connect(f"{d}/m")
        silent[0].sendall(b"GET /met")
        eq(ask(f"{d}/m")[0], "HTTP/1.1 200 OK")
        # Nor do they keep the run from its end.
        silent.append(socket.socket(socket.AF_UNIX))
        silent[-1].connect(f"{d}/m")
        run.communicate("\n", 20)
        eq(run.returncode, 7)
        for s in silent:
            s.close()


def test_counters_never_fall_while_processes_come_and_go():
    script = "echo ready; i=0; while [ $i -lt 12 ]; do /bin/true; i=$((i+1)); done; read x"
    with scratch() as d, serving(f"unix:{d}/m", command=("sh", "-c", script), STUB_ONLY="true"):
        seen, deadline = [], time.monotonic() + 20
        while (not seen or seen[-1] < 12 * 1003) and time.monotonic() < deadline:
            seen.append(parse(ask(f"{d}/m")[2])["steward_faults_total", "major"])
        eq(seen, sorted(seen))
        eq(seen[-1], 12 * 1003)


def test_names_of_commands_are_quoted():
    with scratch() as d:
        name = os.path.join(d, 'a"b\\c')
        with open(name, "w") as f:
            f.write("#!/bin/sh\necho ready; read x\n")
        os.chmod(name, 0o755)
        with serving(f"unix:{d}/m", command=(name,)):
            eq(parse(ask(f"{d}/m")[2])["steward_run_info", 'a\\"b\\\\c'], 1)


def test_what_is_no_address():
    for bad in ("x", "1.2.3.4", "1.2.3.4:", "1.2.3:9", "host:80", "127.0.0.1:65536", "127.0.0.1:1x", "::1:9", "[::1:9", ":9464", ""):
        r = steward("run", "--metrics", bad, "true")
        eq((r.stderr, r.returncode), (f'steward: --metrics: "{bad}" is no address; write it as unix:/run/job.sock, 127.0.0.1:9464 or '
                                      "[::1]:9464\n", 2))
    r = steward("run", "--metrics", "unix:", "true")
    eq((r.stderr, r.returncode), ("steward: --metrics: the path of the socket is missing; write it as unix:/run/job.sock\n", 2))
    r = steward("run", "--metrics", "unix:/" + "x" * 107, "true")
    eq((r.stderr, r.returncode), (f"steward: --metrics: /{'x' * 107}: a socket's path has at most 107 bytes; give a shorter one\n", 2))
    r = steward("run", "--metrics", "unix:/no/such/dir/m", "true")
    eq((r.stderr, r.returncode), ("steward: unix:/no/such/dir/m: No such file or directory; give --metrics another address\n", 125))


def test_the_document_and_the_dashboard_name_what_there_is():
    with scratch() as d, serving(f"unix:{d}/m"):
        body = ask(f"{d}/m")[2]
    names = set(re.findall(r"^# TYPE (\S+)", body, re.M))
    docs = os.environ["DOCS_DIR"]
    with open(os.path.join(docs, "metrics.md")) as f:
        doc = f.read()
    for name in names:
        assert f"`{name}`" in doc or name.startswith("steward_vm_"), f"docs/metrics.md does not tell about {name}"
    with open(os.path.join(docs, "..", "examples", "grafana-dashboard.json")) as f:
        text = f.read()
    expressions = [t["expr"] for p in json.loads(text)["panels"] for t in p["targets"]]
    for name in re.findall(r"steward_[a-z_]+", " ".join(expressions) + doc):
        assert re.sub("_bucket$", "", name) in names or name == "steward_vm_", name


main(globals())
