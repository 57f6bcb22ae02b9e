#!/usr/bin/env python3
"""Uses a test host's site like its visitors do, and writes down what became of every request.

    prober.py http://127.0.0.1:8080 LEDGER --rate 400 --seconds 60

The load is open-loop: requests leave at a constant rate whether or not the earlier ones were
answered, and latency counts from the moment at which a request was to be sent. So a site that
stands still for a second shows as hundreds of slow requests, where a client that waits for each
answer would show one.

It says `begun` when the first request leaves, ends after `--seconds` or on SIGTERM, and then waits
for the answers that are due. LEDGER gets a JSON object a line:

    sent     when the request was to be sent, in seconds since 1970
    kind     one of the kinds below, or `websocket`
    seconds  from then until the whole answer was there
    outcome  the status, or what went wrong in words
    good     whether it is what a visitor wants
    release  which release answered, if it said so

Connections are kept like a browser keeps them: one that the site closed while it was idle is opened
again, but a request that was sent and not answered has failed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import itertools
import json
import os
import random
import signal
import time
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, websocket_connect

PATIENCE = 30.0  # seconds until a request without an answer has failed
WEBSOCKETS = 5
GOING_AWAY = 1001  # RFC 6455: the server is going down, come back


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of request."""

    name: str
    share: int
    """How many of 1,000 requests are of this kind."""
    method: str
    path: str
    fresh: bool = False
    """Whether each has a connection of its own."""


KINDS = (
    Kind("get", 380, "GET", "/"),
    Kind("get fresh", 200, "GET", "/", fresh=True),
    Kind("post", 180, "POST", "/echo"),
    Kind("post fresh", 100, "POST", "/echo", fresh=True),
    Kind("admin", 100, "GET", "/admin"),
)
# What the first page referred to, as somebody asks for it who keeps that page open.
ASSET = Kind("asset", 20, "GET", "")
HALF_A_SECOND = Kind("slow post", 20, "POST", "/slow?seconds=0.5")
# Only on request, because whoever waits for the prober waits for these.
EIGHT_SECONDS = Kind("8 s post", 1, "POST", "/slow?seconds=8")


@dataclasses.dataclass
class Row:
    """A line of the ledger."""

    sent: float
    kind: str
    seconds: float = 0.0
    outcome: str = ""
    good: bool = False
    release: str | None = None


@dataclasses.dataclass(frozen=True)
class Answer:
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """An HTTP/1.1 connection on which one request after the other is made."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take an open connection."""
        self._reader, self._writer = reader, writer

    @property
    def closed(self) -> bool:
        """Whether the site has closed it."""
        return self._reader.at_eof() or self._writer.is_closing()

    async def request(self, kind: Kind, host: str, body: bytes) -> Answer:
        """Send a request and return the answer.

        Raises:
            OSError: The connection broke.
            asyncio.IncompleteReadError: The site closed it before the answer was whole.
            ValueError: The answer is not HTTP as nginx speaks it to this client.
        """
        head = f"{kind.method} {kind.path} HTTP/1.1\r\nHost: {host}\r\n"
        if kind.fresh:
            head += "Connection: close\r\n"
        if kind.method == "POST":
            head += f"Content-Length: {len(body)}\r\nContent-Type: text/plain\r\n"
        else:
            body = b""
        self._writer.write(head.encode() + b"\r\n" + body)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        answer = await self._reader.readexactly(int(headers["content-length"]))
        if headers.get("connection") == "close":
            self.close()
        return Answer(int(lines[0].split()[1]), headers, answer)

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


