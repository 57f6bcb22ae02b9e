"""When maintenance closes a pool, what is open to its workers ends, and nothing else."""

import asyncio
import time

import harness
from tornado.web import Application
from tornado.websocket import websocket_connect
from waits import wait_health, wait_in_flight

from aroundtheworld_runner.server import WorkerServer
from tests.waiting import until


def end_streams(worker: harness.Worker) -> object:
    return harness.request(worker.control, "/end-streams", "POST")


def test_an_event_stream_ends_as_if_it_were_whole(start, listening):
    worker = start().ready()
    with harness.client(listening) as stream, harness.client(listening) as slow:
        slow.request("GET", "/slow?seconds=3")
        stream.request("GET", "/stream?times=1000")
        response = stream.getresponse()
        # Or its client might come again on this connection, to a worker that leaves.
        assert response.headers["Connection"] == "close"
        response.read(10)
        wait_in_flight(worker, 2)
        assert end_streams(worker) == (200, {"websockets": 0, "streams": 1, "seconds": 10.0})
        rest = response.read()  # to the end that HTTP has for it
        assert rest.endswith(b"\n\n")
        # The application notices as if the client had left, and writes no more into the connection.
        wait_health(worker, lambda health: health["requests_in_flight"] == 1)
        left = ["told", "written in vain"]
        stream.close()
        until(lambda: harness.get(stream, "/left")["left"], left.__eq__)
        assert harness.read(slow)["pid"] == worker.process.pid
    assert end_streams(worker) == (200, {"websockets": 0, "streams": 0, "seconds": 10.0})


def test_any_other_response_is_finished(start, listening):
    worker = start().ready()
    with harness.client(listening) as client:
        client.request("GET", "/stream?type=text/csv")
        response = client.getresponse()
        assert end_streams(worker) == (200, {"websockets": 0, "streams": 0, "seconds": 10.0})
        assert response.read().count(b"data: ") == 20


def test_a_websocket_gets_the_code_that_the_server_goes_away(start, listening):
    worker = start().ready()

    async def talk() -> tuple[object, int | None, str | None]:
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}/echo"
        connection = await websocket_connect(url)
        await connection.write_message("still there?")
        await connection.read_message()
        ended = await asyncio.to_thread(end_streams, worker)
        assert ended == (200, {"websockets": 1, "streams": 0, "seconds": 10.0})
        assert await connection.read_message() is None
        await harness.hang_up(connection)
        return ended, connection.close_code, connection.close_reason

    assert asyncio.run(talk())[1:] == (1001, "maintenance")
    assert worker.health()[1]["state"] == "ready"


def test_a_blocked_worker_says_so(start, listening):
    worker = start().ready()
    with harness.client(listening) as client:
        client.request("GET", "/blocking?seconds=30")
        wait_health(worker, lambda health: health["busy_seconds"] > 0)
        assert end_streams(worker)[0] == 503


def test_they_do_not_all_end_at_once():
    ends = []

    class Socket:
        ws_connection = object()

        def close(self, code: int, reason: str) -> None:
            ends.append(time.monotonic() - began)

    class Request(Socket):
        is_stream = True

        def end(self) -> None:
            self.close(0, "")

    async def end() -> None:
        server = WorkerServer(Application())
        sockets = [Socket() for _ in range(11)]
        server._websockets.update(sockets)  # type: ignore[arg-type]
        server.requests_in_flight[0] = Request()  # type: ignore[assignment]
        assert server.end_streams(0.2, "maintenance") == (11, 1)
        assert server.end_streams(0.0, "restarting") == (11, 1)  # each ends when it was to end
        async with asyncio.timeout(10):
            while len(ends) < 12:  # noqa: ASYNC110 - it is a list
                await asyncio.sleep(0.01)

    began = time.monotonic()
    asyncio.run(end())
    assert len(ends) == 12
    assert all(end >= 0.016 * number for number, end in enumerate(ends))
