"""A worker that ends does not lose a request."""

import asyncio
import http.client
import re
import select
import threading
import time

import harness
import pytest
from tornado.websocket import websocket_connect
from waits import wait_blocked, wait_health, wait_in_flight


def test_without_connections_it_ends_at_once(start):
    worker = start("sample:make_app", "--linger", "30").ready()
    began = time.monotonic()
    worker.terminate()
    assert worker.wait() == 0
    assert time.monotonic() - began < 10


def test_requests_in_flight_are_answered(start, listening):
    worker = start().ready()
    with harness.client(listening) as client:
        client.request("POST", "/slow?seconds=2", body=b"x" * 300_000)
        wait_in_flight(worker)
        worker.drain()
        worker.terminate()  # a second signal does not change anything
        assert harness.read(client)["received"] == 300_000
    assert worker.wait() == 0


def test_new_connections_are_left_to_the_next_worker(start, listening):
    worker = start("sample:make_app", "--linger", "0.2").ready()
    with harness.client(listening) as old, harness.client(listening) as new:
        old.request("GET", "/slow?seconds=2")
        wait_in_flight(worker)
        worker.drain()
        worker.wait_notified("STATUS=draining: requests in flight: 1, connections: 1")
        new.request("GET", "/")
        assert harness.read(old)["pid"] == worker.process.pid
        assert worker.wait() == 0
        # Nobody listens now, and still the connection waits where systemd keeps it.
        successor = start().ready()
        assert harness.read(new)["pid"] == successor.process.pid


def test_a_body_that_is_still_arriving_is_waited_for(start, listening):
    worker = start("sample:make_app", "--linger", "0.2").ready()
    with harness.client(listening) as client:
        client.putrequest("POST", "/slow?seconds=0")
        client.putheader("Content-Length", "2")
        client.endheaders(b"x")
        wait_in_flight(worker)
        worker.drain()
        time.sleep(0.6)
        client.send(b"y")
        assert harness.read(client)["received"] == 2


def test_headers_that_are_still_arriving_are_waited_for(start, listening):
    worker = start("sample:make_app", "--linger", "2").ready()
    with harness.client(listening) as client:
        client.connect()
        client.sock.sendall(b"GET / HTTP/1.1\r\n")
        wait_health(worker, lambda health: health["connections"] == 1)
        worker.drain()
        time.sleep(0.3)
        client.sock.sendall(b"Host: here\r\n\r\n")
        response = http.client.HTTPResponse(client.sock)
        response.begin()
        assert (response.status, response.headers["Connection"]) == (200, "close")


def test_the_next_request_on_a_connection_is_answered_and_the_last(start, listening):
    worker = start("sample:make_app", "--linger", "30").ready()
    with harness.client(listening) as client:
        harness.get(client)
        worker.drain()
        client.request("GET", "/")
        response = client.getresponse()
        assert (response.status, response.headers["Connection"]) == (200, "close")
        assert worker.wait(20) == 0  # no connection is left to linger for


def test_idle_connections_are_left_to_the_client(start, listening):
    worker = start("sample:make_app", "--linger", "2").ready()
    with harness.client(listening) as client:
        harness.get(client)
        worker.drain()
        assert select.select([client.sock], [], [], 0.8)[0] == []
        assert worker.process.poll() is None
        assert worker.wait() == 0


def test_what_arrives_while_the_loop_is_blocked_counts_as_arrived(start, listening):
    worker = start("sample:make_app", "--linger", "0.5").ready()
    with harness.client(listening) as client, harness.client(listening) as other:
        harness.get(other)
        harness.get(client, "/blocks-afterwards?seconds=2")
        worker.drain()
        wait_blocked(worker)  # for longer than the linger time already
        assert harness.get(other)["pid"] == worker.process.pid


@pytest.mark.parametrize("linger", ["0", "2"])
def test_a_slow_response_does_not_need_linger(start, listening, linger):
    worker = start("sample:make_app", "--linger", linger).ready()
    with harness.client(listening) as client:
        client.request("GET", "/slow?seconds=2")
        wait_in_flight(worker)
        worker.drain()
        assert harness.read(client)["pid"] == worker.process.pid


