"""What a worker says is believed in size, time and form only, however hostile the worker is."""

import contextlib
import json
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
from ansible.module_utils.aroundtheworld import bounded_http, health_check, worker_client

from tests.conftest import CHECKOUT

HEALTH = {
    "state": "ready",
    "pid": 812,
    "pool": "public",
    "port": 10001,
    "release": "4b1c09d2f3a7",
    "config": "c0ffee",
    "uptime_seconds": 7.5,
    "connections": 3,
    "requests_in_flight": 1,
    "requests_total": 41,
    "responses": {"2xx": 40, "5xx": 1, "aborted": 0},
    "latency_seconds": {"count": 41, "sum": 1.5, "p50": None, "p99": 0.1, "buckets": [[0.01, 41]]},
    "loop_lag_seconds": {"max": 0.01, "p99": 0.0},
    "busy_seconds": 0.0,
    "busy_in": None,
}
NOTED = worker_client.WorkerStatus("4b1c", "91ab", "flask")
SILENT = worker_client.SILENT
OK = b"HTTP/1.0 200 OK\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
MEGABYTE = 1024 * 1024


def answer(body=b"", head=OK + b"Content-Type: application/json\r\n"):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.fixture
def control():
    with tempfile.TemporaryDirectory(prefix="role-") as directory:
        yield Path(directory, "control.sock")


class Server:
    """Has a function write what it likes to everybody who connects."""

    def __init__(self, path, behave):
        self.over = threading.Event()
        self.got = []
        self._behave, self._path = behave, path
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(
                    target=self._serve, args=(self._listening.accept()[0],), daemon=True
                ).start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            self.got.append(connection.recv(4096))
            self._behave(connection, self.over)

    def close(self):
        self.over.set()
        self._listening.close()


@pytest.fixture
def serve(control):
    servers = []

    def serve(behave, path=control):
        if isinstance(behave, bytes):
            text = behave
            behave = lambda connection, over: connection.sendall(text)  # noqa: E731
        servers.append(Server(path, behave))
        return servers[-1]

    yield serve
    for server in servers:
        server.close()


def note(control, text="4b1c 91ab flask\n"):
    control.with_name("runs").write_text(text)


def drip(text, pause=0.02):
    def behave(connection, over):
        for number in range(len(text)):
            connection.sendall(text[number : number + 1])
            if over.wait(pause):
                return

    return behave


def repeat(first, piece):
    """Sends without end."""

    def behave(connection, over):
        connection.sendall(first)
        while not over.is_set():
            connection.sendall(piece)

    return behave


def silence(connection, over):
    over.wait(30)


# --- What is understood ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", [b"200 OK", b"503 Service Unavailable"])
def test_a_worker_says_it_on_its_socket(control, serve, status):
    server = serve(answer(HEALTH, b"HTTP/1.0 %s\r\n" % status))
    status = worker_client.read_status(control)
    assert status.to_json() == {
        "release": "4b1c09d2f3a7",
        "config": "c0ffee",
        "pool": "public",
        "state": "ready",
        "pid": 812,
        "uptime_seconds": 7.5,
        "requests_total": 41,
        "requests_in_flight": 1,
        "responses": {"2xx": 40, "5xx": 1, "aborted": 0},
        "latencies": ((0.01, 41),),
        "loop_lag_max": 0.01,
        "busy_seconds": 0.0,
        "busy_in": "",
    }
    assert not status.silent
    assert server.got[0].startswith(b"GET /health HTTP/1.1\r\n")


def test_an_older_runner_and_a_newer_one_are_understood(control, serve):
    older = {k: v for k, v in HEALTH.items() if k not in ("responses", "latency_seconds")}
    del older["loop_lag_seconds"]
    serve(answer(older))
    status = worker_client.read_status(control)
    assert (status.state, status.responses, status.latencies) == ("ready", None, ())
    control.unlink()
    serve(answer(HEALTH | {"state": "warming_up", "phase": {"deep": [1, None]}}))
    assert worker_client.read_status(control).state == "warming_up"


