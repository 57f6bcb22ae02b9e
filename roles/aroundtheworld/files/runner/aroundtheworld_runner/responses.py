"""A response on its way from the application to the client."""

import time
from asyncio import Future
from http import HTTPStatus
from typing import cast

from tornado.concurrent import chain_future
from tornado.http1connection import HTTP1Connection
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import StreamClosedError

from aroundtheworld_runner import logs
from aroundtheworld_runner.lingering import LingeringStream
from aroundtheworld_runner.statistics import ResponseStatistics

EVENT_STREAM = "text/event-stream"
# For nginx's access log; nginx keeps it from visitors.
RELEASE_HEADER = "X-Aroundtheworld-Release"


class CountedResponse(HTTPConnection):
    """Passes a response on to the connection and counts it when it is whole.

    `isinstance` takes it for the HTTP1Connection that it stands for: applications ask for that type
    before they use what only it has, such as `set_max_body_size`.

    Attributes:
        started: When the headers of the request arrived (monotonic).
        whole: The application has finished it, and the client was there to take it.
        request_id: By which the logs name the request.
        transport: What the connection reads from and writes to.
        is_stream: It has begun, and goes on until one of both leaves.
    """

    def __init__(
        self,
        connection: HTTPConnection,
        statistics: ResponseStatistics,
        release: str,
        *,
        streams: bool,
    ) -> None:
        """Take the connection, and what to do with the response.

        Args:
            connection: Tornado's.
            statistics: Where to count it.
            release: What to name in it, if anything.
            streams: Whether it is a stream of whatever type.
        """
        assert isinstance(connection, HTTP1Connection)  # noqa: S101 - Tornado serves nothing else
        self._connection = connection
        self.transport = cast(LingeringStream, connection.stream)
        # What Tornado uses in every request beyond the interface; for the rest, `__getattr__`
        # does, which takes longer.
        self.context = connection.context
        self.set_close_callback = connection.set_close_callback
        self._statistics = statistics
        self._release = release
        self._streams = streams
        self._code = 0
        self.started = 0.0
        self.whole = False
        self.request_id = logs.NONE
        self.is_stream = False
        self._ended = False
        self._writing: Future[None] | None = None

    def write_headers(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
        chunk: bytes | None = None,
    ) -> Future[None]:
        """Note the status, name the release, and pass it on."""
        assert isinstance(start_line, ResponseStartLine)  # noqa: S101 - it is a server's
        self._code = start_line.code
        if self._code >= HTTPStatus.OK and "Content-Length" not in headers:
            kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
            self.is_stream = self._streams or kind == EVENT_STREAM
            if self.is_stream:
                # Or nginx keeps events back until it has some kilobytes of them.
                headers.setdefault("X-Accel-Buffering", "no")
                # Or nginx keeps the connection when the stream has ended, and has the client come
                # again on it, to a worker that leaves.
                self.close_afterwards()
        if self._code == HTTPStatus.SWITCHING_PROTOCOLS:
            # While draining, Tornado closes a connection after its response, also when that makes
            # it a WebSocket, which then could not get a code and a reason.
            self._connection._disconnect_on_finish = False
        elif self.transport.unread:
            # Rather than read a body that nobody waits for. Tornado says so in the response only if
            # it knows now; a client that does not know might use the connection once more.
            self.close_afterwards()
        if self._release:
            headers[RELEASE_HEADER] = self._release
        return self._written(self._connection.write_headers(start_line, headers, chunk))

    def write(self, chunk: bytes) -> Future[None]:
        """Pass it on, unless the stream was ended from here."""
        if self._ended:
            return _gone(Future())
        return self._written(self._connection.write(chunk))

    def _written(self, future: Future[None]) -> Future[None]:
        """Return a future of a stream's own: Tornado forgets its future when the response ends."""
        if not self.is_stream or future.done():
            return future
        self._writing = own = Future[None]()
        chain_future(future, own)
        return own

    def finish(self) -> None:
        """Pass it on, and count the response."""
        if self._ended:
            return
        abandoned = self.transport.closed()
        if not self.transport.unread:
            # A handler that takes bodies in parts answers before Tornado has seen that there is
            # none. Tornado would close the connection, on which the next request may be coming.
            self._connection._read_finished = True
        self._connection.finish()  # raises when there is less of it than was announced
        if not abandoned:
            self.whole = True
            self._statistics.count_response(self._code, time.monotonic() - self.started)

    def close_afterwards(self) -> None:
        """Have the connection end with this response, whatever the client wishes."""
        self._connection._disconnect_on_finish = True

    def end(self) -> None:
        """Finish a stream in the application's place, so that its client sees that it is whole."""
        self.finish()
        self._ended = True
        if self._writing and not self._writing.done():  # or a handler would wait for ever
            _gone(self._writing)

    def __getattr__(self, name: str) -> object:
        """Return what applications use beyond the interface, such as `detach`."""
        return getattr(self._connection, name)

    @property
    def begun(self) -> bool:
        """Tell whether its headers are on their way."""
        return self._code != 0

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The class that `isinstance` finds, besides its own."""
        return HTTP1Connection


def _gone(future: Future[None]) -> Future[None]:
    """Have a future say that the client has left."""
    future.set_exception(StreamClosedError())
    future.exception()  # an application need not look at it
    return future
