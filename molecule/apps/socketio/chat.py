"""A Socket.IO application, as python-socketio's documentation shows it for Tornado."""

from __future__ import annotations

from typing import Any

import socketio
from tornado.web import Application, RequestHandler

server = socketio.AsyncServer(async_mode="tornado")


async def say(visitor: str, words: str) -> list[str]:
    """Answer with all that this visitor has said in this session."""
    async with server.session(visitor) as session:
        session["said"] = [*session.get("said", []), words]
        said: list[str] = session["said"]
        return said


server.on("say", say)


class Page(RequestHandler):
    """What a browser gets first."""

    def get(self) -> None:
        """Answer."""
        self.write("Say something.")


def make_app() -> Application:
    """Return the application."""
    handler: Any = socketio.get_tornado_handler(server)
    return Application([("/", Page), ("/socket.io/", handler)])
