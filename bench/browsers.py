"""Visitors who keep their connections as browsers do, and what became of each request.

When a site is reloaded, it closes connections that are kept, and may do so just when the next
request is on its way. A browser then repeats a GET

- once and on a new connection, if the former had been used before, and not a byte of a response
  had come (RFC 9112 9.3.1), or
- twice at most, if the site had said that it does not begin with the request (RFC 9113 8.7).

Anything else has failed. What is repeated is counted too.

A visitor waits for a page before the next one, so this is not for latencies: `open_loop.py` is.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

from bench.kept import Answer, Connection, FailedError, Http1, RefusedError, UntouchedError
from bench.kept_http2 import Http2

REDIRECTS = ("301", "308")
REFUSALS = 2  # after which a browser still repeats, as Chrome does
NOTICE = 0.5  # seconds until visitors notice that they may leave


@dataclass(frozen=True)
class Site:
    """Where visitors go."""

    host: str
    """Its name, which its certificate has."""
    origins: Mapping[str, tuple[str, int]]
    """Of `http` and `https`, address and port."""
    trusted: str = ""
    """Certificate authorities, as PEM."""
    patience: float = 10.0
    """Seconds until a request without a response has failed."""


@dataclass
class Tally:
    """What became of all requests, each by its protocol."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """The status, or why there is none."""
    repeated: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Why a browser repeated a request. The outcome counts once."""
    slowest: float = 0.0
    """Seconds."""

    @property
    def failed(self) -> dict[tuple[str, str], int]:
        """Return the outcomes that are no responses."""
        return {key: count for key, count in self.outcomes.items() if not key[1].isdigit()}

    def __str__(self) -> str:
        """Return it for people."""
        return (
            f"{self.outcomes.total()} requests: {_listed(self.outcomes)}; "
            f"{self.repeated.total()} repeated: {_listed(self.repeated) or 'none'}; "
            f"{sum(self.failed.values())} failed; the slowest took {self.slowest:.2f} s"
        )


def _listed(counts: Mapping[tuple[str, str], int]) -> str:
    return ", ".join(f"{count} {' '.join(key)}" for key, count in sorted(counts.items()))


