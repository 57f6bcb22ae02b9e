"""A worker that leaves ends its streams, each as if it were whole, and not all at once."""

import asyncio
import contextlib
import http.client
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import harness
import pytest
from tornado.websocket import websocket_connect
from waits import wait_in_flight

from aroundtheworld_runner.drain import Drain
from tests.role.nginx.process import needs_nginx
from tests.role.nginx.served import Site

# Far more than any of these tests takes.
LONG = ("--drain-timeout", "300", "--linger", "0.2")


@contextlib.contextmanager
def opened(connection: http.client.HTTPConnection, path: str) -> Iterator[http.client.HTTPResponse]:
    """A response that has begun."""
    connection.request("GET", path, headers={"Host": "shop.example"})
    with connection.getresponse() as response:
        yield response


def test_a_quiet_stream_ends_whole_and_the_next_worker_has_its_client(start, listening):
    worker = start("streams:make_app", *LONG).ready()
    with harness.client(listening) as client:
        with opened(client, "/events") as response:
            worker.drain()
            successor = start("streams:make_app").ready()
            assert response.read() == f"data: {worker.process.pid}\n\n".encode()
        client.close()
        with opened(client, "/events") as response:
            assert response.readline() == f"data: {successor.process.pid}\n".encode()
    assert worker.wait() == 0
    assert "cut at the end" not in worker.stderr()


def test_an_app_that_is_told_ends_its_stream_itself(start, listening):
    worker = start("streams:make_app", *LONG).ready()
    with harness.client(listening) as client, opened(client, "/events?told=1") as response:
        worker.drain()
        assert response.read().endswith(b"data: bye\n\n")


def test_streams_and_websockets_end_spread_over_the_stream_timeout(start, listening):
    worker = start("streams:make_app", *LONG, "--stream-timeout", "2").ready()

    async def talk() -> None:
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}/socket"
        connection = await websocket_connect(url)
        await connection.write_message("there?")
        assert await connection.read_message() == "there?"
        there.release()
        assert await connection.read_message() is None
        assert (connection.close_code, connection.close_reason) == (1001, "restarting")
        await harness.hang_up(connection)

    async def listen() -> None:
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"data: ")
        there.release()
        await reader.readuntil(b"\r\n0\r\n\r\n")
        writer.close()

    async def visit() -> None:
        tasks = [asyncio.create_task(each()) for each in (talk, listen) * 6]
        for _ in tasks:
            await there.acquire()
        worker.terminate()
        await asyncio.gather(*tasks)

    there = asyncio.Semaphore(0)
    asyncio.run(asyncio.wait_for(visit(), 20))
    assert worker.wait() == 0
    assert "cut at the end" not in worker.stderr()
    # Not all at once: the last of twelve has eleven twelfths of the time.
    drained = re.search(r"drained in ([0-9.]+) s", worker.stderr())
    assert drained is not None
    assert 1.5 < float(drained[1]) < 10


def test_work_has_the_drain_timeout_however_short_the_other_is(start, listening):
    worker = start("streams:make_app", *LONG, "--stream-timeout", "0", "--stream").ready()
    with harness.client(listening) as begun, harness.client(listening) as other:
        other.request("GET", "/works")
        with opened(begun, "/works?begun=1") as response:
            wait_in_flight(worker, 2)
            worker.drain()
            assert response.read() == b"done"
        assert other.getresponse().read() == b"done"


@pytest.mark.parametrize(("option", "cut"), [((), True), (("--stream",), False)])
def test_any_type_is_a_stream_where_the_pool_says_so(start, listening, option, cut):
    worker = start("streams:make_app", "--drain-timeout", "1", *option).ready()
    with harness.client(listening) as client, opened(client, "/events?type=text/csv") as response:
        worker.drain()
        if cut:
            with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
                response.read()
        else:
            assert response.read().startswith(b"data: ")
    assert worker.wait() == 0
    assert ("cut at the end of the drain timeout: GET /events" in worker.stderr()) == cut


def test_a_stream_whose_client_takes_nothing_is_cut(start, listening):
    worker = start("streams:make_app", *LONG, "--stream-timeout", "0").ready()
    with harness.client(listening) as client:
        client.request("GET", "/floods")
        wait_in_flight(worker)
        worker.terminate()
        assert worker.wait() == 0
    assert "cut at the end of the stream timeout: GET /floods" in worker.stderr()
    assert "the client has left" in worker.stderr()


def test_a_request_whose_connection_closes_at_the_end_is_not_called_cut(caplog):
    transport = SimpleNamespace(closed=lambda: True)
    response = SimpleNamespace(is_stream=True, transport=transport, request_id="-")
    request = SimpleNamespace(response=response, cut=lambda: None)
    server = SimpleNamespace(connections=0, requests_in_flight={0: request})
    asyncio.run(Drain(server, drain_timeout=9, stream_timeout=9, linger=9).run())  # type: ignore[arg-type]
    assert "cut at the end" not in caplog.text


@needs_nginx
@pytest.mark.parametrize("settings", [{}, {"stream": True}])
def test_events_come_through_nginx_at_once_and_their_end_too(
    start, listening, tmp_path: Path, settings
):
    option = ("--stream",) if settings else ()
    worker = start("streams:make_app", *LONG, *option).ready()
    site = Site(tmp_path, public={"ports": [listening.getsockname()[1]], **settings}, neighbour="")
    client = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
    path = "/events?type=text/csv" if settings else "/events"
    try:
        with opened(client, path) as response:
            assert response.headers["X-Accel-Buffering"] is None
            assert response.readline().startswith(b"data: ")
            worker.drain()
            assert response.read() == b"\n"
        assert worker.wait() == 0
    finally:
        client.close()
        site.stop()
