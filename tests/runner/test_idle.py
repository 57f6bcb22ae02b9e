"""A connection on which no request comes ends after as long as Tornado would wait for one."""

import asyncio
import time
from types import SimpleNamespace
from unittest.mock import Mock

import harness
from tornado.web import Application, RequestHandler

from aroundtheworld_runner.server import IDLE_LOOK, WorkerServer
from aroundtheworld_runner.worker import Worker

HOUR = 3600.0


class Waits(RequestHandler):
    async def get(self) -> None:
        await self.application.settings["go_on"].wait()
        self.write("done")


async def visit(server: WorkerServer, sock, go_on: asyncio.Event) -> None:
    idle, idle_writer = await asyncio.open_connection(*sock.getsockname())
    busy, busy_writer = await asyncio.open_connection(*sock.getsockname())
    busy_writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    while not server.requests_in_flight or server.connections < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    look = time.monotonic() + HOUR - 1
    server.close_idle(look)
    server.close_idle(look + 2)  # it has just looked
    assert server.connections == 2
    server.close_idle(look + IDLE_LOOK)
    assert await idle.read() == b""
    # A request may take longer than that; then its connection waits anew.
    go_on.set()
    assert (await busy.readuntil(b"done")).startswith(b"HTTP/1.1 200 OK")
    while server.requests_in_flight:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    server.close_idle(look + 2 * IDLE_LOOK)
    assert await busy.read() == b""
    for writer in (idle_writer, busy_writer):
        writer.close()
    while server.connections:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def test_connections_that_wait_for_a_request_for_an_hour_are_closed():
    async def serve() -> None:
        go_on = asyncio.Event()
        server = WorkerServer(Application([("/", Waits)], go_on=go_on))
        with harness.listener() as sock:
            sock.setblocking(False)
            server.add_sockets([sock])
            await asyncio.wait_for(visit(server, sock, go_on), 10)
            server.stop()

    asyncio.run(serve())


def test_a_worker_looks_with_its_heartbeat():
    worker = SimpleNamespace(_server=Mock(), _signals=None, _watch=Mock())
    Worker._on_beat(worker, 0.0)
    (now,) = worker._server.close_idle.call_args.args
    assert abs(now - time.monotonic()) < 60