class Choice(asyncio.Protocol):
    """The connection's protocol until it is known which one that is: with TLS, the site chooses."""

    connection: Connection

    def __init__(self, host: str) -> None:
        """Take the name of the site."""
        self._host = host

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give everything to the protocol that was chosen."""
        tls = transport.get_extra_info("ssl_object")
        is_second = tls is not None and tls.selected_alpn_protocol() == "h2"
        self.connection = (Http2 if is_second else Http1)(self._host)
        cast(asyncio.Transport, transport).set_protocol(self.connection)
        self.connection.connection_made(transport)


class Browser:
    """One visitor, with one connection."""

    def __init__(self, site: Site, tally: Tally, tls: ssl.SSLContext) -> None:
        """Take whom to trust, and in the same context which protocols to offer."""
        self._site, self._tally, self._tls = site, tally, tls
        self._scheme = "http" if "http" in site.origins else "https"
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()

    @property
    def is_connected(self) -> bool:
        """Return whether the next request will be on a connection that is kept."""
        return self._connection is not None and self._connection.open

    async def visit(self, paths: Sequence[str]) -> None:
        """Load a page and what belongs to it: over HTTP/2 at once, else one after the other."""
        if isinstance(self._connection, Http2):
            await asyncio.gather(*map(self._load, paths))
        else:
            for path in paths:
                await self._load(path)

    def close(self) -> None:
        """Leave."""
        if self._connection:
            self._look_for_strays(self._connection)
            self._connection.close()

    async def _load(self, path: str) -> None:
        """Load something, and follow the site to HTTPS for good."""
        answer = await self._get(path)
        if not answer or answer.status not in REDIRECTS:
            return
        to = urlsplit(answer.headers.get("location", ""))
        if (to.scheme, to.hostname, to.path) != ("https", self._site.host, path):
            self._note("sent to " + (to.geturl() or "nowhere"), answer.protocol)
            return
        self._scheme = "https"
        self.close()
        await self._get(path)

    async def _get(self, path: str) -> Answer | None:
        answer, began = None, time.monotonic()
        try:
            async with asyncio.timeout(self._site.patience):
                answer = await self._answer(path)
            outcome = answer.status
        except TimeoutError:
            outcome = f"no response in {self._site.patience:g} s"
        except FailedError as error:
            outcome = str(error)
        except OSError as error:
            outcome = type(error).__name__
        self._note(outcome, answer.protocol if answer else self._scheme)
        self._tally.slowest = max(self._tally.slowest, time.monotonic() - began)
        return answer

    async def _answer(self, path: str) -> Answer:
        """Return the response, of a further try if a browser may make one."""
        for repeated in range(REFUSALS + 1):
            connection = await self._connected()
            was_used = connection.used
            try:
                return await connection.get(path)
            except UntouchedError:
                if repeated:
                    raise FailedError("the repeated request got no response either") from None
                if not was_used:
                    raise FailedError("a new connection was closed before the response") from None
                why = "closed while it was kept"
            except RefusedError:
                if repeated == REFUSALS:
                    break
                why = "refused by GOAWAY or RST_STREAM"
            self._tally.repeated[connection.protocol, why] += 1
        raise FailedError(f"refused {REFUSALS + 1} times")

    async def _connected(self) -> Connection:
        """Return a connection that takes a request."""
        async with self._connecting:
            if self._connection and self._connection.open:
                return self._connection
            if self._connection:
                self._look_for_strays(self._connection)
            self._connection = await self._connect()
            return self._connection

    async def _connect(self) -> Connection:
        """Open one.

        Raises:
            OSError: it cannot be opened; `ssl.SSLError` is one.
        """
        address, port = self._site.origins[self._scheme]
        is_secure = self._scheme == "https"
        _, choice = await asyncio.get_running_loop().create_connection(
            lambda: Choice(self._site.host),
            address,
            port,
            ssl=self._tls if is_secure else None,
            server_hostname=self._site.host if is_secure else None,
        )
        return choice.connection

    def _look_for_strays(self, connection: Connection) -> None:
        if connection.stray:
            self._note("bytes that nobody asked for", connection.protocol)
            connection.stray = False

    def _note(self, outcome: str, protocol: str) -> None:
        self._tally.outcomes[protocol, outcome] += 1


class Browsers:
    """Many of them, in a thread of their own."""

    def __init__(self, site: Site, first: int, second: int) -> None:
        """Make them; they come with `visiting`.

        Args:
            site: where they go.
            first: how many know HTTP/1.1 only.
            second: how many prefer HTTP/2.
        """
        self.tally = Tally()
        self._all = [
            Browser(site, self.tally, tls)
            for tls, count in ((tls_context(site, False), first), (tls_context(site, True), second))
            for _ in range(count)
        ]
        # Over the whole interval both come equally often.
        random.Random(0).shuffle(self._all)  # noqa: S311 - nothing to guess
        self._over = threading.Event()

    @property
    def connected(self) -> int:
        """Return how many have a connection that is kept."""
        return sum(browser.is_connected for browser in self._all)

    @contextlib.contextmanager
    def visiting(self, visits: Sequence[Sequence[str]], interval: float) -> Iterator[Tally]:
        """Have each make a visit at that interval (seconds), during the block.

        At its end, they wait for what is not answered yet.

        Args:
            visits: the paths of each; everybody takes them in turn, and begins with another.
            interval: from a visit to the next.
        """
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(asyncio.run, self._visit(visits, interval))
            try:
                yield self.tally
            finally:
                self._over.set()
        running.result()

    async def _visit(self, visits: Sequence[Sequence[str]], interval: float) -> None:
        begun = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number, browser in enumerate(self._all):
                first = begun + interval * number / len(self._all)
                own = itertools.islice(itertools.cycle(visits), number, None)
                tasks.create_task(self._come(browser, own, first, interval))
        for browser in self._all:
            browser.close()

    async def _come(
        self, browser: Browser, visits: Iterable[Sequence[str]], due: float, interval: float
    ) -> None:
        for paths in visits:
            if await self._is_over_by(due):
                return
            await browser.visit(paths)
            due = max(due + interval, time.monotonic())  # who was late does not make up for it

    async def _is_over_by(self, due: float) -> bool:
        # The event is another thread's, so it is looked at now and then.
        while not self._over.is_set() and (wait := due - time.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(wait, NOTICE))
        return self._over.is_set()


def tls_context(site: Site, is_second: bool) -> ssl.SSLContext:
    """Return whom visitors trust, and which protocols they know."""
    context = ssl.create_default_context(cadata=site.trusted or None)
    context.set_alpn_protocols(["h2", "http/1.1"] if is_second else ["http/1.1"])
    return context