class Prober:
    """Sends the requests and keeps the ledger."""

    def __init__(self, url: str, ledger: Path) -> None:
        """Take the site's URL, and the file to write."""
        parts = urllib.parse.urlsplit(url)
        self._name, self._port = parts.hostname or "", parts.port or 80
        self._host = f"{self._name}:{self._port}"
        self._ledger = ledger.open("w")
        self._idle: list[Connection] = []
        # Two clocks would drift apart: times of day are computed from the one that latency has.
        self._epoch = time.time() - time.monotonic()
        self._number = itertools.count()
        self._asset: tuple[str, bytes] | None = None  # its path and content

    async def run(self, kinds: tuple[Kind, ...], rate: float, seconds: float) -> None:
        """Send `rate` requests a second for `seconds` or until SIGTERM, then await the answers."""
        enough = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, enough.set)
        choose = random.Random(0)  # noqa: S311 - the same mix each time, nothing to guess
        chosen = choose.choices(kinds, [kind.share for kind in kinds], k=int(rate * seconds))
        await self._open_page()
        begun = time.monotonic() + 0.1
        print("begun", flush=True)
        async with asyncio.TaskGroup() as tasks:
            for number in range(WEBSOCKETS):
                first = begun + number / WEBSOCKETS
                tasks.create_task(self._use_websocket(first, begun + seconds, enough))
            for number, kind in enumerate(chosen):
                due = begun + number / rate
                if await passed(due, enough):
                    break
                tasks.create_task(self._use(kind, due))
            enough.set()
        for connection in self._idle:
            connection.close()
        self._ledger.close()

    def _write(self, row: Row, due: float) -> None:
        row.seconds = round(time.monotonic() - due, 6)
        self._ledger.write(json.dumps(dataclasses.asdict(row)) + "\n")

    async def _open_page(self) -> None:
        """Open the page whose asset is asked for from then on."""
        page = await self._request(KINDS[0], b"")
        path = page.headers["x-asset"]
        asset = await self._request(dataclasses.replace(ASSET, path=path), b"")
        if (page.status, asset.status) != (200, 200):
            raise SystemExit(f"the page's {path} is not there: {asset}")
        self._asset = path, asset.body

    async def _use(self, kind: Kind, due: float) -> None:
        row = Row(round(self._epoch + due, 6), kind.name)
        if kind is ASSET and self._asset:
            kind = dataclasses.replace(kind, path=self._asset[0])
        body = b"request %d" % next(self._number)
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await self._request(kind, body)
            row.release = answer.headers.get("x-release")
            row.outcome = str(answer.status)
            row.good = answer.status == 200
            if row.good and kind.method == "POST" and answer.body != body:
                row.outcome, row.good = "somebody else's answer", False
            if row.kind == ASSET.name and self._asset and answer.body != self._asset[1]:
                row.outcome, row.good = "another page's asset", False
        except TimeoutError:
            row.outcome = f"no answer in {PATIENCE:.0f} s"
        except (OSError, asyncio.IncompleteReadError, ValueError, KeyError) as error:
            row.outcome = type(error).__name__
        self._write(row, due)

    async def _request(self, kind: Kind, body: bytes) -> Answer:
        connection = None
        while self._idle and not kind.fresh and connection is None:
            kept = self._idle.pop()
            connection = None if kept.closed else kept
        if connection is None:
            connection = Connection(*await asyncio.open_connection(self._name, self._port))
        try:
            answer = await connection.request(kind, self._host, body)
        except BaseException:
            connection.close()
            raise
        if kind.fresh:
            connection.close()
        elif not connection.closed:
            self._idle.append(connection)
        return answer

    async def _use_websocket(self, first: float, last: float, enough: asyncio.Event) -> None:
        """Send a text every second and expect it back, on a connection that the site may renew."""
        connection: WebSocketClientConnection | None = None
        due = first
        while due < last and not await passed(due, enough):
            row = Row(round(self._epoch + due, 6), "websocket", outcome="echo")
            text = f"message {next(self._number)}"
            try:
                async with asyncio.timeout(PATIENCE):
                    while row.outcome in ("echo", "1001 and back"):
                        connection = connection or await websocket_connect(f"ws://{self._host}/ws")
                        # One that is closing takes no message; its end is there to be read.
                        with contextlib.suppress(WebSocketClosedError):
                            await connection.write_message(text)
                        answer = await connection.read_message()
                        if answer is not None:
                            row.good = answer == text
                            break
                        # The connection itself may not know its code yet.
                        code = getattr(connection.protocol, "close_code", None)
                        connection = None
                        row.outcome = (
                            "1001 and back" if code == GOING_AWAY else f"closed with {code}"
                        )
                if not row.good and row.outcome == "echo":
                    row.outcome = "somebody else's answer"
            except Exception as error:  # whatever it is, it is the ledger's to tell
                row.outcome, connection = f"{type(error).__name__}: {error}", None
            self._write(row, due)
            due += 1.0
        if connection:
            connection.close()


async def passed(due: float, enough: asyncio.Event) -> bool:
    """Wait until the monotonic clock shows `due`; tells whether there is enough already."""
    wait = due - time.monotonic()
    if wait <= 0:
        # Others get their turn even when the prober is late.
        await asyncio.sleep(0)
    else:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(enough.wait(), wait)
    return enough.is_set()


def main() -> None:
    """Carry out the command line."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="of the site, on this machine's loopback")
    parser.add_argument("ledger", type=Path)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second, at most 1000")
    parser.add_argument("--seconds", type=float, default=60.0, help="at most 300")
    parser.add_argument(
        "--slow", type=int, default=20, help="how many of 1,000 requests take half a second"
    )
    parser.add_argument(
        "--eight-seconds", action="store_true", help="with requests that take eight seconds"
    )
    given = parser.parse_args()

    if urllib.parse.urlsplit(given.url).hostname not in ("127.0.0.1", "localhost"):
        parser.error(f"url: {given.url!r} is not on this machine, and load is for test hosts only")
    if not 0 < given.rate <= 1000:
        parser.error(f"--rate: {given.rate:g} is not allowed; it is at most 1000")
    if not 0 < given.seconds <= 300:
        parser.error(f"--seconds: {given.seconds:g} is not allowed; it is at most 300")
    # The tests' other programs must not disturb the clock by which the site is judged.
    with contextlib.suppress(PermissionError):
        os.nice(-10)
    kinds: tuple[Kind, ...] = (*KINDS, ASSET, dataclasses.replace(HALF_A_SECOND, share=given.slow))
    if given.eight_seconds:
        kinds = (*kinds, EIGHT_SECONDS)
    asyncio.run(Prober(given.url, given.ledger).run(kinds, given.rate, given.seconds))


if __name__ == "__main__":
    main()
