"""The app that rollouts are proved with: it answers the requests of `prober.py`.

Bad releases are copies of this directory with a change.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

EDITION = "first"  # a copy with another edition is another good release


class Page(RequestHandler):
    """What all answers have in common."""

    def set_default_headers(self) -> None:
        """Say which release answers."""
        self.set_header("X-Release", os.environ.get("AROUNDTHEWORLD_RELEASE", "none"))


class Home(Page):
    """GET / for visitors."""

    def get(self) -> None:
        """Say which edition this is, and what its page would refer to."""
        self.set_header("X-Asset", self.static_url("edition.css"))
        self.write(f"edition {EDITION}\n")


class Echo(Page):
    """POST /echo."""

    def post(self) -> None:
        """Give back what came."""
        self.write(self.request.body)


class Slow(Page):
    """POST /slow?seconds=0.5."""

    async def post(self) -> None:
        """Give back what came, after a while."""
        await asyncio.sleep(float(self.get_argument("seconds")))
        self.write(self.request.body)


class EchoSocket(WebSocketHandler):
    """The WebSocket /ws."""

    async def on_message(self, message: str | bytes) -> None:
        """Give back what came."""
        await self.write_message(message)


class Admin(Page):
    """GET /admin, which a pool of its own answers."""

    def get(self) -> None:
        """Say which edition this is."""
        self.write(f"administration of edition {EDITION}\n")


class Block(Page):
    """GET /block?seconds=5: what a handler must not do, and may below /admin."""

    def get(self) -> None:
        """Hold the event loop."""
        time.sleep(float(self.get_argument("seconds")))
        self.write("done\n")


async def make_app() -> Application:
    """Return the application."""
    return Application(
        [
            ("/", Home),
            ("/echo", Echo),
            ("/slow", Slow),
            ("/ws", EchoSocket),
            ("/admin", Admin),
            ("/block", Block),
            ("/admin/block", Block),
        ],
        static_path=Path(__file__).with_name("static"),
    )


if __name__ == "__main__":
    print("Nothing would be migrated." if "--check" in sys.argv else "There is nothing to migrate.")
