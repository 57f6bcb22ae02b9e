"""The visitors who keep connections: what they count, whatever a site does to them.

Each site here is a function that is called with every connection that is made to it, in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from threading import Thread

import h2.config
import h2.connection
import h2.events
import pytest

from bench.browsers import Browser, Browsers, Site, Tally, tls_context
from tests import certificates
from tests.waiting import until

HOST = "www.example.org"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
KEPT, REFUSED = "closed while it was kept", "refused by GOAWAY or RST_STREAM"
NEITHER = "the repeated request got no response either"
PATIENCE = 1.5  # seconds, where a site stands still; on a busy machine others take a while, too
Serve = Callable[[socket.socket, int], None]


class Server:
    """Calls a function with each connection and its number, from 1 on."""

    def __init__(self, serve: Serve, tls: ssl.SSLContext | None = None) -> None:
        self._serve, self._tls, self.connections = serve, tls, 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = self._listening.getsockname()
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = self._listening.accept()
                self.connections += 1
                Thread(target=self._run, args=(plain, self.connections), daemon=True).start()

    def _run(self, plain: socket.socket, number: int) -> None:
        plain.settimeout(5)
        with plain, contextlib.suppress(OSError):
            if self._tls is None:
                self._serve(plain, number)
                return
            with self._tls.wrap_socket(plain, server_side=True) as secure:
                self._serve(secure, number)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@pytest.fixture
def site() -> Iterator[Callable[..., Server]]:
    servers = []

    def make(serve: Serve, tls: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(serve, tls))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_text("".join(certificates.root().issue(HOST)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def come(
    *visits: tuple[str, ...],
    http: Server | None = None,
    https: Server | None = None,
    second: bool = False,
    host: str = HOST,
    pause: bool = False,
    patience: float = 10.0,
) -> Tally:
    """Have one visitor load each visit's paths; with a pause, until the connection is closed."""
    servers = {"http": http, "https": https}
    origins = {scheme: server.address for scheme, server in servers.items() if server}
    place, tally = Site(host, origins, certificates.root().pem, patience), Tally()

    async def visit() -> None:
        browser = Browser(place, tally, tls_context(place, second))
        for paths in visits:
            await browser.visit(paths)
            while pause and browser.is_connected:  # noqa: ASYNC110 - what the site does has no event
                await asyncio.sleep(0.002)
        browser.close()
        await asyncio.sleep(0)

    asyncio.run(visit())
    return tally


def read(connection: socket.socket) -> bytes:
    """Return a request's path, or nothing at the end of the connection."""
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        if not (more := connection.recv(4096)):
            return b""
        request += more
    return request.split()[1]


def answer_all(connection: socket.socket, number: int, last: bytes = OK) -> None:
    while read(connection):
        connection.sendall(last)


def answer_then(*ends: Callable[[socket.socket], object]) -> Serve:
    """Return a site that answers one request of each connection, and ends the next one so.

    The ends are those of the first connections; later ones answer all.
    """

    def serve(connection: socket.socket, number: int) -> None:
        if number > len(ends):
            answer_all(connection, number)
        elif read(connection):
            connection.sendall(OK)
            if read(connection):
                ends[number - 1](connection)

    return serve


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def outcomes(tally: Tally) -> dict[str, int]:
    return {outcome: count for (_, outcome), count in tally.outcomes.items()}


# --- HTTP/1.1


@pytest.mark.parametrize("is_secure", [False, True])
def test_a_connection_is_kept(site, tls, is_secure):
    server = site(answer_all, tls if is_secure else None)
    tally = come(*[("/", "/x")] * 5, **{"https" if is_secure else "http": server})
    assert tally.outcomes == {("HTTP/1.1", "200"): 10}
    assert (server.connections, tally.repeated.total(), tally.failed) == (1, 0, {})


def test_a_connection_that_was_closed_before_a_request_is_nothing_to_repeat(site):
    def serve(connection, _):
        read(connection)
        connection.sendall(OK)

    server = site(serve)
    tally = come(("/",), ("/",), http=server, pause=True)
    assert (outcomes(tally), tally.repeated.total(), server.connections) == ({"200": 2}, 0, 2)


