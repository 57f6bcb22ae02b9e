"""The control socket, on which a worker reports its status and takes commands.

A thread answers, not the event loop, so that a worker whose loop is blocked can still report it:
"busy for 12.3 s in AdminReport.get" is not "dead".
"""

import contextlib
import http.server
import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path

from aroundtheworld_runner import descriptors
from aroundtheworld_runner.private_socket import private_socket

# A status, and either an object for JSON or a text with its content type.
Response = tuple[HTTPStatus, Mapping[str, object] | tuple[str, str]]
Endpoints = Mapping[str, Callable[[], Response]]


@contextlib.contextmanager
def control_socket(path: Path, endpoints: Endpoints) -> Iterator[None]:
    """Answer HTTP on a private UNIX socket inside the block.

    Args:
        path: Of the socket.
        endpoints: By method and path, such as `GET /health`, what answers; called in a thread.

    Raises:
        PrivateSocketError: The socket cannot be made.
    """
    with private_socket(path) as sock:
        server = _Server(sock, _handler_class(endpoints))
        threading.Thread(target=server.serve_forever, name="control", daemon=True).start()
        yield


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True  # a silent client does not delay others, nor the exit

    def __init__(
        self, sock: socket.socket, handler: type[http.server.BaseHTTPRequestHandler]
    ) -> None:
        super().__init__(sock.getsockname(), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = sock

    def get_request(self) -> tuple[socket.socket, object]:
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in descriptors.SCARCE:  # and the thread would try again at once
                time.sleep(descriptors.PAUSE)
            raise


def _handler_class(endpoints: Endpoints) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 5  # seconds of silence until the connection is closed

        def do_GET(self) -> None:
            request = f"{self.command} {self.path.partition('?')[0]}"
            endpoint = endpoints.get(request)
            status, content = endpoint() if endpoint else _not_found(request)
            if isinstance(content, tuple):
                kind, text = content
            else:
                kind, text = "application/json", json.dumps(content) + "\n"
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the name that the base class looks for

        def log_message(self, *args: object) -> None:
            """Log nothing: who may ask may ask often."""

    def _not_found(request: str) -> Response:
        return HTTPStatus.NOT_FOUND, {"error": f"no {request}", "known": sorted(endpoints)}

    return Handler
