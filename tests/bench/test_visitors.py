"""The client that the benchmarks measure the site with."""

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from bench import visitors
from bench.visitors import Visitors

Answer = Callable[[BaseHTTPRequestHandler], None]


class Server(ThreadingHTTPServer):
    """Notes who came and what they asked for."""

    daemon_threads = True

    def __init__(self, respond: Answer) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                server.connections += 1

            def do_GET(self) -> None:
                server.paths.append(self.path)
                respond(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = self
        self.connections = 0
        self.paths: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)


Site = Callable[[Answer], tuple[Visitors, Server]]


def answer(handler: BaseHTTPRequestHandler, status: int = 200) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", "4")
    handler.end_headers()
    handler.wfile.write(b"body")


@pytest.fixture
def site() -> Iterator[Site]:
    """Returns what makes visitors of a site that answers as is said."""
    servers = []

    def make(respond: Answer) -> tuple[Visitors, Server]:
        server = Server(respond)
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return Visitors("127.0.0.1", server.server_port), server

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def test_requests_leave_at_their_time_on_connections_that_are_kept(site: Site) -> None:
    came, server = site(answer)
    began = time.monotonic()
    came.come(100, 0.5)
    assert 0.55 < time.monotonic() - began < 1.5
    assert (len(came.seconds), came.failed) == (50, [])
    # Not in which order: the server notes them in a thread for each connection.
    assert Counter(server.paths) == {"/": 40, "/row": 10}
    assert server.connections < 10


def test_time_counts_from_when_a_request_was_to_be_sent(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, pauses = Visitors._connect, [0.3]

    def slowly(self: Visitors) -> socket.socket:
        time.sleep(pauses.pop() if pauses else 0.0)
        return connect(self)

    # The client itself is late with all that were to be sent while it made its first connection.
    monkeypatch.setattr(Visitors, "_connect", slowly)
    came, _ = site(answer)
    came.come(100, 0.5)
    assert (len(came.seconds), came.failed) == (50, [])
    assert sum(one > 0.1 for one in came.seconds) > 15


def test_a_site_that_stands_still_is_felt_by_all_who_come_meanwhile(site: Site) -> None:
    until = time.monotonic() + 0.6

    def stand_still(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(max(0.0, until - time.monotonic()))
        answer(handler)

    came, _ = site(stand_still)
    came.come(100, 0.8)
    assert (len(came.seconds), came.failed) == (80, [])
    assert max(came.seconds) > 0.4
    assert sum(one > 0.2 for one in came.seconds) > 15


@pytest.mark.parametrize(
    ("respond", "failed"),
    [
        (lambda handler: answer(handler, 503), "503"),
        (lambda handler: handler.connection.shutdown(2), "ConnectionResetError"),
        (lambda handler: time.sleep(0.6), "no answer in 0 s"),
    ],
    ids=["an error", "a broken connection", "no answer"],
)
def test_what_is_no_answer_has_failed(
    site: Site, monkeypatch: pytest.MonkeyPatch, respond: Answer, failed: str
) -> None:
    monkeypatch.setattr(visitors, "PATIENCE", 0.2)
    came, _ = site(respond)
    came.come(50, 0.2)
    assert (came.seconds, came.failed) == ([], [failed] * 10)


def test_an_answer_may_come_in_parts_and_be_the_last_of_its_connection(site: Site) -> None:
    def in_parts(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: cl")
        time.sleep(0.02)
        handler.wfile.write(b"ose\r\nContent-Length: 4\r\n\r\nbo")
        time.sleep(0.02)
        handler.wfile.write(b"dy")
        time.sleep(0.1)  # what is sent until the connection is closed gets no answer
        handler.close_connection = True

    came, server = site(in_parts)
    came.come(50, 0.2)
    assert (len(came.seconds), came.failed) == (10, [])
    assert min(came.seconds) > 0.035
    assert server.connections == 10
