"""An application whose routes hold the loop in every way there is."""

import asyncio
import re
import time

from tornado import gen
from tornado.routing import HostMatches, Rule, RuleRouter
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler


def pause(handler: RequestHandler, name: str = "seconds") -> None:
    time.sleep(float(handler.get_query_argument(name, "0")))


class Item(RequestHandler):
    def get(self, *_: str) -> None:
        pause(self)


class Awaits(RequestHandler):
    """Waits long, and blocks before and after."""

    async def get(self) -> None:
        pause(self, "before")
        await asyncio.sleep(float(self.get_query_argument("wait", "0")))
        pause(self, "after")


class Prepares(RequestHandler):
    """Blocks where no method of HTTP is."""

    def prepare(self) -> None:
        pause(self)

    async def get(self) -> None:
        await self.flush()
        raise RuntimeError("a bug")


class OldStyle(RequestHandler):
    """Goes on in callbacks of the loop, and not in its own coroutine."""

    @gen.coroutine
    def get(self):
        yield gen.sleep(0.05)
        pause(self)


class Starts(RequestHandler):
    """Has a task of its own for it."""

    async def get(self) -> None:
        await asyncio.gather(self.compute())

    async def compute(self) -> None:
        await asyncio.sleep(0.05)
        pause(self)


class Spins(RequestHandler):
    """Is in code that never lets another thread look: a regular expression that explodes."""

    def get(self) -> None:
        re.match("(a+)+b", "a" * 40)


class Uploads(RequestHandler):
    async def post(self) -> None:
        await asyncio.sleep(0.2)

    def on_finish(self) -> None:
        pause(self)


class Talks(WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        time.sleep(float(message))
        self.write_message("done")


def make_app() -> Application:
    return Application(
        [
            ("/items/([0-9]+)", Item),
            ("/things/([a-z]+)/([0-9]+)", Item),
            ("/awaits", Awaits),
            ("/prepares", Prepares),
            ("/old-style", OldStyle),
            ("/starts", Starts),
            ("/spins", Spins),
            ("/uploads", Uploads),
            ("/talks", Talks),
        ]
    )


def make_router() -> RuleRouter:
    """A router with the application below it, and not at the top."""
    inner = Application([("/inner/([0-9]+)", Item)])
    inner.add_handlers("example.org", [("/named/([0-9]+)", Item)])
    return RuleRouter([Rule(HostMatches(".*"), inner)])
