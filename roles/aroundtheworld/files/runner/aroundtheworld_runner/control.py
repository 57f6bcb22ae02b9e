"""The private socket on which a worker answers questions about itself.

A thread answers, not the event loop, so that a worker whose loop is blocked can still say so:
"busy for 12.3 s in AdminReport.get" is not "dead".
"""

import contextlib
import http.server
import json
import os
import socketserver
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

Answer = tuple[HTTPStatus, Mapping[str, object]]


class ControlSocketError(Exception):
    """The control socket cannot be made; the text says where and why."""


class ControlSocket:
    """An HTTP server on a UNIX socket that only its owner and root can open.

    Use as a context manager: the socket is there inside the block and removed after it.
    """

    def __init__(self, path: Path, routes: Mapping[str, Callable[[], Answer]]) -> None:
        """Take the path of the socket and what answers GET for each path of a URL."""
        self._path = path
        self._routes = routes

    def __enter__(self) -> Self:
        """Bind the socket, in place of one that an earlier process left, and answer on it.

        Raises:
            ControlSocketError: The socket cannot be made, or the path is taken by something else.
        """
        try:
            if self._path.is_socket():
                self._path.unlink()
            self._server = _Server(str(self._path), _handler_class(self._routes))
            self._inode = self._path.lstat().st_ino
        except OSError as error:
            raise ControlSocketError(
                f"the control socket {self._path} cannot be made: {error.strerror or error}"
            ) from None
        threading.Thread(target=self._server.serve_forever, name="control", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the socket, unless another process has put its own there."""
        with contextlib.suppress(FileNotFoundError):
            if self._path.lstat().st_ino == self._inode:
                self._path.unlink()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True  # a client that says nothing holds up neither others nor the exit

    def server_bind(self) -> None:
        super().server_bind()
        os.chmod(str(self.server_address), 0o600)  # noqa: PTH101 - before it listens


def _handler_class(
    routes: Mapping[str, Callable[[], Answer]],
) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5  # seconds of silence until the connection is closed

        def do_GET(self) -> None:
            route = routes.get(self.path.partition("?")[0])
            status, content = route() if route else _not_found(self.path)
            body = json.dumps(content).encode() + b"\n"
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing: who may ask may ask often."""

    def _not_found(path: str) -> Answer:
        return HTTPStatus.NOT_FOUND, {"error": f"no {path}", "paths": sorted(routes)}

    return Handler
