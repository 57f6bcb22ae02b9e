"""The application: every route in one ordered list, and `make_app`, which a server calls."""

from __future__ import annotations

from tornado import web


class PingHandler(web.RequestHandler):
    """Answers at once: what it costs is what the framework costs."""

    def get(self) -> None:
        """Say that this worker answers."""
        self.write({"ping": "pong"})


class HomeHandler(web.RequestHandler):
    """The first page."""

    def get(self) -> None:
        """Greet."""
        self.write("<!doctype html><title>Around The World</title><h1>Around The World</h1>\n")


def make_app() -> web.Application:
    """Return the application, configured from the environment."""
    return web.Application([(r"/", HomeHandler), (r"/api/ping", PingHandler)])
