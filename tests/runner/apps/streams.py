"""An application with everything that goes on until somebody leaves."""

import asyncio
import logging
import os

from tornado.iostream import StreamClosedError
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler


class Events(RequestHandler):
    """Sends an event and is quiet; with `told`, it ends when its worker leaves."""

    async def get(self) -> None:
        self.set_header("Content-Type", self.get_query_argument("type", "text/event-stream"))
        self.write(f"data: {os.getpid()}\n\n")
        await self.flush()
        if self.get_query_argument("told", ""):
            await self.settings["leaving"].wait()
            self.write("data: bye\n\n")
            return
        await asyncio.Event().wait()


class Floods(RequestHandler):
    """Sends more than its client takes."""

    async def get(self) -> None:
        self.set_header("Content-Type", "text/event-stream")
        try:
            self.write("data: x\n\n" * 5_000_000)
            await self.flush()
        except StreamClosedError:
            logging.getLogger("app").info("the client has left")


class Works(RequestHandler):
    """Goes on for a while after its worker has begun to leave, begun or not."""

    async def get(self) -> None:
        if self.get_query_argument("begun", ""):
            self.set_header("Content-Length", "4")
            self.write("do")
            await self.flush()
        await self.settings["leaving"].wait()
        await asyncio.sleep(1)
        self.write("ne" if self.get_query_argument("begun", "") else "done")


class Socket(WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message)


def make_app() -> Application:
    return Application(
        [("/events", Events), ("/floods", Floods), ("/works", Works), ("/socket", Socket)]
    )
