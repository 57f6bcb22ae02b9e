"""What a visitor gets whose connection is one too many: a response, and the connection's end."""

import logging
import time
from http import HTTPStatus

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)

from aroundtheworld_runner import descriptors

RETRY_AFTER = 5  # seconds
TEXT = b"This worker has as many connections as it may. Please try again in a few seconds.\n"
LOGGED_EVERY = 60.0  # seconds

log = logging.getLogger(__name__)


class Refusal(HTTPMessageDelegate):
    """Answers a request in the application's place, when all of it has arrived."""

    _logged = 0.0  # when a refusal was last logged (monotonic)

    def __init__(self, response: HTTPConnection) -> None:
        """Take the response."""
        self._response = response
        self._text = TEXT
        if not Refusal._logged or time.monotonic() - Refusal._logged >= LOGGED_EVERY:
            Refusal._logged = time.monotonic()
            log.warning(
                "refuses connections with status 503: this process may have %d files and "
                "connections open, and all but a reserve are",
                descriptors.most(),
            )

    def headers_received(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
    ) -> None:
        """Note whether a body may be sent."""
        if isinstance(start_line, RequestStartLine) and start_line.method == "HEAD":
            self._text = b""

    def data_received(self, chunk: bytes) -> None:
        """Throw it away."""

    def finish(self) -> None:
        """Answer."""
        status = HTTPStatus.SERVICE_UNAVAILABLE
        headers = HTTPHeaders(
            {
                "Content-Type": "text/plain; charset=utf-8",
                "Content-Length": str(len(TEXT)),
                "Retry-After": str(RETRY_AFTER),
                "Connection": "close",
            }
        )
        line = ResponseStartLine("HTTP/1.1", status.value, status.phrase)
        self._response.write_headers(line, headers, self._text)
        self._response.finish()

    def on_connection_close(self) -> None:
        """Do nothing: nobody waits any more."""
