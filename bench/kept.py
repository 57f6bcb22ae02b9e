"""A connection that is kept, and how each request on it ends.

What a browser may repeat depends on how far the site got. So a request is answered, or it ends in
an error that says that:

    UntouchedError  the connection ended before any byte of a response
    RefusedError    the site said that it does not begin with the request
    FailedError     anything else: cut off, not HTTP, more than a response

HTTP/2 is in kept_http2.py.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import cast

import h11


class UntouchedError(Exception):
    """The connection ended before any byte of a response."""


class RefusedError(Exception):
    """The site did not begin with the request, and said so."""


class FailedError(Exception):
    """The request failed, and may not be repeated."""


@dataclass
class Answer:
    """A response."""

    status: str
    headers: dict[str, str]
    """By their names in lower case."""
    protocol: str
    size: int = 0
    """Bytes of the body."""


@dataclass
class Exchange:
    """A request that was sent, and what has come of its response."""

    answer: Answer
    answered: asyncio.Future[Answer]
    touched: bool = False
    """Whether a byte of the response has come."""

    def finish(self) -> None:
        """Give the response to who waits for it."""
        if not self.answered.done():  # who waited may have lost patience
            self.answered.set_result(self.answer)

    def fail(self, error: Exception) -> None:
        """Give an error in its place."""
        if not self.answered.done():
            self.answered.set_exception(error)
            self.answered.exception()  # whether or not somebody still waits


class Connection(asyncio.Protocol):
    """What both protocols have in common."""

    protocol = ""

    def __init__(self, host: str) -> None:
        """Take the name of the site."""
        self.host = host
        self.open = True
        """Whether it takes another request."""
        self.used = False
        """Whether a request was answered on it."""
        self.stray = False
        """Whether the site sent what nobody had asked for, and it was closed therefore."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what it sends by."""
        self.transport = cast(asyncio.Transport, transport)

    async def get(self, path: str) -> Answer:
        """Return the response to a request of the path.

        Who is cancelled meanwhile takes the connection along.

        Raises:
            UntouchedError: see above; so do the others.
            RefusedError: over HTTP/2 only.
            FailedError: with the reason.
        """
        if not self.open:
            raise self._why_closed()
        answer = Answer("", {}, self.protocol)
        exchange = Exchange(answer, asyncio.get_running_loop().create_future())
        self._send(path, exchange)
        try:
            return await exchange.answered
        except asyncio.CancelledError:
            self.close()
            raise

    def close(self, reason: str = "another request was given up") -> None:
        """Close it, and fail what is not answered for that reason."""
        for exchange in self._take_all():
            exchange.fail(FailedError(reason))
        self.open = False
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all that is not answered."""
        self.open = False
        # Without TLS's own farewell, a connection is as closed as with it.
        is_garbled = isinstance(exc, ssl.SSLError) and not isinstance(exc, ssl.SSLEOFError)
        for exchange in self._take_all():
            if is_garbled:
                exchange.fail(FailedError(f"{type(exc).__name__}: {exc}"))
            elif exchange.touched:
                exchange.fail(FailedError("the response was cut off"))
            else:
                exchange.fail(self._why_lost())

    def _why_closed(self) -> Exception:
        """Return why it takes no request."""
        return UntouchedError()

    def _why_lost(self) -> Exception:
        """Return why a request has no byte of a response."""
        return UntouchedError()

    def _send(self, path: str, exchange: Exchange) -> None:
        raise NotImplementedError

    def _take_all(self) -> list[Exchange]:
        """Return what is not answered, which from now on is not this connection's."""
        raise NotImplementedError


class Http1(Connection):
    """HTTP/1.1, with a request at a time."""

    protocol = "HTTP/1.1"

    def __init__(self, host: str) -> None:
        """Take the name of the site."""
        super().__init__(host)
        self._h11 = h11.Connection(h11.CLIENT)
        self._exchange: Exchange | None = None

    def _send(self, path: str, exchange: Exchange) -> None:
        self._exchange = exchange
        request = h11.Request(method="GET", target=path, headers=[("Host", self.host)])
        data = self._h11.send(request)
        self.transport.write((data or b"") + (self._h11.send(h11.EndOfMessage()) or b""))

    def _take_all(self) -> list[Exchange]:
        taken, self._exchange = self._exchange, None
        return [taken] if taken else []

    def data_received(self, data: bytes) -> None:
        """Read on."""
        exchange = self._exchange
        if exchange is None:
            self.stray = True
            self.close()
            return
        exchange.touched = True
        try:
            self._h11.receive_data(data)
            while (event := self._h11.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Response):
                    self._begin(exchange.answer, event)
                elif isinstance(event, h11.Data):
                    exchange.answer.size += len(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    self._end(exchange)
                    return
        except h11.RemoteProtocolError as error:
            self.close(f"not HTTP: {error}")

    def _begin(self, answer: Answer, event: h11.Response) -> None:
        answer.status = str(event.status_code)
        answer.headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
        if not {"content-length", "transfer-encoding"} & answer.headers.keys():
            # Where the connection's end is the response's, nobody knows whether it is whole.
            raise h11.RemoteProtocolError("a response without a length")

    def _end(self, exchange: Exchange) -> None:
        if self._h11.trailing_data[0]:
            self.close("more than the response")
            return
        self._exchange = None
        self.used = True
        if self._h11.our_state is self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
        else:
            self.close()
        exchange.finish()
