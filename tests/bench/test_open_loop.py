"""The client that benchmarks and scenarios use a site with."""

import itertools
import os
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from bench.open_loop import OpenLoop, Request, Result
from tests import certificates
from tests.waiting import until

Respond = Callable[[BaseHTTPRequestHandler], None]


class Server(ThreadingHTTPServer):
    """Notes connections and requests."""

    daemon_threads = True

    def __init__(self, respond: Respond) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                server.connections += 1

            def do_GET(self) -> None:
                server.paths.append(self.path)
                server.headers.add((self.headers["Host"], self.headers["Cookie"]))
                respond(self)

            def do_POST(self) -> None:
                server.headers.add((self.headers["Host"], self.headers["Cookie"]))
                answer(self, body=self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = self
        self.connections = 0
        self.paths: list[str] = []
        self.headers: set[tuple[str, str | None]] = set()
        super().__init__(("127.0.0.1", 0), Handler)


class Visitors:
    """Requests that were sent to a server, and their results."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.results: list[Result] = []

    def come(self, rate: float, count: int, *requests: Request, patience: float = 10.0) -> None:
        client = OpenLoop("127.0.0.1", self.server.server_port, self.results.append, patience)
        cycle = itertools.cycle(requests or [Request()])
        client.run(rate, itertools.islice(cycle, count))

    @property
    def seconds(self) -> list[float]:
        return [result.seconds for result in self.results]

    @property
    def outcomes(self) -> Counter[str]:
        return Counter(result.outcome for result in self.results)


def answer(handler: BaseHTTPRequestHandler, status: int = 200, body: bytes = b"body") -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def site() -> Iterator[Callable[[Respond], Visitors]]:
    """Return a function that returns visitors of a site with such responses."""
    servers = []

    def make(respond: Respond) -> Visitors:
        server = Server(respond)
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return Visitors(server)

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def test_requests_leave_at_their_time_on_connections_that_are_kept(site):
    visitors = site(answer)
    began = time.monotonic()
    visitors.come(100, 50, *4 * [Request("/")], Request("/row"))
    assert time.monotonic() - began > 0.55
    assert visitors.outcomes == {"200": 50}
    # Not in which order: the server notes them in a thread for each connection.
    assert Counter(visitors.server.paths) == {"/": 40, "/row": 10}
    assert visitors.server.connections < 10


def test_during_a_block_requests_go_on_and_all_are_answered_after_it(site):
    visitors, slow = site(lambda handler: (time.sleep(0.3), answer(handler))), []
    client = OpenLoop("127.0.0.1", visitors.server.server_port, slow.append)
    with client.running(50, itertools.cycle([Request()])):
        until(lambda: len(visitors.server.paths), lambda count: count > 5)
    assert {result.outcome for result in slow} == {"200"}
    assert len(slow) == len(visitors.server.paths)


def test_a_closed_connection_that_a_starting_process_has_as_well_is_forgotten(site, monkeypatch):
    connect, copies = OpenLoop._connect, []

    def copied(client: OpenLoop) -> socket.socket:
        connection = connect(client)
        copies.append(connection.dup())
        return connection

    monkeypatch.setattr(OpenLoop, "_connect", copied)
    visitors = site(answer)
    visitors.come(100, 20, Request("/", fresh=True))
    assert visitors.outcomes == {"200": 20}
    for copy in copies:
        copy.close()


def test_latency_counts_from_when_a_request_was_due(site, monkeypatch):
    connect, pauses = OpenLoop._connect, [0.3]

    def slowly(client: OpenLoop) -> socket.socket:
        time.sleep(pauses.pop() if pauses else 0.0)
        return connect(client)

    # The client itself is late with all that were due while it made its first connection.
    monkeypatch.setattr(OpenLoop, "_connect", slowly)
    visitors = site(answer)
    visitors.come(100, 50)
    assert visitors.outcomes == {"200": 50}
    assert sum(seconds > 0.1 for seconds in visitors.seconds) > 15


def test_a_site_that_stands_still_is_felt_by_all_who_come_meanwhile(site):
    until = time.monotonic() + 0.6

    def stand_still(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(max(0.0, until - time.monotonic()))
        answer(handler)

    visitors = site(stand_still)
    visitors.come(100, 80)
    assert visitors.outcomes == {"200": 80}
    assert max(visitors.seconds) > 0.4
    assert sum(seconds > 0.2 for seconds in visitors.seconds) > 15


def reset(handler: BaseHTTPRequestHandler) -> None:
    at_once = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    os.close(handler.connection.detach())
    handler.close_connection = True


def stop_in_the_middle(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    handler.close_connection = True


@pytest.mark.parametrize(
    ("respond", "outcome", "patience"),
    [
        (lambda handler: answer(handler, 503), "503", 20),
        (lambda handler: handler.connection.shutdown(2), "RemoteDisconnected", 20),
        (reset, "ConnectionResetError", 20),
        (stop_in_the_middle, "IncompleteRead", 20),
        (lambda handler: handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n"), "ValueError", 20),
        (lambda handler: time.sleep(0.6), "no response in 0.2 s", 0.2),
    ],
    ids=[
        "an error",
        "a closed connection",
        "a reset connection",
        "half a response",
        "no length",
        "no response",
    ],
)
def test_failures_are_counted(site, respond, outcome, patience):
    visitors = site(respond)
    visitors.come(50, 10, patience=patience)
    assert visitors.outcomes == {outcome: 10}


@pytest.mark.parametrize("fresh", [False, True])
def test_over_tls_a_response_is_read_whole_and_a_certificate_must_be_for_the_name(
    site, tmp_path, fresh
):
    issuer, path = certificates.root(), tmp_path / "both.pem"
    path.write_text("".join(issuer.issue("www.example.org")))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    visitors = site(lambda handler: answer(handler, body=b"x" * 100_000))
    server = visitors.server
    server.socket = context.wrap_socket(server.socket, server_side=True)
    trusted = ssl.create_default_context(cadata=issuer.pem)
    results: list[Result] = []
    for name in ("www.example.org", "www.example.com"):
        client = OpenLoop("127.0.0.1", server.server_port, results.append, tls=(trusted, name))
        client.run(50, [Request(fresh=fresh)] * 3)
    assert [(result.outcome, len(result.body)) for result in results] == [
        *[("200", 100_000)] * 3,
        *[("SSLCertVerificationError", 0)] * 3,
    ]


def test_a_site_that_is_not_there_is_a_failure_of_each_request(site):
    visitors = site(answer)
    visitors.server.shutdown()
    visitors.server.server_close()
    visitors.come(100, 5)
    assert visitors.outcomes == {"ConnectionRefusedError": 5}


def test_a_response_may_come_in_parts_and_be_the_last_of_its_connection(site):
    def in_parts(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: cl")
        time.sleep(0.02)
        handler.wfile.write(b"ose\r\nContent-Length: 4\r\n\r\nbo")
        time.sleep(0.02)
        handler.wfile.write(b"dy")
        time.sleep(0.1)  # what is sent until the connection is closed gets no response
        handler.close_connection = True

    visitors = site(in_parts)
    visitors.come(50, 10)
    assert visitors.outcomes == {"200": 10}
    assert min(visitors.seconds) > 0.035
    assert visitors.server.connections == 10


def test_a_connection_that_the_site_closed_while_it_was_idle_is_opened_again(site):
    def close(handler: BaseHTTPRequestHandler) -> None:
        answer(handler)
        handler.close_connection = True  # without a word of it in the response

    visitors = site(close)
    visitors.come(10, 5)
    assert visitors.outcomes == {"200": 5}
    assert visitors.server.connections == 5


def test_a_result_has_its_request_and_the_response(site):
    visitors = site(answer)
    post = Request("/form", "POST", b"name=ada", {"Cookie": "id=1"}, fresh=True, kind="post")
    visitors.come(100, 4, post, Request(headers={"Host": "example.org"}))
    assert visitors.outcomes == {"200": 4}
    by_kind = {result.request.kind: result for result in visitors.results}
    assert (by_kind["post"].body, by_kind[""].body) == (b"name=ada", b"body")
    assert by_kind["post"].headers["content-length"] == "8"
    assert by_kind["post"].request is post
    assert visitors.server.connections >= 3  # each post has its own, and the gets keep theirs
    host = f"127.0.0.1:{visitors.server.server_port}"
    assert visitors.server.headers == {(host, "id=1"), ("example.org", None)}


def test_it_ends_when_it_is_over(site):
    visitors = site(answer)
    client = OpenLoop("127.0.0.1", visitors.server.server_port, visitors.results.append)
    client.run(100, itertools.repeat(Request()), lambda: len(visitors.results) >= 10)
    assert 10 <= visitors.outcomes["200"] < 100