def test_the_runner_of_this_release_is_understood(control):
    """The runner itself, in a process of its own."""
    program = """
        import sys
        from pathlib import Path
        from aroundtheworld_runner import control, worker
        settings = worker.Settings(module="m", attribute="a", control=None, private_app=None,
                                   hold=False, drain_timeout=1.0, stream_timeout=1.0, stream=False,
                                   linger=1.0, block_warn=1.0)
        endpoints = worker.Worker(settings, []).endpoints()
        with control.control_socket(Path(sys.argv[1]), endpoints):
            print("listening", flush=True)
            sys.stdin.read()
    """
    runner = CHECKOUT / "roles/aroundtheworld/files/runner"
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(control)],
        env={**os.environ, "PYTHONPATH": str(runner), "AROUNDTHEWORLD_RELEASE": "2f6c"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline()
        status = worker_client.read_status(control)
        routes = worker_client.routes(control)
        process.stdin.close()
    assert (status.state, status.release, status.responses["2xx"]) == ("starting", "2f6c", 0)
    assert routes == []


def test_of_a_command_it_is_noted(control):
    note(control)
    assert worker_client.read_status(control) == NOTED


def test_a_socket_that_is_left_from_a_worker_hides_no_note(control):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(control))
    note(control)
    assert worker_client.read_status(control) == NOTED


def test_a_note_that_is_left_from_a_command_hides_no_worker(control, serve):
    serve(answer(HEALTH))
    note(control)
    assert worker_client.read_status(control).release == "4b1c09d2f3a7"


# --- What is not ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "disguise", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir]
)
def test_a_note_that_is_no_file_holds_nobody_up(control, disguise):
    disguise(control.with_name("runs"))
    assert worker_client.read_status(control) == SILENT


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "4b1c",
        "4b1c 91ab flask more",
        "4b1c 91ab \x1b[2J",
        "4b1c 91ab " + "x" * 65,
        "\xff",
    ],
)
def test_who_says_nothing_is_not_known(control, text):
    if text is not None:
        control.with_name("runs").write_bytes(text.encode("latin-1"))
    assert worker_client.read_status(control) == SILENT


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("state", None),
        ("state", ""),
        ("state", 7),
        ("state", "ready\nWARNING: all is lost"),
        ("state", "\x1b[2Jready"),
        ("release", ["4b1c"]),
        ("release", "../../etc"),
        ("release", "x" * 65),
        ("pid", True),
        ("pid", -1),
        ("pid", "812"),
        ("requests_total", 1.5),
        ("requests_total", 10**300),
        ("uptime_seconds", None),
        ("uptime_seconds", float("nan")),
        ("uptime_seconds", float("inf")),
        ("uptime_seconds", 1e308),
        ("busy_seconds", -0.5),
        ("busy_in", "Slow.get\x1b]0;owned\x07"),
        ("busy_in", "a\nb"),
        ("busy_in", "\u202eteg.wolS"),
        ("busy_in", "\ud800"),
        ("responses", [["2xx", 1]]),
        ("responses", {"2xx": "many"}),
        ("responses", {"\x1b": 1}),
        ("responses", {str(number): 1 for number in range(17)}),
        ("latency_seconds", 7),
        ("latency_seconds", {"buckets": {"0.1": 3}}),
        ("latency_seconds", {"buckets": [[0.1]]}),
        ("latency_seconds", {"buckets": [[0.1, 2, 3]]}),
        ("latency_seconds", {"buckets": [[0.1, -2]]}),
        ("loop_lag_seconds", {"max": "1"}),
    ],
)
def test_a_field_of_another_form_is_no_answer(control, serve, field, value):
    serve(answer(HEALTH | {field: value}))
    assert worker_client.read_status(control) == SILENT


def test_what_is_long_is_cut(control, serve):
    serve(answer(HEALTH | {"busy_in": "Ä" * 5000}))
    assert worker_client.read_status(control).busy_in == "Ä" * 199 + "…"


