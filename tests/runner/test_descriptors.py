"""What a worker does when it has as many files and connections open as it may have."""

import asyncio
import errno
import http.client
import os
import re
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import harness
import pytest
from tornado.tcpserver import TCPServer
from waits import until

from aroundtheworld_runner import descriptors
from aroundtheworld_runner.descriptors import PatientListener

ALLOWED = 160  # of which a quarter is the reserve


def allow(worker, number):
    """Let the worker have so many descriptors."""
    limits = (number, resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE)[1])
    resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, limits)


def metric(worker, name):
    text = harness.request_raw(worker.control, "/metrics").text
    return int(re.search(rf"^aroundtheworld_worker_{name} (\d+)", text, re.MULTILINE)[1])


def processor_seconds(process):
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_connection_too_many_is_refused_and_room_is_used_again(start, listening, method):
    worker = start().ready()
    allow(worker, ALLOWED)
    clients = []

    def connect():
        client = http.client.HTTPConnection("127.0.0.1", listening.getsockname()[1], timeout=10)
        clients.append(client)
        client.request(method, "/slow?seconds=0", b"x" * 9 if method == "POST" else None)
        response = client.getresponse()
        return response, response.read()

    try:
        refused, text = next(answer for answer in iter(connect, None) if answer[0].status == 503)
        assert refused.headers["Retry-After"] == "5"
        assert (refused.headers["Connection"], refused.will_close) == ("close", True)
        assert (text == b"") is (method == "HEAD")
        assert ALLOWED * 3 / 4 - 40 < len(clients) <= ALLOWED * 3 / 4
        # The reserve is there for who asks how it is.
        assert metric(worker, "max_fds") == ALLOWED
        assert metric(worker, "open_fds") >= ALLOWED * 3 / 4
        # Who is in goes on.
        clients[0].request("GET", "/")
        assert harness.read(clients[0])["pid"] == worker.process.pid
        assert connect()[0].status == 503
        clients[1].close()
        until(lambda: connect()[0].status != 503)
    finally:
        for client in clients:
            client.close()
    assert worker.stderr().count("refuses connections with status 503") == 1


def test_where_nothing_can_be_opened_a_visitor_waits_and_the_processor_does_not(start, listening):
    worker = start().ready()
    allow(worker, 4)
    with harness.client(listening) as client:
        before = processor_seconds(worker.process)
        client.request("GET", "/")
        client.sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.sock.recv(1)
        assert processor_seconds(worker.process) - before < 0.2
        allow(worker, ALLOWED)
        client.sock.settimeout(10)
        assert b"200 OK" in client.sock.recv(1000)
    assert "Traceback" not in worker.stderr()


def test_the_control_socket_waits_too(start):
    worker = start().ready()
    allow(worker, 4)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(worker.control))
        client.settimeout(0.5)
        before = processor_seconds(worker.process)
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert processor_seconds(worker.process) - before < 0.2
    allow(worker, ALLOWED)
    until(lambda: worker.health()[0] == 200)


class Full:
    """A listening socket that cannot accept, and may at last."""

    def __init__(self, sock, error, times):
        self.sock, self.error, self.times, self.asked = sock, error, times, []
        self.fileno, self.close = sock.fileno, sock.close

    def accept(self):
        self.asked.append(time.monotonic())
        if len(self.asked) <= self.times:
            raise OSError(self.error, "full")
        return self.sock.accept()


@pytest.mark.parametrize("error", descriptors.SCARCE)
def test_it_is_asked_again_after_a_pause_only(listening, monkeypatch, error):
    monkeypatch.setattr(descriptors, "PAUSE", 0.05)
    listening.setblocking(False)
    full = Full(listening, error, times=2)

    async def accepted():
        taken = asyncio.get_running_loop().create_future()
        server = TCPServer()
        server.handle_stream = lambda stream, _address: taken.set_result(stream)
        server.add_sockets([PatientListener(full)])
        with socket.create_connection(listening.getsockname()):
            (await asyncio.wait_for(taken, 10)).close()
        server.stop()

    asyncio.run(accepted())
    first, second, third = full.asked[:3]
    assert min(second - first, third - second) >= 0.045


def test_a_server_that_stops_meanwhile_does_not_begin_again(listening, monkeypatch):
    monkeypatch.setattr(descriptors, "PAUSE", 0.01)
    listening.setblocking(False)
    full = Full(listening, errno.EMFILE, times=99)

    async def stopped():
        listener = PatientListener(full)
        server = TCPServer()
        server.add_sockets([listener])
        with socket.create_connection(listening.getsockname()):
            while not full.asked:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.001)
        server.stop()
        listener._go_on()  # as the timer does

    asyncio.run(stopped())
    assert len(full.asked) == 1


def test_another_error_is_tornados_to_handle(listening):
    async def ask():
        with pytest.raises(ConnectionAbortedError):
            PatientListener(Full(listening, errno.ECONNABORTED, times=1)).accept()

    asyncio.run(ask())


BOTH_COUNTS = """
from pathlib import Path
from types import SimpleNamespace
from aroundtheworld_runner import descriptors
print(descriptors.count())
Path.stat = lambda _path: SimpleNamespace(st_size=0)
print(descriptors.count())
"""


def test_descriptors_are_counted_with_kernels_that_do_not_know_how_many():
    # In a process of its own: a number that a blocked `accept` will use counts for one way only.
    command = [sys.executable, "-c", BOTH_COUNTS]
    environment = {**os.environ, "PYTHONPATH": str(harness.RUNNER)}
    output = subprocess.check_output(command, env=environment, text=True)
    known, counted = map(int, output.split())
    assert known >= 3
    assert counted - known in (0, 1)  # the directory that is read
