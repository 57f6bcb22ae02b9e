"""An application with a handler for each thing that a worker must get right."""

import asyncio
import gc
import os
import time

from tornado import netutil
from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError
from tornado.web import Application, RequestHandler, stream_request_body
from tornado.websocket import WebSocketHandler


class Root(RequestHandler):
    def get(self) -> None:
        self.write(
            {
                "pid": os.getpid(),
                "remote_ip": self.request.remote_ip,
                "protocol": self.request.protocol,
            }
        )


class Slow(RequestHandler):
    async def post(self) -> None:
        await asyncio.sleep(float(self.get_query_argument("seconds", "0.5")))
        self.write({"pid": os.getpid(), "received": len(self.request.body)})

    get = post


class Blocking(RequestHandler):
    def get(self) -> None:
        work_for(self)
        self.write("done")


class BlocksAfterwards(RequestHandler):
    """Answers at once and blocks the loop a little later, outside any request."""

    def get(self) -> None:
        seconds = float(self.get_query_argument("seconds", "1"))
        asyncio.get_running_loop().call_later(0.3, pause, seconds)
        self.write("done")


class Collected(RequestHandler):
    """Returns how many objects a search for garbage looks at."""

    def get(self) -> None:
        self.write(str(len(gc.get_objects())))


class CheckedAddresses(RequestHandler):
    """Returns how often the address of a visitor was known already."""

    def get(self) -> None:
        self.write(f"{netutil.is_valid_ip.cache_info().hits} remembered")


class Answers(RequestHandler):
    """Answers with the status in its path."""

    def get(self, code: str) -> None:
        self.set_status(int(code))


class Fails(RequestHandler):
    def get(self) -> None:
        raise RuntimeError("a bug")


class CutsShort(RequestHandler):
    """Announces more than it sends."""

    async def get(self) -> None:
        self.set_header("Content-Length", "10")
        self.write("short")
        await self.flush()


class NeverEnds(RequestHandler):
    """Leaves a thread behind that nothing can stop."""

    def get(self) -> None:
        asyncio.get_running_loop().run_in_executor(None, pause, 60)
        self.write("done")


@stream_request_body
class Limited(RequestHandler):
    """Takes a body of 1,000 bytes at most, by the method in Tornado's documentation."""

    def prepare(self) -> None:
        connection = self.request.connection
        if isinstance(connection, HTTP1Connection):
            connection.set_max_body_size(1000)

    def data_received(self, chunk: bytes) -> None:
        pass

    def post(self) -> None:
        self.write("taken")


class Environment(RequestHandler):
    def get(self) -> None:
        self.write(
            {
                "announced": [name for name in os.environ if name.startswith("LISTEN_")],
                "inheritable": os.get_inheritable(3),
            }
        )


class Echo(WebSocketHandler):
    async def on_message(self, message: str | bytes) -> None:
        await self.write_message(message)


class Stream(RequestHandler):
    """Tells the time until its client leaves."""

    left: list[str] = []  # noqa: RUF012 - of all requests

    async def get(self) -> None:
        self.set_header("Content-Type", self.get_query_argument("type", "text/event-stream"))
        try:
            for _ in range(int(self.get_query_argument("times", "20"))):
                self.write(f"data: {time.time()}\n\n")
                await self.flush()
                await asyncio.sleep(0.05)
        except StreamClosedError:
            self.left.append("written in vain")

    def on_connection_close(self) -> None:
        self.left.append("told")


class Left(RequestHandler):
    """Returns what streams noticed when their clients left."""

    def get(self) -> None:
        self.write({"left": Stream.left})


def work_for(handler: RequestHandler) -> None:
    """Block in a helper that is not a method of the handler."""
    pause(float(handler.get_query_argument("seconds")))


def pause(seconds: float) -> None:
    time.sleep(seconds)


def make_app() -> Application:
    return Application(
        [
            ("/", Root),
            ("/slow", Slow),
            ("/blocking", Blocking),
            ("/blocks-afterwards", BlocksAfterwards),
            ("/collected", Collected),
            ("/checked-addresses", CheckedAddresses),
            ("/answers/([0-9]+)", Answers),
            ("/fails", Fails),
            ("/cuts-short", CutsShort),
            ("/never-ends", NeverEnds),
            ("/limited", Limited),
            ("/environment", Environment),
            ("/echo", Echo),
            ("/stream", Stream),
            ("/left", Left),
        ]
    )


async def make_app_slowly() -> Application:
    await asyncio.sleep(1)
    return make_app()


def make_nothing() -> None:
    """Forgets to return the application."""


def make_trouble() -> Application:
    raise ValueError("COOKIE_SECRET_FILE is not set")


not_callable = "make_app"