HOSTILE = {
    "nothing": b"",
    "no HTTP": b"\x00\xff" * 500,
    "no status": b"HTTP/1.1 what\r\n\r\n",
    "half an answer": answer(HEALTH)[:-20],
    "no JSON": answer(b"<html>"),
    "no object": answer([HEALTH]),
    "binary": answer(bytes(range(256)) * 50),
    "nested": answer(b"[" * 60_000),
    "nested field": answer(b'{"state": "ready", "x": ' + b'{"a":' * 10_000),
    "a number without end": answer(b'{"state": "ready", "pid": ' + b"9" * 60_000 + b"}"),
    "twice": answer(b'{"state": "ready", "release": "a", "release": "b"}'),
    "another status": answer(HEALTH, b"HTTP/1.1 500 Oh\r\n"),
    "a redirect": answer(HEALTH, b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:22/\r\n"),
    "too long": answer(json.dumps(HEALTH).encode() + b" " * 65 * 1024),
    "a length that is a lie": OK + b"Content-Length: 99999999999\r\n\r\n{}",
    "a length without end": OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}",
    "a chunk that is a lie": CHUNKED + b"ffffffffff\r\n{}",
    "many headers": OK + b"".join(b"X-%d: y\r\n" % number for number in range(200)) + b"\r\n{}",
}


@pytest.mark.parametrize("behave", HOSTILE.values(), ids=HOSTILE)
def test_anything_else_is_no_answer(control, serve, behave):
    serve(behave)
    assert worker_client.read_status(control) == SILENT
    assert worker_client.routes(control) is None


