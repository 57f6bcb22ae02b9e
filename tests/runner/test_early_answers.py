"""An app may answer an upload before all of it has arrived, and the visitor gets that answer."""

import asyncio
import http.client
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import harness
import pytest
from waits import wait_health

from aroundtheworld_runner import lingering
from aroundtheworld_runner.lingering import LingeringStream
from tests.role.nginx.process import needs_nginx
from tests.role.nginx.served import Site

BODY = b"x" * 8_000_000  # more than the sockets between nginx and the worker hold
TIMES = 8  # nearly each of them failed
ANSWERS = {
    "/refused": (413, b"too much"),
    "/forbidden": (403, b"not you"),
    "/enough": (200, b"enough"),
    "/long": (200, b"y" * 1_000_000),
    "/limited": (400, b""),  # Tornado's own
    "/whole": (200, b"8000000"),
}


@pytest.fixture(params=[1, 2], ids=["one processor", "two processors"])
def processors(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have nginx and the worker share one processor, or not."""
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(all_of_them)[: request.param])
    yield
    os.sched_setaffinity(0, all_of_them)


def upload(port: int, path: str) -> tuple[int, bytes]:
    """Return status and content of the answer to an upload."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", path, BODY, {"Host": "shop.example"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@needs_nginx
@pytest.mark.usefixtures("processors")
def test_through_nginx_the_visitor_gets_the_apps_answer(start, listening, tmp_path: Path):
    start("early:make_app").ready()
    port = listening.getsockname()[1]
    site = Site(tmp_path, public={"ports": [port]}, neighbour="")
    try:
        for path, answer in ANSWERS.items():
            answers = [upload(site.port, path) for _ in range(TIMES)]
            assert [found for found in answers if found != answer] == [], path
    finally:
        site.stop()


def send_head(client: http.client.HTTPConnection, method: str, path: str, **headers: str) -> None:
    client.putrequest(method, path)
    for name, value in headers.items():
        client.putheader(name.replace("_", "-"), value)
    client.endheaders()


@pytest.mark.parametrize("how", [{"Content_Length": "1000"}, {"Transfer_Encoding": "chunked"}])
def test_the_client_learns_that_the_connection_ends(start, listening, how):
    start("early:make_app").ready()
    with harness.client(listening) as client:
        send_head(client, "POST", "/refused", **how)
        response = client.getresponse()
        assert (response.status, response.headers["Connection"]) == (413, "close")
        assert response.read() == b"too much"


def test_the_connection_goes_on_where_no_body_is_left(start, listening):
    start("early:make_app").ready()
    with harness.client(listening) as client:
        for method, path, body in [("GET", "/refused", None), ("POST", "/whole", b"x")]:
            client.request(method, path, body)
            response = client.getresponse()
            response.read()
            assert response.headers["Connection"] is None


def test_a_worker_that_ends_waits_for_a_client_that_still_sends(start, listening):
    worker = start("early:make_app", "--linger", "30").ready()
    with harness.client(listening) as client:
        send_head(client, "POST", "/refused", Content_Length="1000")
        wait_health(worker, lambda health: health["responses"]["4xx"] == 1)
        assert worker.health()[1]["connections"] == 1
        worker.drain()
        client.send(b"x" * 500)
        assert client.getresponse().read() == b"too much"
        assert worker.process.poll() is None
    assert worker.wait() == 0


def lingers(sent: bytes, limit: int) -> tuple[bytes, float]:
    """Close a connection whose client goes on sending; return what that received, and for how long.

    Args:
        sent: By the client, again and again.
        limit: How much of it is thrown away.
    """

    async def close() -> tuple[bytes, float]:
        closed = asyncio.Event()
        ours, client = socket.socketpair()
        client.setblocking(False)
        stream = LingeringStream(ours)
        stream.unread = limit
        stream.on_closed = lambda stream: closed.set()
        loop = asyncio.get_running_loop()
        await stream.write(b"the answer")
        began = time.monotonic()
        stream.close()
        while not closed.is_set():
            try:
                await loop.sock_sendall(client, sent)
            except OSError:
                break
            await asyncio.sleep(0)
        await closed.wait()
        with client:
            return await loop.sock_recv(client, 100), time.monotonic() - began

    return asyncio.run(close())


def test_it_lingers_for_as_many_bytes_as_were_announced():
    assert lingers(b"x" * 1000, 100_000)[0] == b"the answer"


def test_it_does_not_linger_forever(monkeypatch):
    monkeypatch.setattr(lingering, "SECONDS", 0.1)
    received, seconds = lingers(b"", 1)
    assert received == b"the answer"
    assert seconds >= 0.1
