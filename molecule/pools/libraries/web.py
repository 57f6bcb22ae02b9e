"""Uses a library when it is asked to."""

import asyncio
import traceback

from tornado.web import Application, RequestHandler
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


def make_app() -> Application:
    """Return the app."""
    return Application([("/", Home), (r"/(?:code/)?use/(\w+)", Use)])