def test_the_last_response_of_a_connection_says_so(site):
    last = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    server = site(lambda connection, number: answer_all(connection, number, last))
    tally = come(("/",), ("/",), http=server)
    assert (outcomes(tally), tally.repeated.total(), server.connections) == ({"200": 2}, 0, 2)


@pytest.mark.parametrize("end", [lambda _: None, reset], ids=["closed", "reset"])
@pytest.mark.parametrize("is_secure", [False, True])
def test_a_request_on_a_kept_connection_that_is_closed_is_repeated_once(site, tls, is_secure, end):
    server = site(answer_then(end), tls if is_secure else None)
    tally = come(("/",), ("/",), **{"https" if is_secure else "http": server})
    assert tally.outcomes == {("HTTP/1.1", "200"): 2}
    assert tally.repeated == {("HTTP/1.1", KEPT): 1}
    assert (server.connections, tally.failed) == (2, {})


def test_a_repeated_request_that_is_not_answered_has_failed(site):
    def serve(connection, number):
        if read(connection) and number == 1:
            connection.sendall(OK)
            read(connection)

    server = site(serve)
    tally = come(("/",), ("/",), http=server)
    assert outcomes(tally) == {"200": 1, NEITHER: 1}
    assert (tally.repeated.total(), server.connections) == (1, 2)
    assert tally.failed == {("http", NEITHER): 1}


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (b"", "a new connection was closed before the response"),
        (b"H", "the response was cut off"),
        (OK[:-1], "the response was cut off"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "not HTTP: illegal status line"),
        (OK + b"x", "more than the response"),
        (b"HTTP/1.1 200 OK\r\n\r\nbody", "not HTTP: a response without a length"),
        (OK.replace(b"200", b"503"), "503"),
    ],
)
def test_what_a_new_connection_brings_is_never_repeated(site, response, outcome):
    def serve(connection, _):
        read(connection)
        connection.sendall(response)

    server = site(serve)
    tally = come(("/",), http=server)
    (found,) = outcomes(tally)
    assert found.startswith(outcome)
    assert (tally.repeated.total(), server.connections) == (0, 1)
    assert bool(tally.failed) == (outcome != "503")


@pytest.mark.parametrize("start", [b"H", OK[:-1]])
@pytest.mark.parametrize("end", [lambda _: None, reset], ids=["closed", "reset"])
def test_a_response_that_has_begun_is_never_repeated(site, start, end):
    def cut_off(connection):
        connection.sendall(start)
        time.sleep(0.02)  # or a reset would take along what was sent
        end(connection)

    server = site(answer_then(cut_off))
    tally = come(("/",), ("/",), ("/",), http=server)
    assert outcomes(tally) == {"200": 2, "the response was cut off": 1}
    assert (tally.repeated.total(), server.connections) == (0, 2)


def test_a_response_that_does_not_come_or_end_has_failed(site):
    def stall(start):
        def end(connection):
            connection.sendall(start)
            read(connection)  # until the visitor leaves

        return end

    server = site(answer_then(stall(b""), stall(OK[:-1])))
    tally = come(*[("/",)] * 5, http=server, patience=PATIENCE)
    assert outcomes(tally) == {"200": 3, f"no response in {PATIENCE:g} s": 2}
    assert (tally.repeated.total(), server.connections) == (0, 3)
    assert tally.slowest > PATIENCE - 0.01


def test_a_response_that_nobody_asked_for_is_no_response(site):
    def serve(connection, number):
        while read(connection):
            connection.sendall(OK)
            if number == 1:
                time.sleep(0.02)
                connection.sendall(OK)

    server = site(serve)
    tally = come(("/",), http=server, pause=True)
    # On a busy machine, both responses may come at once.
    (found,) = tally.failed
    assert found[1] in ("bytes that nobody asked for", "more than the response")


def test_a_site_that_is_not_there_is_a_failure_of_each_request(site):
    server = site(answer_all)
    server.close()
    server.close = lambda: None
    assert come(("/", "/"), http=server).failed == {("http", "ConnectionRefusedError"): 2}


# --- HTTPS


