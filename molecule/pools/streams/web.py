"""A log that goes on for as long as somebody reads it."""

from __future__ import annotations

import asyncio
import os

from tornado.web import Application, RequestHandler

RELEASE = os.environ["AROUNDTHEWORLD_RELEASE"]


class Page(RequestHandler):
    """Which release it is."""

    def get(self) -> None:
        """Answer."""
        self.write(RELEASE)


class Log(RequestHandler):
    """A stream without an end, and without a word about that it is one."""

    async def get(self) -> None:
        """Send a line whenever a tenth of a second is over."""
        while True:
            self.write(RELEASE + "\n")
            await self.flush()
            await asyncio.sleep(0.1)


def make_app() -> Application:
    """Return the application."""
    return Application([("/", Page), ("/log/release", Page), ("/log", Log)])
