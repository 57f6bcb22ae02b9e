"""Luigi's central scheduler, served by the role's runner."""

from __future__ import annotations

from luigi.scheduler import Scheduler
from luigi.server import app
from tornado.web import Application


def make_app() -> Application:
    """Return Luigi's own Tornado application."""
    application: Application = app(Scheduler())
    return application