def test_a_certificate_must_be_for_the_name(site, tls):
    server = site(answer_all, tls)
    tally = come(("/",), https=server, host="www.example.com")
    assert (outcomes(tally), tally.repeated.total()) == ({"SSLCertVerificationError": 1}, 0)


def test_what_is_not_tls_is_no_closed_connection(site, tls):
    def garble(connection):
        plain = socket.socket(fileno=connection.detach())
        plain.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        time.sleep(0.02)
        plain.close()

    server = site(answer_then(garble), tls)
    tally = come(("/",), ("/",), https=server)
    assert (len(tally.failed), tally.repeated.total()) == (1, 0)
    assert any("SSL" in outcome for _, outcome in tally.failed)


def test_visitors_follow_to_https_and_stay_there(site, tls):
    moved = f"HTTP/1.1 301 Moved\r\nLocation: https://{HOST}/x?y\r\nContent-Length: 0\r\n\r\n"
    http = site(lambda connection, number: answer_all(connection, number, moved.encode()))
    https = site(answer_all, tls)
    tally = come(("/x",), ("/x",), http=http, https=https)
    assert outcomes(tally) == {"301": 1, "200": 2}
    assert (http.connections, https.connections) == (1, 1)


@pytest.mark.parametrize("location", ["http://www.example.org/x", "https://else.example.org/x", ""])
def test_a_redirect_to_elsewhere_has_failed(site, location):
    moved = f"HTTP/1.1 301 Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    http = site(lambda connection, number: answer_all(connection, number, moved))
    assert list(come(("/x",), http=http).failed.values()) == [1]


# --- HTTP/2


class Second:
    """A site's side of an HTTP/2 connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        config = h2.config.H2Configuration(client_side=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self._streams: list[int] = []
        self.send()

    def send(self, more: bytes = b"") -> None:
        self.socket.sendall(self.h2.data_to_send() + more)

    def wait(self, count: int) -> list[int]:
        """Return the ids of the next streams, fewer at the connection's end."""
        while len(self._streams) < count and (data := self.socket.recv(65536)):
            for event in self.h2.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    self._streams.append(event.stream_id)
            self.send()
        taken, self._streams = self._streams[:count], self._streams[count:]
        return taken

    def answer(self, stream: int, body: bytes = b"body", end: bool = True) -> None:
        self.h2.send_headers(stream, [(":status", "200"), ("content-length", "4")])
        self.h2.send_data(stream, body, end_stream=end)
        self.send()

    def answer_all(self) -> None:
        while streams := self.wait(1):
            self.answer(*streams)

    def go_away(self, last: int, error: int = 0) -> None:
        body = last.to_bytes(4) + error.to_bytes(4)
        self.send(len(body).to_bytes(3) + b"\x07\x00" + bytes(4) + body)


@pytest.fixture
def second(site, tls):
    """Returns a function: a site whose connections are served over HTTP/2."""

    def make(*ends: Callable[[Second, list[int]], object]) -> Server:
        def serve(connection, number):
            wire = Second(connection)
            for stream in wire.wait(1):  # a kept connection, before it ends as it should
                wire.answer(stream)
            if number <= len(ends):
                ends[number - 1](wire, wire.wait(2))
                return
            wire.answer_all()

        return site(serve, tls)

    return make


def come_second(server: Server, patience: float = 10.0) -> Tally:
    visits = [("/",), ("/", "/x"), ("/",)]
    return come(*visits, https=server, second=True, patience=patience)


def test_requests_share_a_connection(second):
    server = second()
    tally = come_second(server)
    assert tally.outcomes == {("HTTP/2", "200"): 4}
    assert (tally.repeated.total(), server.connections) == (0, 1)


def test_what_a_goaway_refuses_is_repeated_and_the_rest_is_answered(second):
    def go_away(wire, streams):
        wire.go_away(streams[0])
        wire.answer(streams[0])
        wire.wait(1)

    server = second(go_away)
    tally = come_second(server)
    assert tally.outcomes == {("HTTP/2", "200"): 4}
    assert (tally.repeated, server.connections) == ({("HTTP/2", REFUSED): 1}, 2)


def test_what_a_goaway_promises_must_be_answered(second):
    server = second(lambda wire, streams: wire.go_away(streams[1]))
    tally = come_second(server)
    assert tally.outcomes["HTTP/2", "200"] == 2
    assert (list(tally.failed.values()), tally.repeated.total()) == ([2], 0)


