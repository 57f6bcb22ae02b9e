"""Uses a library when it is asked to."""

import asyncio
import traceback

from tornado.web import Application, RequestHandler, stream_request_body
from use import USES


class Home(RequestHandler):
    """Answers."""

    def get(self) -> None:
        """Answer."""
        self.write("here")


class Use(RequestHandler):
    """Uses one, in a thread as the worker's loop has to turn; says how it went wrong."""

    async def get(self, name: str) -> None:
        """Answer with what was found, or with the traceback."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        try:
            self.write(await asyncio.to_thread(USES[name]))
        except Exception:
            self.set_status(500)
            self.write(traceback.format_exc())


class Upload(RequestHandler):
    """Counts the bytes of a body, which Tornado keeps in memory."""

    def put(self) -> None:
        """Answer."""
        self.write(str(len(self.request.body)))


@stream_request_body
class Stream(RequestHandler):
    """Counts the bytes of a body as they come."""

    def prepare(self) -> None:
        """Begin."""
        self.received = 0

    def data_received(self, chunk: bytes) -> None:
        """Count."""
        self.received += len(chunk)

    def put(self) -> None:
        """Answer."""
        self.write(str(self.received))


def make_app() -> Application:
    """Return the app."""
    return Application(
        [("/", Home), (r"/(?:code/)?use/(\w+)", Use), ("/upload", Upload), ("/stream", Stream)]
    )