WITHOUT_END = {
    "a byte a moment": drip(answer(HEALTH | {"busy_in": "x" * 2000})),
    "a header a moment": drip(OK + b"X: y\r\n" * 5000),
    "interim answers": repeat(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a body": repeat(OK + b"\r\n", b"[" * 65536),
    "chunks": repeat(CHUNKED, b"1\r\n[\r\n" * 999),
    "a status line": repeat(b"", b"H" * 65536),
    "a header": repeat(OK + b"X: ", b"y" * 65536),
    "headers": repeat(OK, b"X: y\r\n" * 9999),
    "silence": silence,
}


@pytest.mark.parametrize(
    "ask", [worker_client.read_status, worker_client.routes, worker_client.accept]
)
@pytest.mark.parametrize("behave", WITHOUT_END.values(), ids=WITHOUT_END)
def test_one_deadline_and_little_memory_whatever_comes(control, serve, monkeypatch, behave, ask):
    for name in ("STATUS_SECONDS", "ACCEPT_SECONDS", "ROUTES_SECONDS"):
        monkeypatch.setattr(worker_client, name, 0.5)
    server = serve(behave)
    tracemalloc.start()
    try:
        begun = time.monotonic()
        result = ask(control)
        took = time.monotonic() - begun
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        server.close()
    assert result == SILENT or result is None or "does not answer" in result
    assert took < 1.5
    # Of the routes, with what was read on its way from one place to another.
    assert most < (8 if ask is worker_client.routes else 2) * MEGABYTE


def test_a_worker_that_never_accepts_costs_one_deadline(control, monkeypatch):
    monkeypatch.setattr(worker_client, "STATUS_SECONDS", 0.3)
    with socket.socket(socket.AF_UNIX) as listening, contextlib.ExitStack() as waiting:
        listening.bind(str(control))
        listening.listen(0)
        for full in (False, True):
            if full:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        client = waiting.enter_context(socket.socket(socket.AF_UNIX))
                        client.setblocking(False)
                        client.connect(str(control))
            begun = time.monotonic()
            assert worker_client.read_status(control) == SILENT
            assert 0.25 < time.monotonic() - begun < 1.5


def test_many_silent_workers_cost_one_deadline(control, serve, monkeypatch):
    monkeypatch.setattr(worker_client, "STATUS_SECONDS", 0.5)
    paths = {number: control.with_name(f"{number}.sock") for number in range(64)}
    for number, path in paths.items():
        serve(answer(HEALTH) if number == 7 else silence, path)
    begun = time.monotonic()
    statuses = worker_client.read_statuses(paths)
    took = time.monotonic() - begun
    assert list(statuses) == list(paths)
    assert [number for number, status in statuses.items() if not status.silent] == [7]
    assert took < 3


def test_nobody_to_ask_is_no_fault():
    assert worker_client.read_statuses({}) == {}


@pytest.mark.parametrize("ask", [worker_client.read_status, worker_client.accept])
def test_a_link_in_the_place_of_the_socket_leads_nowhere(control, serve, ask):
    """Otherwise a worker could have root speak to any service of the host."""
    elsewhere = control.with_name("docker.sock")
    server = serve(answer(HEALTH), elsewhere)
    control.symlink_to(elsewhere)
    result = ask(control)
    assert result == SILENT or "does not answer" in result
    assert server.got == []


@pytest.mark.parametrize("disguise", [os.mkfifo, Path.touch, Path.mkdir])
def test_what_is_no_socket_is_no_answer(control, disguise):
    disguise(control)
    assert worker_client.read_status(control) == SILENT
    assert "is not a socket" in worker_client.accept(control)


def test_no_handle_is_left_open(control, serve):
    serve(b"what")
    worker_client.read_status(control)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        worker_client.read_status(control)
        worker_client.read_status(control.with_name("nobody.sock"))
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2  # of the server's threads


# --- Orders and routes ----------------------------------------------------------------------------


def test_a_worker_that_holds_is_told_to_accept(control, serve):
    server = serve(answer({}))
    assert worker_client.accept(control) == ""
    assert server.got[0].startswith(b"POST /accept ")


def test_a_worker_that_refuses_or_does_not_answer_is_told_of(control, serve):
    assert "does not answer on its private socket" in worker_client.accept(control)
    serve(answer({}, b"HTTP/1.0 503 No\r\n"))
    assert worker_client.accept(control) == "it refuses to take connections (status 503)"


def test_a_worker_says_how_much_it_ends(control, serve):
    server = serve(answer({"websockets": 3, "streams": 1, "seconds": 2.5}))
    assert worker_client.end_streams(control) == (3, 1, 2.5)
    assert server.got[0].startswith(b"POST /end-streams ")


def test_a_runner_that_does_not_say_within_how_long_takes_ten_seconds(control, serve):
    serve(answer({"websockets": 3, "streams": 1}))
    assert worker_client.end_streams(control) == (3, 1, 10)


@pytest.mark.parametrize(
    "response",
    [
        answer({"error": "no POST /end-streams"}, b"HTTP/1.0 404 No\r\n"),
        answer({"websockets": -1, "streams": 0}),
        answer({"websockets": 1}),
        answer({"websockets": 1, "streams": 0, "seconds": "soon"}),
        answer(),
    ],
    ids=["an older runner", "fewer than none", "a part", "no number", "nothing"],
)
def test_a_worker_that_does_not_say_so_may_not_have_ended_anything(control, serve, response):
    serve(response)
    assert worker_client.end_streams(control) is None


ROUTE = {
    "route": "/x/([0-9]+)",
    "handler": "shop.X",
    "websocket": False,
    "blocked_seconds": 0.5,
    "holds": {"count": 3, "sum": 0.6, "p50": 0.1, "p99": 0.1, "buckets": [[0.1, 3]], "max": 0.1},
}


def test_routes_are_understood_also_a_thousand_of_them(control, serve):
    many = [ROUTE | {"route": f"/{number}"} for number in range(1000)]
    serve(answer({"release": "4b1c", "since": 1.5, "routes": many}))
    routes = worker_client.routes(control)
    assert len(routes) == 1000
    assert routes[7] == worker_client.RouteHolds("/7", "shop.X", 3, 0.1, ((0.1, 3),))


@pytest.mark.parametrize(
    "wrong",
    [
        {"route": 7},
        {"route": "/\x1b[2J"},
        {"handler": None},
        {"holds": {}},
        {"holds": ROUTE["holds"] | {"count": 1.5}},
        {"holds": ROUTE["holds"] | {"buckets": [["0.1", 3]]}},
    ],
)
def test_routes_of_another_form_are_no_answer(control, serve, wrong):
    serve(answer({"routes": [ROUTE | wrong]}))
    assert worker_client.routes(control) is None


def test_memory_of_the_process_stays_small_in_the_whole(control, serve, monkeypatch):
    """What Python's own tools do not see would show here, such as a buffer as long as announced."""
    serve(OK + b"Content-Length: 8589934592\r\n\r\n" + b"x" * 60_000)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + 512 * MEGABYTE, limits[1]))
    try:
        assert worker_client.read_status(control) == SILENT
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def test_an_app_is_asked_by_its_address_too():
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            with listening.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        assert bounded_http.request(address, "GET", "/", timeout=2).status == 204


