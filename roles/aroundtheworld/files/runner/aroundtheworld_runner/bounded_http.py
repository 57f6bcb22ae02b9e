"""An HTTP client for servers that are not trusted, with a deadline for all of it and a size limit.

The server is a process that runs the app's code. It may answer a byte a second, without end, or
not at all; it may have put a link or a pipe in the place of its socket. None of this delays the
caller beyond the deadline, and no more is kept in memory than the limit.

It needs nothing but the standard library, because it is used in three places: by the role's modules
under the host's own Python, by the metrics' endpoint, and by the trial of a pool's own command. The
last two travel with the release: the runner has a link to this file, and a release a copy of it.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

# In bytes, the headers among them.
LIMIT = 64 * 1024
PAUSE_SECONDS = 0.02


class NoAnswerError(OSError):
    """There is no answer in time, or it is not HTTP, or too long; the message says which."""


class Response(NamedTuple):
    """The response to a request."""

    status: int
    body: bytes


def request(
    to: Path | str,
    method: str,
    url: str,
    *,
    timeout: float,
    headers: Mapping[str, str] | None = None,
    limit: int = LIMIT,
    keep: bool = True,
) -> Response:
    """Return the response to an HTTP request; a redirect is not followed.

    Args:
        to: A UNIX socket, which must not be a link, or ``address:port``.
        method: Such as ``GET``.
        url: The path, perhaps with a query.
        timeout: Seconds for all of it: to connect, to send, and to read the whole response.
        headers: More of the request's headers.
        limit: Bytes of the response, headers included.
        keep: Whether to return the body. Otherwise it is empty, and a response that is longer than
            the limit is a response all the same.

    Raises:
        NoAnswerError: There is no such response, for whatever reason.
    """
    deadline = time.monotonic() + timeout
    connection = http.client.HTTPConnection("localhost")
    body = b""
    try:
        with _connect(to, deadline) as sock:
            connection.sock = cast(socket.socket, _Bounded(sock, deadline, limit))
            connection.request(method, url, headers={"Connection": "close", **(headers or {})})
            response = connection.getresponse()
            try:
                # Piece by piece: a read of what Content-Length announces would reserve all of it.
                while piece := response.read1(LIMIT):
                    body += piece if keep else b""
            except _TooLongError:
                if keep:
                    raise
            else:
                if response.length:
                    raise OSError("the answer broke off")
            return Response(response.status, body)
    except TimeoutError:
        raise NoAnswerError(f"no whole answer within {timeout:g} s") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoAnswerError(_reason(error)) from None


def _reason(error: Exception) -> str:
    """Return why there is no response, without what the server sent instead of HTTP."""
    if isinstance(error, http.client.HTTPException):
        return f"the answer is not HTTP ({type(error).__name__})"
    return str(error) or type(error).__name__


def _left(deadline: float) -> float:
    """Return the seconds that are left; raises `TimeoutError` when there are none."""
    if (left := deadline - time.monotonic()) <= 0:
        raise TimeoutError
    return left


def _connect(to: Path | str, deadline: float) -> socket.socket:
    if isinstance(to, str):
        address, _, port = to.rpartition(":")
        return socket.create_connection((address.strip("[]"), int(port)), _left(deadline))
    # The directory belongs to the server's user. Opened without following a link and connected to
    # by its handle, the path cannot lead to the socket of another service of the host.
    handle = os.open(to, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(handle).st_mode):
            raise OSError(f"{to} is not a socket")
        while True:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.settimeout(_left(deadline))
                sock.connect(f"/proc/self/fd/{handle}")
            except BlockingIOError:  # its queue is full at this moment
                sock.close()
                time.sleep(min(PAUSE_SECONDS, _left(deadline)))
            except BaseException:
                sock.close()
                raise
            else:
                return sock
    finally:
        os.close(handle)


class _TooLongError(OSError):
    """The answer is longer than the limit."""


class _Bounded:
    """What `http.client` needs of a socket, with the deadline and the limit in every call."""

    def __init__(self, sock: socket.socket, deadline: float, limit: int) -> None:
        self._sock, self._deadline, self._limit = sock, deadline, limit

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(_left(self._deadline))  # for all of the data together
        self._sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock, self._deadline, self._limit))

    def close(self) -> None:
        """Leave the socket open: it is closed at the end, and the body is still to be read."""


class _Reader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: float, left: int) -> None:
        self._sock, self._deadline, self._left = sock, deadline, left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - Buffer is newer
        self._sock.settimeout(_left(self._deadline))
        # One byte more than is allowed shows that there is more.
        count = self._sock.recv_into(memoryview(buffer)[: self._left + 1])
        if count > self._left:
            raise _TooLongError("the answer is too long")
        self._left -= count
        return count
