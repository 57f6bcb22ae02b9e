"""What every page shares: who asks, the headers of every answer, and the pages for errors."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from dataclasses import asdict, dataclass
from functools import cached_property
from http import HTTPStatus
from http.client import responses
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import OperationalError
from tornado import web
from tornado.log import app_log

from aroundtheworld.db.engine import Database

if TYPE_CHECKING:
    from aroundtheworld.app import AroundTheWorld

SESSION_COOKIE = "session"
SESSION_DAYS = 30

# Everything a page needs comes from this server, and nothing is inline.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)

ERROR_SENTENCES: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "Something in that request could not be understood.",
    HTTPStatus.FORBIDDEN: (
        "That was not allowed. If you sent a form, it may have been open for too long:"
        " go back, reload the page and try again."
    ),
    HTTPStatus.NOT_FOUND: "There is nothing at this address.",
    HTTPStatus.METHOD_NOT_ALLOWED: "That cannot be done at this address.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "That was more than is taken at this address.",
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "The server is busy and could not do that just now. Nothing was changed;"
        " please try again in a moment."
    ),
}
UNEXPECTED = "Something went wrong on our side. It has been noted."


PUBLIC_PAGES = [
    ("/quiz", "Play"),
    ("/travel", "Travel"),
    ("/countries", "Countries"),
    ("/leaderboard", "Leaders"),
    ("/you", "You"),
]
ADMIN_PAGES = [
    ("/admin", "Dashboard"),
    ("/admin/questions", "Questions"),
    ("/admin/photos", "Photos"),
    ("/admin/reports", "Reports"),
    ("/admin/players", "Players"),
    ("/admin/workers", "Workers"),
    ("/", "The site"),
]


@dataclass(frozen=True, slots=True)
class Session:
    """What the signed cookie says about who asks.

    Attributes:
        player_id: id of the player, a guest's too.
        name: the player's name when they logged in; empty for a guest.
        is_admin: whether they were an administrator then. What they are now, the database says.
    """

    player_id: int
    name: str = ""
    is_admin: bool = False


class Refusal(web.HTTPError):
    """A request that cannot be carried out, with a sentence for its sender."""

    def __init__(self, status_code: int, detail: str) -> None:
        """Keep the sentence, which names nothing that is not theirs."""
        super().__init__(status_code, "%s", detail)
        self.detail = detail


class BaseHandler(web.RequestHandler):
    """The base of every handler, public or admin."""

    application: AroundTheWorld

    # Bytes of a request's body; the application refuses what says to be longer before it is read.
    largest_body = 64 * 1024

    # Where log-in, log-out and static files of this side are: the admin side has its own, so that
    # it works while the public side is closed.
    side = ""

    def set_default_headers(self) -> None:
        """Send the headers that every answer carries, errors included."""
        self.set_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", "private, no-cache")
        # Which server software answers helps nobody but an attacker.
        self.clear_header("Server")

    def head(self, *args: str) -> Awaitable[None] | None:
        """Answer HEAD as GET is answered; Tornado leaves the body out."""
        return self.get(*args)

    # Who asks

    @cached_property
    def session(self) -> Session | None:
        """Who asks, as the signed cookie says; None for a first visit."""
        return self.session_since(SESSION_DAYS)

    def session_since(self, days: float) -> Session | None:
        """Return who asks if they logged in (or began to play) at most `days` ago, else None."""
        value = self.get_signed_cookie(SESSION_COOKIE, max_age_days=days)
        if value is None:
            return None
        try:
            return Session(**json.loads(value))
        except (TypeError, ValueError):
            # Signed by us, but by a release that kept something else in it.
            return None

    def begin_session(self, session: Session) -> None:
        """Remember in a signed cookie who asks."""
        value = json.dumps(asdict(session))
        self.set_signed_cookie(SESSION_COOKIE, value, expires_days=SESSION_DAYS)

    def set_cookie(self, name: str, value: str | bytes, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Set a cookie that scripts and other sites cannot use, nor plain HTTP behind TLS."""
        kwargs |= {
            "httponly": True,
            "samesite": "Lax",
            "secure": self.request.protocol == "https",
        }
        super().set_cookie(name, value, *args, **kwargs)

    @property
    def database(self) -> Database:
        """The database; public handlers await its `read_async` and `write_async`."""
        return self.application.database

    # Pages

    def ways(self) -> list[tuple[str, str]]:
        """Return address and name of the pages that the head of every page leads to."""
        if self.side:
            # A login has no way on; who is in sees the administration.
            return ADMIN_PAGES if self.is_in else []
        return [*PUBLIC_PAGES, *([("/admin", "Admin")] if self.is_in else [])]

    @property
    def is_in(self) -> bool:
        """Whether this is the login of an administrator; pages check whether they still are."""
        return self.session is not None and self.session.is_admin

    def static_url(self, path: str, include_host: bool | None = None, **kwargs: Any) -> str:  # noqa: ANN401
        """Return the address of a static file on this side, which is never another host's."""
        return self.side + super().static_url(path, include_host=False, **kwargs)

    def get_template_namespace(self) -> dict[str, Any]:
        """Return the names that every template may use."""
        return super().get_template_namespace() | {
            "session": self.session,
            "side": self.side,
            "ways": self.ways(),
            "release": self.application.config.release,
        }

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:  # noqa: ANN401
        """Answer an error; a database that is locked or gone is a 503."""
        _, exception, _ = kwargs.get("exc_info", (None, None, None))
        if isinstance(exception, OperationalError):
            status_code = HTTPStatus.SERVICE_UNAVAILABLE
        super().send_error(status_code, **kwargs)

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log what went wrong; for the database a line is enough."""
        if isinstance(value, OperationalError):
            app_log.error("%s: database: %s", self._request_summary(), value.orig)
        else:
            super().log_exception(typ, value, tb)

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ANN401
        """Answer with a page (or JSON under /api) that says what is wrong, and no more."""
        title = responses.get(status_code, "Error")
        _, exception, _ = kwargs.get("exc_info", (None, None, None))
        if isinstance(exception, Refusal):
            sentence = exception.detail
        else:
            sentence = ERROR_SENTENCES.get(status_code, UNEXPECTED)
        if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", ", ".join(self.methods()))
        if status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            self.set_header("Retry-After", "5")
        if self.request.path.startswith("/api/"):
            self.finish({"error": {"status": status_code, "title": title, "detail": sentence}})
        else:
            self.render("error.html", status=status_code, title=title, sentence=sentence)

    def methods(self) -> list[str]:
        """Return the methods that this handler has."""
        missing = web.RequestHandler._unimplemented_method
        own = [m for m in self.SUPPORTED_METHODS if getattr(type(self), m.lower()) is not missing]
        return [m for m in own if m != "HEAD" or "GET" in own]


class NotFoundHandler(BaseHandler):
    """Answers every address that no route knows."""

    def prepare(self) -> None:
        """Say so, for every method."""
        raise web.HTTPError(HTTPStatus.NOT_FOUND)

    def check_xsrf_cookie(self) -> None:
        """Check nothing: there is nothing here to protect, and 404 is the truer answer."""

    def check_trusted_origin(self, origin: str) -> bool:
        """Allow every origin, for the same reason."""
        return True


@web.stream_request_body
class TooLargeHandler(NotFoundHandler):
    """Answers a request whose body is longer than the handler it is for takes."""

    def prepare(self) -> None:
        """Say so, and end the connection rather than take the rest."""
        self.set_header("Connection", "close")
        raise web.HTTPError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def data_received(self, chunk: bytes) -> None:
        """Drop it."""


class StaticHandler(BaseHandler, web.StaticFileHandler):
    """Serves files under /static/, with the site's own headers and error pages."""

    def head(self, path: str) -> Awaitable[None]:  # type: ignore[override]
        """Answer HEAD without reading the file."""
        return web.StaticFileHandler.head(self, path)

    def set_default_headers(self) -> None:
        """Leave caching to what Tornado says for files."""
        super().set_default_headers()
        self.set_header("Cache-Control", "public, no-cache")


class AdminStaticHandler(StaticHandler):
    """The same files below /admin, for the login too."""

    side = "/admin"

    def initialize(self) -> None:  # type: ignore[override]
        """Serve from the directory of the public side."""
        super().initialize(path=self.application.settings["static_path"])
