"""Connections that close without destroying what their clients have not read yet.

When a socket is closed while something that the client sent is unread in it, or still arrives, the
kernel resets the connection: what the client has not read of the response is lost. So a connection
whose client may still be sending ends in two steps, as nginx does it: the response's end is sent,
and what arrives is thrown away until the client closes.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable

from tornado.httputil import HTTPHeaders
from tornado.iostream import IOStream

SECONDS = 30.0  # for how long a client may go on sending
UNANNOUNCED = 100 * 1024 * 1024  # bytes that it may send when it did not say how many there are
_thrown_away = memoryview(bytearray(256 * 1024))


class LingeringStream(IOStream):
    """A connection that knows whether its client may still be sending a request.

    Attributes:
        unread: How many bytes of the request may still be in the socket or on their way.
        on_closed: Called when it has closed for good.
        waiting_since: When it began to wait for the headers of a request (monotonic), or 0.
        is_too_many: Whether the process has no room for it, so that its request is refused.
    """

    unread = 0
    waiting_since = 0.0
    on_closed: Callable[["LingeringStream"], None] | None = None
    is_too_many = False

    def close_fd(self) -> None:
        """Close the socket, at once or when the client has done so."""
        if not self.unread:
            super().close_fd()
            self.closed_for_good()
            return
        lingering, self.socket = self.socket, None  # type: ignore[assignment]
        _Lingering(lingering, self.unread, self.closed_for_good)

    def closed_for_good(self) -> None:
        """Tell that the socket is closed."""
        if self.on_closed:
            self.on_closed(self)


class _Lingering:
    """Throws away what arrives on a socket, and closes it."""

    def __init__(self, sock: socket.socket, limit: int, on_closed: Callable[[], None]) -> None:
        self._socket, self._left, self._on_closed = sock, limit, on_closed
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(SECONDS, self._close)
        self._loop.add_reader(sock, self._read)
        with contextlib.suppress(OSError):  # there is no client any more
            sock.shutdown(socket.SHUT_WR)

    def _read(self) -> None:
        try:
            read = self._socket.recv_into(_thrown_away)
        except BlockingIOError:
            return
        except OSError:
            read = 0
        self._left -= read
        if read == 0 or self._left < 0:
            self._close()

    def _close(self) -> None:
        self._timer.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._on_closed()


def body_size(headers: HTTPHeaders) -> int:
    """Return how many bytes of body may follow the headers of a request."""
    if "Transfer-Encoding" in headers:
        return UNANNOUNCED
    length = headers.get("Content-Length", "0")
    return int(length) if length.isdecimal() else UNANNOUNCED
