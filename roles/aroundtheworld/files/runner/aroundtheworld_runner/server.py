"""Tornado's HTTP server, with what it is doing at any moment.

Only documented hooks of `HTTPServer` are overridden. A request is in flight from the arrival
of its headers until its response has been handed to the kernel, which is when Tornado begins
to wait for the next request on the connection or gives the connection up.
"""

import asyncio
import functools
import logging
import math
import os
import socket
import time
import weakref
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream
from tornado.web import RequestHandler
from tornado.websocket import WebSocketHandler

from aroundtheworld_runner import descriptors, logs
from aroundtheworld_runner.lingering import LingeringStream, body_size
from aroundtheworld_runner.refusal import Refusal
from aroundtheworld_runner.responses import CountedResponse
from aroundtheworld_runner.statistics import ResponseStatistics

MANY = 10  # streams and WebSockets for whose ends the whole time is taken
IDLE_LOOK = 60.0  # seconds between two looks for idle connections
GOING_AWAY = 1001  # RFC 6455: the server is going down

log = logging.getLogger(__name__)


class WorkerServer(HTTPServer):
    """An HTTP server that knows what is in flight, and can stop without cutting it.

    Attributes:
        requests_in_flight: By the connection on which they came.
        requests_total: Requests whose headers have arrived since the start.
        websockets: How many are open, as far as was known at the last beat.
        every_response_streams: Whether any response that has begun is a stream, unless its length
            is known, and not those alone that are of the type of event streams.
        statistics: Of the responses, and how long they took from the arrival of the headers
            until the application has finished them.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Take what `HTTPServer` takes."""
        super().__init__(*args, **kwargs)
        self.requests_in_flight: dict[object, TrackedRequest] = {}
        self.requests_total = 0
        self.statistics = ResponseStatistics()
        self._release = os.environ.get("AROUNDTHEWORLD_RELEASE", "")
        self._streams: set[LingeringStream] = set()
        self.websockets = 0
        self._websockets: weakref.WeakSet[WebSocketHandler] = weakref.WeakSet()
        # Those whose end is set.
        self._ending: weakref.WeakSet[WebSocketHandler | TrackedRequest] = weakref.WeakSet()
        self.every_response_streams = False
        # Tornado would set a timer for each request that it waits for, which takes longer than all
        # that is counted here. `close_idle` does it for all connections at once.
        self._idle_limit = self.conn_params.header_timeout or math.inf
        self.conn_params.header_timeout = None
        self._looked_for_idle = 0.0

    @property
    def connections(self) -> int:
        """The number of open connections, WebSockets included."""
        return len(self._streams)

    def stop_accepting(self) -> None:
        """Leave new connections to others; the open ones end with their next response.

        Closing the listening sockets closes this process's copies only: systemd holds the
        queue, from which the next worker accepts. Idle connections stay open: the client may be
        sending a request at this very moment.
        """
        self.stop()
        # Read by Tornado when the headers of a request have arrived.
        self.conn_params.no_keep_alive = True

    def open_websockets(self) -> list[WebSocketHandler]:
        """Return the WebSockets that are accepted and not closed."""
        return [handler for handler in list(self._websockets) if handler.ws_connection]

    def end_streams(self, seconds: float, reason: str) -> tuple[int, int]:
        """End every open WebSocket and stream, spread over a time.

        Clients of both come again by themselves, and not all at once; a few need less than that
        time. Any other response, however long it takes, is finished. What is about to end already
        is not touched again.

        Args:
            seconds: Until when they end.
            reason: What a WebSocket's client is told.

        Returns:
            How many WebSockets and streams there are.
        """
        websockets = self.open_websockets()
        streams = [request for request in self.requests_in_flight.values() if request.is_stream]
        ends: dict[WebSocketHandler | TrackedRequest, Callable[[], None]] = {
            **{request: request.end for request in streams},
            **{each: functools.partial(_close_websocket, each, reason) for each in websockets},
        }
        new = [each for each in ends if each not in self._ending]
        self._ending.update(new)
        loop = asyncio.get_running_loop()
        for number, each in enumerate(new):
            loop.call_later(seconds * number / max(len(new), MANY), ends[each])
        return len(websockets), len(streams)

    def close_idle(self, now: float) -> None:
        """Close connections that have waited for a request for an hour, as Tornado does.

        nginx closes its own after a second; others could keep theirs for ever.

        Args:
            now: The time (monotonic). Called more often than once a minute, nothing is done.
        """
        if now - self._looked_for_idle < IDLE_LOOK:
            return
        self._looked_for_idle = now
        for stream in list(self._streams):
            if stream.waiting_since and now - stream.waiting_since > self._idle_limit:
                stream.close()

    def count_websockets(self) -> None:
        """Count the WebSockets that are open: Tornado does not have a hook for one that closes."""
        self.websockets = len(self.open_websockets())

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept from listening sockets."""
        patient = [cast(socket.socket, descriptors.PatientListener(each)) for each in sockets]
        super().add_sockets(patient)

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Count the connection from the moment it is accepted until its socket is closed."""
        lingering = LingeringStream(
            stream.socket,
            max_buffer_size=stream.max_buffer_size,
            read_chunk_size=stream.read_chunk_size,
        )
        lingering.on_closed = self._streams.discard
        lingering.is_too_many = descriptors.is_reserved(stream.socket.fileno())
        self._streams.add(lingering)
        super().handle_stream(lingering, address)

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Wait for a request; the connection's previous request has been answered."""
        self._request_ended(server_conn)
        logs.current_request.set(logs.NONE)  # until its headers arrive
        response = CountedResponse(
            request_conn, self.statistics, self._release, streams=self.every_response_streams
        )
        response.transport.waiting_since = time.monotonic()
        delegate: HTTPMessageDelegate
        if response.transport.is_too_many:
            response.close_afterwards()
            delegate = Refusal(response)
        else:
            delegate = super().start_request(server_conn, response)
        return TrackedRequest(self, server_conn, delegate, response)

    def on_close(self, server_conn: object) -> None:
        """Forget a connection that has closed, or that is no longer HTTP."""
        super().on_close(server_conn)
        self._request_ended(server_conn)

    def request_began(self, server_conn: object, request: "TrackedRequest") -> None:
        """Note that the headers of a request have arrived."""
        self.requests_in_flight[server_conn] = request
        self.requests_total += 1

    def _request_ended(self, server_conn: object) -> None:
        request = self.requests_in_flight.pop(server_conn, None)
        if request and not request.response.whole:
            self.statistics.count_aborted()

    def request_arrived(self, delegate: HTTPMessageDelegate) -> None:
        """Note that a request has arrived whole and has its handler."""
        handler = _handler_of(delegate)
        if isinstance(handler, WebSocketHandler):
            self._websockets.add(handler)


