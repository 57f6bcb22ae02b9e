"""The worker's log: which request a line is about, and how much it has of visitors' addresses.

Every record of Python's logging has the attribute `request_id`, also in an application's own
format: nginx gives each request an id, sends it as X-Request-ID and writes it into its access log.
"""

import asyncio
import contextlib
import contextvars
import functools
import ipaddress
import logging
import os
import sys
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

from tornado.httpserver import _HTTPRequestContext
from tornado.httputil import HTTPServerRequest
from tornado.log import access_log
from tornado.web import Application, RequestHandler

HEADER = "X-Request-ID"
NONE = "-"  # in place of an id or an address
LOG_OWN = "log_function"  # Tornado's setting: the application's own way to log a response
ID_LENGTH = 64  # the longest id that is logged; nginx's have 32 characters
ADDRESSES = ("full", "truncated", "none")
# How much of an address is left when it is truncated, by the version of IP.
PREFIXES = {4: 24, 6: 48}

# Set where the headers of a request arrive. Every task that is started from there has it.
current_request: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default=NONE)


def valid_id(text: str) -> str:
    """Return an id that came with a request, or `NONE` when a line of a log could not have it."""
    return text if 0 < len(text) <= ID_LENGTH and text.isascii() and text.isprintable() else NONE


@contextlib.contextmanager
def about(request_id: str) -> Iterator[None]:
    """Have what is logged in the block be about this request."""
    token = current_request.set(request_id)
    try:
        yield
    finally:
        current_request.reset(token)


def log_failure(loop: asyncio.AbstractEventLoop, failure: dict[str, Any]) -> None:
    """Log what failed after its request: a task or a callback that nobody waits for.

    Python finds such a task at any moment, also while another request runs.
    """
    source: Any = failure.get("task") or failure.get("future") or failure.get("handle")
    # Before Python 3.12, only of a handle, and tasks are logged without an id.
    context = source.get_context() if hasattr(source, "get_context") else None
    context = context or getattr(source, "_context", None)
    with about(context.get(current_request, NONE) if context else NONE):
        loop.default_exception_handler(failure)


# --- Addresses ------------------------------------------------------------------------------------


@functools.lru_cache(1000)
def truncated(address: str) -> str:
    """Return an address without what tells one visitor of a network from another."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # of a UNIX socket
        return address
    network = ipaddress.ip_network((address, PREFIXES[parsed.version]), strict=False)
    return str(network.network_address)


def hide_addresses(how: str) -> None:
    """Have the lines that Tornado itself logs name addresses like this, one of `ADDRESSES`.

    Tornado writes an address in three places, none of which can be set.
    """
    if how == "full":
        return
    shown: Callable[[str], str] = truncated if how == "truncated" else lambda _: NONE
    summary = RequestHandler._request_summary
    describe = HTTPServerRequest.__repr__
    name = _HTTPRequestContext.__str__

    def request_summary(self: RequestHandler) -> str:
        address = str(self.request.remote_ip)
        return summary(self).replace(f"({address})", f"({shown(address)})")

    def describe_request(self: HTTPServerRequest) -> str:
        address = str(self.remote_ip)
        return describe(self).replace(f"remote_ip={address!r}", f"remote_ip={shown(address)!r}")

    RequestHandler._request_summary = request_summary  # type: ignore[method-assign]
    HTTPServerRequest.__repr__ = describe_request  # type: ignore[method-assign]
    _HTTPRequestContext.__str__ = lambda self: shown(name(self))  # type: ignore[method-assign]


# --- The log --------------------------------------------------------------------------------------


def configure() -> None:
    """Log to standard error, without times, which the journal adds.

    Of Tornado's access log only warnings and errors are kept: nginx has the rest.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_JournalFormatter() if _stderr_is_journal() else _Formatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("tornado.access").setLevel(logging.WARNING)
    # Not a filter: those of a logger do not see the records of the loggers below it, and those of
    # this handler do not see what an application's own handlers write.
    logging.setLogRecordFactory(_record)
    _log_responses_as_their_own()
    _write_no_line_that_is_not_kept()


def _record(*args: object, **kwargs: object) -> logging.LogRecord:
    record = logging.LogRecord(*args, **kwargs)  # type: ignore[arg-type]
    record.request_id = current_request.get()
    return record


def _log_responses_as_their_own() -> None:
    """Have the line about a response name its own request, also when another request ends it.

    As when many visitors wait until one of them does something.
    """
    log_response = RequestHandler._log

    def log_own(self: RequestHandler) -> None:
        request_id = getattr(self.request.connection, "request_id", NONE)
        if request_id == current_request.get():
            log_response(self)
        else:
            with about(request_id):
                log_response(self)

    RequestHandler._log = log_own  # type: ignore[method-assign]


def _write_no_line_that_is_not_kept() -> None:
    """Have Tornado's line about a response not be written when nobody gets it."""
    log_request = Application.log_request

    def log_kept(self: Application, handler: RequestHandler) -> None:
        good = handler.get_status() < HTTPStatus.BAD_REQUEST
        if good and not access_log.isEnabledFor(logging.INFO) and LOG_OWN not in self.settings:
            return
        log_request(self, handler)

    Application.log_request = log_kept  # type: ignore[method-assign]


def _stderr_is_journal() -> bool:
    # The variable is inherited by programs whose output goes elsewhere, hence the comparison.
    try:
        stat = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stat.st_dev}:{stat.st_ino}"


# From Python's levels down to syslog's priorities; everything lower is debug, 7.
_PRIORITIES = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
)


class _Formatter(logging.Formatter):
    """Writes the level, the logger and, if there is one, the request's id before the message."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - of logging
        return f"{record.levelname} {self.without_level(record)}"

    @staticmethod
    def without_level(record: logging.LogRecord) -> str:
        request_id = getattr(record, "request_id", NONE)
        request = "" if request_id == NONE else f" [{request_id}]"
        return f"{record.name}{request}: {record.message}"


class _JournalFormatter(_Formatter):
    """Starts every line with the level in the notation of sd-daemon(3).

    Every line, because the journal makes an entry of each line of a traceback.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - of logging
        return self.without_level(record)

    def format(self, record: logging.LogRecord) -> str:
        priority = next((priority for level, priority in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())