# --- Health checks --------------------------------------------------------------------------------


def test_an_app_is_asked_as_a_visitor_would_ask(control, serve):
    server = serve(answer(b"<html>"))
    check = health_check.HealthCheck(path="/health?x=1", host="shop.example.org", scheme="https")
    assert check.problem(control) == ""
    first, *lines = server.got[0].decode().split("\r\n")
    headers = dict(line.split(": ") for line in lines if line)
    assert first == "GET /health?x=1 HTTP/1.1"
    assert re.fullmatch("[0-9a-f]{32}", headers.pop("X-Request-ID"))
    assert headers == {
        "Host": "shop.example.org",
        "X-Real-IP": "127.0.0.1",
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Proto": "https",
        "User-Agent": "aroundtheworld-health-check",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }


@pytest.mark.parametrize(
    ("status", "allowed", "right"),
    [
        (200, None, True),
        (204, None, True),
        (301, None, True),
        (400, None, False),
        (403, None, False),
        (404, None, False),
        (500, None, False),
        (404, ("2xx", "404"), True),
        (302, ("200",), False),
        (503, ("5xx",), True),
    ],
)
def test_an_answer_is_right_when_its_status_is_allowed(control, serve, status, allowed, right):
    check = health_check.HealthCheck(**({"statuses": allowed} if allowed else {}))
    serve(answer(b"", b"HTTP/1.1 %d X\r\nLocation: http://127.0.0.1:9/\r\n" % status))
    problem = check.problem(control)
    assert (problem == "") is right
    if not right:
        shown = ", ".join(allowed or ("2xx", "3xx"))
        assert f"with status {status}, requested as http://localhost/; allowed: {shown}." in problem
        assert "aroundtheworld_health_status" in problem


@pytest.mark.parametrize("size", [0, 100, 3 * MEGABYTE])
def test_a_page_of_any_size_is_an_answer_and_is_not_kept(control, serve, size):
    serve(answer(b"x" * size))
    tracemalloc.start()
    try:
        assert health_check.HealthCheck().problem(control) == ""
        assert tracemalloc.get_traced_memory()[1] < MEGABYTE + size  # the server's own
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("behave", "problem"),
    [
        (drip(answer(b"x" * 500)), "no whole answer within 0.5 s"),
        (silence, "no whole answer within 0.5 s"),
        (answer(b"x" * 500)[:-9], "the answer broke off"),
        (b"", "the answer is not HTTP (RemoteDisconnected)"),
        (b"SSH-2.0-\x1b[2J", "the answer is not HTTP (BadStatusLine)"),
    ],
)
def test_an_app_that_does_not_answer_in_whole_and_in_time_is_told_of(
    control, serve, behave, problem
):
    serve(behave)
    check = health_check.HealthCheck(path="/x", timeout=0.5)
    assert check.problem(control) == f"it does not answer /x ({problem})"
