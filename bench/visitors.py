"""Sends public requests at a constant rate, while others keep the admin side busy.

Open-loop: requests leave at their time whatever became of the earlier ones, and how long one took
counts from when it was to be sent. What asyncio would add, up to a millisecond until a timer runs
and 300 µs of a processor for each request, is more than the site takes itself; so sockets and
select, which take 75 µs.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import resource
import select
import socket
import threading
import time
from collections.abc import Iterable

from bench.visitor import come_first

PATIENCE = 10.0  # seconds until a request without an answer has failed
BUSY = 4  # who keep the admin side busy, each with one request after the other
BEFOREHAND = 2.0  # seconds for which they do before the first visitor comes
PATHS = ("/", "/", "/", "/", "/row")  # in turn


class Request:
    """A request that was sent and is not answered yet."""

    def __init__(self, connection: socket.socket, path: str, due: float) -> None:
        """Send it.

        Args:
            connection: on which nothing else is asked until the answer is here.
            path: what is asked for.
            due: when it was to be sent (monotonic).

        Raises:
            OSError: the connection broke.
        """
        self.connection, self.due = connection, due
        self._answer = b""
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())

    def answered(self) -> str | None:
        """Read on; return the status when the answer is whole.

        Raises:
            OSError: the connection broke.
        """
        more = self.connection.recv(65536)
        if not more:
            raise ConnectionResetError
        self._answer += more
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end:
            return None
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if len(body) < int(fields[b"content-length"]):
            return None
        if fields.get(b"connection") == b"close":
            self.connection.close()
        return head.split(b" ", 2)[1].decode()


class Visitors:
    """Sends requests on as many connections as it takes, and notes what became of each."""

    def __init__(self, address: str, port: int) -> None:
        """Take where the site is."""
        self._site = (address, port)
        self._idle: list[socket.socket] = []
        self._sent: dict[int, Request] = {}
        """By the descriptors of their connections."""
        self._poll = select.epoll()
        self.seconds: list[float] = []
        self.failed: list[str] = []

    def come(self, rate: float, seconds: float) -> None:
        """Send `rate` requests a second for so many seconds, then await what is not answered."""
        begun = time.monotonic() + 0.1
        for number in range(int(rate * seconds)):
            due = begun + number / rate
            while (wait := due - time.monotonic()) > 0:
                self._read(wait)
            self._give_up(due - PATIENCE)
            self._send(PATHS[number % len(PATHS)], due)
        while self._sent:
            self._read(PATIENCE)
            self._give_up(time.monotonic() - PATIENCE)
        for connection in self._idle:
            connection.close()
        self._poll.close()

    def _send(self, path: str, due: float) -> None:
        try:
            connection = self._idle.pop() if self._idle else self._connect()
            request = Request(connection, path, due)
        except OSError as error:
            self.failed.append(type(error).__name__)
            return
        self._sent[connection.fileno()] = request

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(self._site, PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poll.register(connection, select.EPOLLIN)
        return connection

    def _read(self, wait: float) -> None:
        """Wait for answers for that many seconds at most, and read them."""
        # select keeps microseconds, where epoll waits for whole milliseconds.
        select.select([self._poll], [], [], wait)
        for descriptor, _ in self._poll.poll(0):
            request = self._sent.get(descriptor)
            if request is None:  # the site closes a connection on which nothing is asked
                idle = next(one for one in self._idle if one.fileno() == descriptor)
                self._idle.remove(idle)
                idle.close()
                continue
            try:
                status = request.answered()
            except OSError as error:
                status = type(error).__name__
            if status is None:
                continue
            if status != "200":
                self._fail(descriptor, status)
                continue
            del self._sent[descriptor]
            self.seconds.append(round(time.monotonic() - request.due, 6))
            if request.connection.fileno() >= 0:
                self._idle.append(request.connection)

    def _give_up(self, before: float) -> None:
        """Count as failed what was to be sent before that time."""
        while self._sent:
            descriptor, oldest = next(iter(self._sent.items()))
            if oldest.due >= before:
                return
            self._fail(descriptor, f"no answer in {PATIENCE:.0f} s")

    def _fail(self, descriptor: int, why: str) -> None:
        self._sent.pop(descriptor).connection.close()
        self.failed.append(why)


def ask(address: str, port: int, path: str) -> None:
    """Ask for something slow, whatever comes of it."""
    connection = http.client.HTTPConnection(address, port)
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", path)
        connection.getresponse().read()
    connection.close()


def keep_busy(address: str, port: int, path: str) -> None:
    """Ask for the path again and again."""
    while True:
        ask(address, port, path)
        time.sleep(0.02)


def begin(threads: Iterable[threading.Thread]) -> None:
    """Start threads that are no reason to go on."""
    for thread in threads:
        thread.daemon = True
        thread.start()


def main() -> None:
    """Print what came of every request, as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--busy", default="", help="path that others ask for all the time")
    parser.add_argument("--once", default="", help="path that is asked for once, after a while")
    given = parser.parse_args()
    site, once = (given.address, given.port), 0.0
    # A connection for each request that waits, where the site stands still.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if given.busy:
        begin(threading.Thread(target=keep_busy, args=(*site, given.busy)) for _ in range(BUSY))
        time.sleep(BEFOREHAND)
    if given.once:
        once = time.time() + BEFOREHAND
        begin([threading.Timer(BEFOREHAND, ask, (*site, given.once))])
    come_first()  # after the others are there, who have no such haste
    visitors = Visitors(*site)
    visitors.come(given.rate, given.seconds)
    print(json.dumps({"seconds": visitors.seconds, "failed": visitors.failed, "once": once}))


if __name__ == "__main__":
    main()