def test_a_goaway_before_the_first_request_refuses_it(site, tls):
    def serve(connection, number):
        wire = Second(connection)
        if number == 1:
            wire.go_away(0)
        wire.answer_all()

    server = site(serve, tls)
    tally = come(("/",), https=server, second=True)
    assert outcomes(tally) == {"200": 1}
    # It may come before the request was sent, or after.
    assert (tally.repeated.total(), server.connections) == (1, 2)


@pytest.mark.parametrize(("refusals", "outcome"), [(2, "200"), (3, "refused 3 times")])
def test_what_is_refused_is_repeated_twice_and_not_for_ever(site, tls, refusals, outcome):
    def serve(connection, number):
        wire = Second(connection)
        if number <= refusals:
            wire.go_away(0)
        wire.answer_all()

    server = site(serve, tls)
    tally = come(("/",), https=server, second=True)
    assert (outcomes(tally), tally.repeated) == ({outcome: 1}, {("HTTP/2", REFUSED): 2})
    assert server.connections == 3


def reset_stream(error):
    def end(wire, streams):
        wire.h2.reset_stream(streams[0], error)
        wire.answer(streams[1])
        wire.answer_all()

    return end


def begin_and_close(wire, streams):
    wire.answer(streams[0], b"bo", end=False)


def wrong_length(wire, streams):
    wire.answer(streams[0], b"bodies")
    wire.wait(1)


@pytest.mark.parametrize(
    ("end", "outcome", "failed", "repeated"),
    [
        (reset_stream(7), "", 0, 1),
        (reset_stream(2), "RST_STREAM with error ", 1, 0),
        (lambda *_: None, "", 0, 2),
        (begin_and_close, "the response was cut off", 1, 1),
        (lambda wire, streams: wire.go_away(0, 2), "GOAWAY with error 2", 2, 0),
        (lambda wire, streams: wire.send(b"\xff" * 9), "not HTTP/2: FrameTooLargeError", 2, 0),
        (lambda wire, streams: wire.send(OK * 500), "not HTTP/2: ", 2, 0),
        (wrong_length, "not HTTP/2: InvalidBodyLengthError", 2, 0),
    ],
    ids=["refused", "error", "closed", "cut off", "GOAWAY", "frame", "HTTP/1", "length"],
)
def test_each_end_of_a_stream_is_counted(second, end, outcome, failed, repeated):
    server = second(end)
    tally = come_second(server)
    assert tally.outcomes["HTTP/2", "200"] == 4 - failed
    assert sum(tally.failed.values()) == failed
    assert all(found.startswith(outcome) for _, found in tally.failed)
    assert (tally.repeated.total(), tally.outcomes.total()) == (repeated, 4)


def test_streams_without_a_response_have_failed(second):
    server = second(lambda wire, streams: wire.wait(1))
    tally = come_second(server, PATIENCE)
    # Who gives up first takes the connection along.
    assert (sum(tally.failed.values()), tally.outcomes.total()) == (2, 4)
    assert f"no response in {PATIENCE:g} s" in outcomes(tally)
    assert (tally.repeated.total(), server.connections) == (0, 2)


# --- All together


def test_many_come_at_an_interval_until_the_end(site, tls):
    def serve(connection, number):
        if connection.selected_alpn_protocol() != "h2":
            answer_all(connection, number)
            return
        Second(connection).answer_all()

    server = site(serve, tls)
    place = Site(HOST, {"https": server.address}, certificates.root().pem)
    browsers = Browsers(place, first=6, second=2)
    with browsers.visiting([("/", "/x")], interval=0.1) as tally:
        until(lambda: browsers.connected, (8).__eq__)
        until(lambda: tally.outcomes.total(), lambda count: count >= 40, pause=0.01)
    assert {key[0] for key in tally.outcomes} == {"HTTP/1.1", "HTTP/2"}
    assert {key[1] for key in tally.outcomes} == {"200"}
    assert (server.connections, tally.repeated.total()) == (8, 0)
    assert f"{tally.outcomes.total()} requests: " in str(tally)