def test_the_drain_timeout_cuts_and_logs_what(start, listening):
    worker = start("sample:make_app", "--drain-timeout", "0.4").ready()
    with harness.client(listening) as client:
        client.request("GET", "/slow?seconds=30&token=secret")
        wait_in_flight(worker)
        began = time.monotonic()
        worker.terminate()
        assert worker.wait(20) == 0
        assert time.monotonic() - began >= 0.4
    # Tornado's own line about the request follows; the worker's must not repeat the query.
    assert re.search(
        r"^ERROR aroundtheworld_runner\.drain: cut at the end of the drain timeout: "
        r"GET /slow in Slow, running for \d\.\d s$",
        worker.stderr(),
        re.MULTILINE,
    )


def test_a_thread_that_never_ends_does_not_keep_the_worker(start, listening):
    worker = start("sample:make_app", "--linger", "0").ready()
    with harness.client(listening) as client:
        harness.get(client, "/never-ends")
    worker.terminate()
    assert worker.wait() == 0
    assert "exiting although tasks or threads" in worker.stderr()


@pytest.mark.parametrize("linger", ["0", "30"])
def test_a_websocket_gets_the_code_that_the_server_goes_away(start, listening, linger):
    worker = start("sample:make_app", "--linger", linger).ready()

    async def talk() -> tuple[object, object, int | None]:
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}/echo"
        connection = await websocket_connect(url)
        await connection.write_message("still there?")
        echo = await connection.read_message()
        assert worker.health()[1]["connections"] == 1
        worker.terminate()
        end = await connection.read_message()
        await harness.hang_up(connection)
        return echo, end, connection.close_code

    assert asyncio.run(talk()) == ("still there?", None, 1001)
    assert worker.wait(20) == 0


def test_a_websocket_that_comes_on_an_idle_connection_gets_it_as_well(start, listening):
    worker = start().ready()
    with harness.client(listening) as client:
        harness.get(client)
        worker.drain()
        client.sock.sendall(
            b"GET /echo HTTP/1.1\r\nHost: localhost\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\n\r\n"
        )
        received = b""
        while chunk := client.sock.recv(4096):
            received += chunk
            if b"\x03\xe9" in received:  # 1001, which the client has to send back
                client.sock.sendall(b"\x88\x82\0\0\0\0\x03\xe9")
    head, _, frames = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nConnection: Upgrade" in head
    assert frames == b"\x88\x0c\x03\xe9restarting"
    assert worker.wait() == 0


def test_private_connections_do_not_delay_the_end(start, listening):
    worker = start("sample:make_app", "--linger", "30").ready()
    with (
        harness.private_client(worker.private_app) as idle,
        harness.private_client(worker.private_app) as busy,
        harness.client(listening) as public,
    ):
        harness.get(idle)
        busy.request("GET", "/slow?seconds=30")
        public.request("GET", "/slow?seconds=2", headers={"Connection": "close"})
        wait_in_flight(worker)
        worker.drain()
        assert harness.read(public)["pid"] == worker.process.pid
        assert worker.wait(20) == 0
    assert "Traceback" not in worker.stderr()


def test_handover_loses_no_request(start, listening):
    """Three workers, one after another, on the same socket, under steady requests."""
    answered_by: list[int] = []
    failures: list[str] = []
    done = threading.Event()

    def visit(method: str, path: str) -> None:
        # As nginx does: keep the connection, and open another when the response closes it.
        with harness.client(listening) as client:
            while not done.is_set():
                try:
                    client.request(method, path, body=b"x" * 1000 if method == "POST" else None)
                    answered_by.append(harness.read(client)["pid"])
                except Exception as error:
                    failures.append(f"{method} {path}: {error!r}")
                    client.close()
                time.sleep(0.004)

    def wait_answers(worker: harness.Worker) -> None:
        deadline = time.monotonic() + 20
        while answered_by.count(worker.process.pid) < 50:
            assert time.monotonic() < deadline, failures
            time.sleep(0.02)

    visitors = [
        threading.Thread(target=visit, args=arguments)
        for arguments in [("GET", "/")] * 3
        + [("POST", "/slow?seconds=0")]
        + [("POST", "/slow?seconds=0.5")] * 3
    ]
    worker = start().ready()
    for visitor in visitors:
        visitor.start()
    try:
        workers = [worker]
        for _ in range(2):
            wait_answers(workers[-1])
            workers.append(start("sample:make_app", "--hold").ready())
            assert workers[-1].accept()[0] == 200
            workers[-2].terminate()
            assert workers[-2].wait() == 0
        wait_answers(workers[-1])
    finally:
        done.set()
        for visitor in visitors:
            visitor.join()
    assert failures == []
    assert set(answered_by) == {worker.process.pid for worker in workers}