def _close_websocket(handler: WebSocketHandler, reason: str) -> None:
    try:
        handler.close(GOING_AWAY, reason)
    except Exception:
        log.exception("cannot close the WebSocket of %s", type(handler).__name__)


class TrackedRequest(HTTPMessageDelegate):
    """Passes a request on to the application, and reports it to the server."""

    def __init__(
        self,
        server: WorkerServer,
        server_conn: object,
        delegate: HTTPMessageDelegate,
        response: "CountedResponse",
    ) -> None:
        """Take the connection, what the application made for the request, and the response."""
        self._server = server
        self._server_conn = server_conn
        self._delegate = delegate
        self.response = response

    def __str__(self) -> str:
        """Return which request it is, its handler, and for how long that has been running."""
        # Without the query, which may contain secrets.
        path = self._line.path.partition("?")[0]
        handler = _handler_of(self._delegate)
        return (
            f"{self._line.method} {path} in {type(handler).__name__ if handler else 'no handler'}, "
            f"running for {time.monotonic() - self.response.started:.1f} s"
        )

    @property
    def is_stream(self) -> bool:
        """Tell whether its response is a stream that goes on."""
        return self.response.is_stream and not self.response.whole

    def end(self) -> None:
        """End a stream as if the client had left, which the application has to expect."""
        if not self.is_stream:  # it has ended meanwhile
            return
        self.response.end()
        handler = _handler_of(self._delegate)
        if handler is not None:
            try:
                handler.on_connection_close()
            except Exception:
                log.exception("cannot end the stream of %s", type(handler).__name__)

    def cut(self) -> None:
        """Break a response off that has begun.

        When its handler is cancelled, Tornado would end it as if it were whole.
        """
        if self.response.begun:
            self.response.transport.close()

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """Note the request before the application sees it."""
        self._line = cast(RequestStartLine, start_line)
        self.response.started = time.monotonic()
        self.response.request_id = request_id = logs.valid_id(headers.get(logs.HEADER, ""))
        self.response.transport.unread = body_size(headers)
        self.response.transport.waiting_since = 0.0
        # The handler's coroutine is started from here, with a copy of what is set.
        logs.current_request.set(request_id)
        self._server.request_began(self._server_conn, self)
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Pass it on."""
        return self._delegate.data_received(chunk)

    def finish(self) -> None:
        """Pass it on; the request has arrived, and has its handler."""
        self.response.transport.unread = 0
        self._delegate.finish()
        self._server.request_arrived(self._delegate)

    def on_connection_close(self) -> None:
        """Pass it on."""
        self._delegate.on_connection_close()


def _handler_of(delegate: HTTPMessageDelegate) -> RequestHandler | None:
    """Find the handler at the end of Tornado's chain of delegates, if it has been made yet.

    The attributes are not documented; where they are missing, a log line lacks the handler's
    name and a WebSocket is closed without a code.
    """
    link: object = delegate
    while link is not None:
        handler = getattr(link, "handler", None)
        if isinstance(handler, RequestHandler):
            return handler
        link = getattr(link, "delegate", None)
    return None
