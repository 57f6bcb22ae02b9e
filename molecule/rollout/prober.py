#!/usr/bin/env python3
"""Uses a test host's site like its visitors do, and writes down what became of every request.

    prober.py http://127.0.0.1:8080 LEDGER --rate 400 --seconds 60

Requests leave at a constant rate, by the open loop of the benchmarks (`bench/open_loop.py`), and
WebSockets exchange a message a second.

It prints `begun` when the first request leaves, ends after `--seconds` or on SIGTERM, and then
waits for the responses that are due. LEDGER gets a JSON object a line:

    sent     when the request was due, in seconds since 1970
    kind     the name of a kind below, or `websocket`
    seconds  from then until the whole response was there
    outcome  the status, or what went wrong in words
    good     whether it is what a visitor expects
    release  which release answered, if the response names it
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import http.client
import itertools
import json
import os
import random
import signal
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, websocket_connect

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.open_loop import OpenLoop, Request, Result

PATIENCE = 30.0  # seconds until a request without a response has failed
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
# What the first page referred to, as a browser requests it that keeps that page open.
ASSET = Kind("asset", 20, "GET", "")
HALF_A_SECOND = Kind("slow post", 20, "POST", "/slow?seconds=0.5")
# Only on request, because the prober does not end before these do.
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


class Ledger:
    """What became of every request."""

    def __init__(self, path: Path) -> None:
        """Take the file to write."""
        self._file, self._lock = path.open("w"), threading.Lock()
        # Two clocks would drift apart: times of day are computed from the clock of latencies.
        self._epoch = time.time() - time.monotonic()

    def row(self, kind: str, due: float) -> Row:
        """Return a row for a request that is due at a time of the monotonic clock."""
        return Row(round(self._epoch + due, 6), kind)

    def write(self, row: Row, seconds: float) -> None:
        """Write a row down."""
        row.seconds = round(seconds, 6)
        with self._lock:
            self._file.write(json.dumps(dataclasses.asdict(row)) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Page:
    """The first page that was opened, and the file that it refers to."""

    def __init__(self, site: str) -> None:
        """Open it.

        Raises:
            SystemExit: the page or its file is not there.
        """
        connection = http.client.HTTPConnection(site, timeout=PATIENCE)
        self.path, status = "/", 0
        for _ in ("the page", "its file"):
            connection.request("GET", self.path)
            response = connection.getresponse()
            self.content, status = response.read(), response.status
            if status != http.client.OK:
                raise SystemExit(f"{self.path} is not there: status {status}")
            self.path = response.headers.get("X-Asset", self.path)
        connection.close()


def requests(kinds: tuple[Kind, ...], asset: str) -> Iterator[Request]:
    """Yield a mix of requests that is the same each time."""
    choose = random.Random(0)  # noqa: S311 - nothing to guess
    shares = [kind.share for kind in kinds]
    for number in itertools.count():
        (kind,) = choose.choices(kinds, shares)
        path = asset if kind is ASSET else kind.path
        body, headers = b"", {}
        if kind.method == "POST":
            body, headers = b"request %d" % number, {"Content-Type": "text/plain"}
        yield Request(path, kind.method, body, headers, kind.fresh, kind.name)


def judge(result: Result, page: Page, row: Row) -> None:
    """Fill the row of a result."""
    request = result.request
    row.release, row.outcome = result.headers.get("x-release"), result.outcome
    row.good = result.outcome == "200"
    if row.good and request.method == "POST" and result.body != request.body:
        row.outcome, row.good = "the response to another request", False
    if row.good and request.kind == ASSET.name and result.body != page.content:
        row.outcome, row.good = "another page's asset", False


async def use_websockets(site: str, ledger: Ledger, seconds: float, over: threading.Event) -> None:
    """Use all WebSockets for so long, or until it is over."""
    begun = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for number in range(WEBSOCKETS):
            first = begun + number / WEBSOCKETS
            tasks.create_task(use_websocket(site, ledger, first, begun + seconds, over))


async def use_websocket(
    site: str, ledger: Ledger, first: float, last: float, over: threading.Event
) -> None:
    """Send a text every second and expect it back, on a connection that the site may renew."""
    connection: WebSocketClientConnection | None = None
    due = first
    while due < last and not await passed(due, over):
        row = ledger.row("websocket", due)
        row.outcome, text = "echo", f"message of {due}"
        try:
            async with asyncio.timeout(PATIENCE):
                while row.outcome in ("echo", "1001 and back"):
                    connection = connection or await websocket_connect(f"ws://{site}/ws")
                    # A closing connection takes no message; its end is there to be read.
                    with contextlib.suppress(WebSocketClosedError):
                        await connection.write_message(text)
                    message = await connection.read_message()
                    if message is not None:
                        row.good = message == text
                        break
                    # The connection itself may not know its code yet.
                    code = getattr(connection.protocol, "close_code", None)
                    connection = None
                    row.outcome = "1001 and back" if code == GOING_AWAY else f"closed with {code}"
            if not row.good and row.outcome == "echo":
                row.outcome = "the echo of another message"
        except Exception as error:  # whatever it is, the ledger shows it
            row.outcome, connection = f"{type(error).__name__}: {error}", None
        ledger.write(row, time.monotonic() - due)
        due += 1.0
    if connection:
        connection.close()


async def passed(due: float, over: threading.Event) -> bool:
    """Wait until the monotonic clock shows `due`; return whether it is over already."""
    await asyncio.sleep(max(0.0, due - time.monotonic()))
    return over.is_set()


def probe(site: str, ledger: Ledger, kinds: tuple[Kind, ...], rate: float, seconds: float) -> None:
    """Send `rate` requests a second for `seconds` or until SIGTERM, then await the responses."""
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    page = Page(site)

    def note(result: Result) -> None:
        row = ledger.row(result.request.kind, result.due)
        judge(result, page, row)
        ledger.write(row, result.seconds)

    address, _, port = site.rpartition(":")
    client = OpenLoop(address, int(port), note, patience=PATIENCE)
    mix = itertools.islice(requests(kinds, page.path), int(rate * seconds))
    print("begun", flush=True)
    with ThreadPoolExecutor(1) as pool:
        websockets = pool.submit(asyncio.run, use_websockets(site, ledger, seconds, over))
        try:
            client.run(rate, mix, over.is_set)
        finally:
            over.set()
    websockets.result()


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
    arguments = parser.parse_args()

    url = urllib.parse.urlsplit(arguments.url)
    if url.hostname not in ("127.0.0.1", "localhost"):
        parser.error(
            f"url: {arguments.url!r} is not on this machine, and load is for test hosts only"
        )
    if not 0 < arguments.rate <= 1000:
        parser.error(f"--rate: {arguments.rate:g} is not allowed; it is at most 1000")
    if not 0 < arguments.seconds <= 300:
        parser.error(f"--seconds: {arguments.seconds:g} is not allowed; it is at most 300")
    # The tests' other programs must not disturb the clock by which the site is judged.
    with contextlib.suppress(PermissionError):
        os.nice(-10)
    kinds: tuple[Kind, ...]
    kinds = (*KINDS, ASSET, dataclasses.replace(HALF_A_SECOND, share=arguments.slow))
    if arguments.eight_seconds:
        kinds = (*kinds, EIGHT_SECONDS)
    ledger = Ledger(arguments.ledger)
    site = f"{url.hostname}:{url.port or 80}"
    probe(site, ledger, kinds, arguments.rate, arguments.seconds)
    ledger.close()


if __name__ == "__main__":
    main()
