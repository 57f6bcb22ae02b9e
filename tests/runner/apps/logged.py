"""An application that logs in every part of a request, and in a format of its own."""

import asyncio
import gc
import logging
import time

from tornado.web import Application, HTTPError, RequestHandler, stream_request_body
from tornado.websocket import WebSocketHandler

log = logging.getLogger("shop")
waiting: list[RequestHandler] = []


class Logs(RequestHandler):
    async def get(self) -> None:
        log.info("in the handler")
        await asyncio.sleep(0)
        await asyncio.gather(self.work())
        await asyncio.to_thread(log.info, "in a thread")
        asyncio.get_running_loop().call_soon(log.info, "after the response")

    async def work(self) -> None:
        log.info("in a task")

    def on_finish(self) -> None:
        log.info("at the end")


@stream_request_body
class Streams(RequestHandler):
    def data_received(self, chunk: bytes) -> None:
        log.info("received %d bytes", len(chunk))

    def post(self) -> None:
        log.info("received all")


class Waits(RequestHandler):
    """Leaves its response to another request."""

    async def get(self) -> None:
        self._auto_finish = False
        waiting.append(self)


class Ends(RequestHandler):
    def get(self) -> None:
        for handler in waiting:
            handler.set_status(404)
            handler.finish()
        raise HTTPError(403)


class Fails(RequestHandler):
    def get(self) -> None:
        raise RuntimeError("a bug")


class Outlived(RequestHandler):
    """Leaves a task and a callback that fail after the response."""

    def get(self) -> None:
        asyncio.get_running_loop().call_later(0, self.fail)
        # In a circle, so that Python finds it some time later, in whatever request.
        task = asyncio.create_task(self.fail_in_a_task())
        circle: list[object] = [task]
        circle.append(circle)

    def fail(self) -> None:
        raise RuntimeError("in a callback")

    async def fail_in_a_task(self) -> None:
        raise RuntimeError("in a task")


class Collects(RequestHandler):
    def get(self) -> None:
        gc.collect()


class Blocks(RequestHandler):
    def get(self) -> None:
        time.sleep(0.8)


class Slow(RequestHandler):
    async def get(self) -> None:
        await asyncio.sleep(60)


class Talks(WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        log.info("a message")
        self.write_message("heard")


def make_app() -> Application:
    return Application(
        [
            ("/logs", Logs),
            ("/streams", Streams),
            ("/waits", Waits),
            ("/ends", Ends),
            ("/fails", Fails),
            ("/outlived", Outlived),
            ("/collects", Collects),
            ("/blocks", Blocks),
            ("/slow", Slow),
            ("/talks", Talks),
        ]
    )


def make_app_with_its_own_format() -> Application:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("own: %(request_id)s %(message)s"))
    log.addHandler(handler)
    log.propagate = False
    return make_app()
