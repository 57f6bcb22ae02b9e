"""Send requests at a constant rate and note what became of each: for benchmarks and scenarios.

Open-loop: a request leaves when it is due, whatever became of the earlier ones, and its latency
counts from then. So a site that stands still for a second shows as hundreds of slow requests, where
a client that waits for each response would show one.

Connections are kept like a browser keeps them: where the site closed an idle connection, another is
opened, but a request that was sent and not answered has failed.

asyncio would add up to a millisecond until a timer runs, and 300 µs of a processor for each
request, which is more than the site takes itself. Sockets and select take less than half of that.
"""

from __future__ import annotations

import http.client
import os
import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

PATIENCE = 10.0  # seconds until a request without a response has failed


@dataclass(frozen=True)
class Request:
    """A request to send."""

    path: str = "/"
    method: str = "GET"
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Besides `Host` and the length of the body."""
    fresh: bool = False
    """Whether it gets a connection of its own."""
    kind: str = ""
    """For the caller, who finds it in the result."""

    def encoded(self, host: str) -> bytes:
        """Return it as HTTP/1.1 has it."""
        headers = {"Host": host, **self.headers}
        if self.fresh:
            headers["Connection"] = "close"
        if self.method != "GET":
            headers["Content-Length"] = str(len(self.body))
        lines = [f"{self.method} {self.path} HTTP/1.1", *map(": ".join, headers.items()), "", ""]
        return "\r\n".join(lines).encode() + self.body


@dataclass(frozen=True)
class Result:
    """What became of a request."""

    request: Request
    due: float
    """When it was to be sent (monotonic)."""
    seconds: float
    """From then until the whole response was there, or until it failed."""
    outcome: str
    """The status, or why there is none."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """By their names in lower case."""
    body: bytes = b""


class _Pending:
    """A request that was sent and is not answered yet."""

    def __init__(self, connection: socket.socket, request: Request, due: float) -> None:
        """Take the connection, on which nothing else is sent until the response is there."""
        self.connection, self.request, self.due = connection, request, due
        self._received = b""

    def read(self) -> tuple[str, dict[str, str], bytes] | None:
        """Read on; return status, headers and body when the response is whole.

        Raises:
            OSError: the connection broke, or was closed without a response.
            http.client.IncompleteRead: it was closed in the middle of one.
            ValueError: the response is not HTTP with a length, as nginx sends it to this client.
        """
        try:
            more = self.connection.recv(65536)
            # What TLS has decrypted already, no poll tells of.
            while isinstance(self.connection, ssl.SSLSocket) and self.connection.pending():
                more += self.connection.recv(65536)
        except ssl.SSLWantReadError:  # a session ticket, or a part of a record
            return None
        if not more:
            # In good order, unlike ConnectionResetError.
            if self._received:
                raise http.client.IncompleteRead(self._received)
            raise http.client.RemoteDisconnected("")
        self._received += more
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return None
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        if "content-length" not in headers:
            raise ValueError(f"a response without a length: {head!r}")
        if len(body) < int(headers["content-length"]):
            return None
        return status.split(" ", 2)[1], headers, body


class OpenLoop:
    """Sends requests on as many connections as it takes."""

    def __init__(
        self,
        address: str,
        port: int,
        note: Callable[[Result], None],
        patience: float = PATIENCE,
        tls: tuple[ssl.SSLContext, str] | None = None,
    ) -> None:
        """Take where the site is.

        Args:
            address: of the site's host.
            port: of its nginx.
            note: is called with the result of each request.
            patience: seconds until a request without a response has failed.
            tls: for HTTPS, whom to trust, and the host name.
        """
        self._tls = tls
        self._site, self._host = (address, port), f"{address}:{port}"
        self._note, self._patience = note, patience
        self._idle: list[socket.socket] = []
        self._pending: dict[int, _Pending] = {}
        """By the descriptors of their connections, in the order in which they were due."""
        self._poll = select.epoll()

    def run(
        self, rate: float, requests: Iterable[Request], is_over: Callable[[], bool] = lambda: False
    ) -> None:
        """Send `rate` requests a second until it is over, then wait for what is not answered."""
        begun = time.monotonic() + 0.1
        for number, request in enumerate(requests):
            due = begun + number / rate
            self._read_until(due)
            if is_over():
                break
            self._give_up(due - self._patience)
            self._send(request, due)
        while self._pending:
            self._read(self._patience)
            self._give_up(time.monotonic() - self._patience)
        for connection in self._idle:
            self._close(connection)
        self._poll.close()

    @contextmanager
    def running(
        self, rate: float, requests: Iterable[Request], *, first: bool = False
    ) -> Iterator[None]:
        """Send `rate` requests a second during a block, and wait for the last answers after it.

        Args:
            rate: Requests a second.
            requests: What to send.
            first: Whether the client, and not the block, does what `come_first` does.
        """
        over = threading.Event()
        with ThreadPoolExecutor(1, initializer=come_first if first else None) as pool:
            running = pool.submit(self.run, rate, requests, over.is_set)
            try:
                yield
            finally:
                over.set()
        running.result()

    def _send(self, request: Request, due: float) -> None:
        connection: socket.socket | None = None
        try:
            keeps = self._idle and not request.fresh
            connection = self._idle.pop() if keeps else self._connect()
            connection.sendall(request.encoded(self._host))
        except OSError as error:
            if connection:
                self._close(connection)
            self._note(Result(request, due, time.monotonic() - due, type(error).__name__))
            return
        self._pending[connection.fileno()] = _Pending(connection, request, due)

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(self._site, self._patience)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls:
            context, name = self._tls
            connection = context.wrap_socket(connection, server_hostname=name)
            connection.setblocking(False)
        self._poll.register(connection, select.EPOLLIN)
        return connection

    def _close(self, connection: socket.socket) -> None:
        # A process that another thread is just starting has the connection too, and until it runs
        # its program, events would go on to come.
        self._poll.unregister(connection)
        connection.close()

    def _read_until(self, due: float) -> None:
        """Read responses until then, and once where it is later already."""
        while True:
            wait = due - time.monotonic()
            self._read(max(0.0, wait))
            if wait <= 0:
                return

    def _read(self, wait: float) -> None:
        """Wait for responses for that many seconds at most, and read them."""
        # select keeps microseconds, where epoll waits for whole milliseconds.
        select.select([self._poll], [], [], wait)
        for descriptor, _ in self._poll.poll(0):
            pending = self._pending.get(descriptor)
            if pending is None:  # the site closes a connection on which nothing was sent
                idle = next(kept for kept in self._idle if kept.fileno() == descriptor)
                self._idle.remove(idle)
                self._close(idle)
                continue
            try:
                response = pending.read()
            except (OSError, ValueError, IndexError, http.client.IncompleteRead) as error:
                self._fail(descriptor, type(error).__name__)
                continue
            if response:
                self._finish(descriptor, *response)

    def _finish(self, descriptor: int, status: str, headers: dict[str, str], body: bytes) -> None:
        pending = self._pending.pop(descriptor)
        if pending.request.fresh or headers.get("connection", "").lower() == "close":
            self._close(pending.connection)
        else:
            self._idle.append(pending.connection)
        seconds = time.monotonic() - pending.due
        self._note(Result(pending.request, pending.due, seconds, status, headers, body))

    def _give_up(self, before: float) -> None:
        """Count as failed what was due before that time."""
        while self._pending:
            descriptor, oldest = next(iter(self._pending.items()))
            if oldest.due >= before:
                return
            self._fail(descriptor, f"no response in {self._patience:g} s")

    def _fail(self, descriptor: int, outcome: str) -> None:
        pending = self._pending.pop(descriptor)
        self._close(pending.connection)
        seconds = time.monotonic() - pending.due
        self._note(Result(pending.request, pending.due, seconds, outcome))


def come_first() -> None:
    """Have this thread, and those that it starts, run before all else on the machine.

    Visitors have machines of their own: what is measured is how long the site took, and not how
    long they waited for a processor themselves.

    Raises:
        SystemExit: only root may.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        sys.exit("Only root may give the client real-time priority: run `make bench` as root.")
