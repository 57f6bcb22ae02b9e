"""The public side, on Tornado: sign in, write, read, and hear of what others write."""

import asyncio
import json

from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from guestbook import book


class Entries(RequestHandler):
    """The book itself."""

    def get(self) -> None:
        """Give all entries."""
        self.write({"entries": book.entries()})

    def post(self) -> None:
        """Take one, from a guest who has signed in."""
        guest = book.guest_in(self.get_cookie(book.COOKIE))
        if guest is None:
            self.send_error(403)
            return
        book.write(guest, self.get_argument("words"))
        self.set_status(201)


class SignIn(RequestHandler):
    """A name is enough here."""

    def post(self) -> None:
        """Sign the guest's name into the session cookie."""
        self.set_signed_cookie(book.COOKIE, self.get_argument("name"), httponly=True)


class Live(WebSocketHandler):
    """Tells how many entries there are, each time that the number changes."""

    def open(self) -> None:  # type: ignore[override]
        """Tell in the background: while this ran, nobody would hear the client's close."""
        self._telling = asyncio.create_task(self._tell())

    def on_close(self) -> None:
        """Stop telling."""
        self._telling.cancel()

    async def _tell(self) -> None:
        sent = -1
        while True:
            if (count := len(book.entries())) != sent:
                try:
                    await self.write_message(json.dumps({"entries": count}))
                except WebSocketClosedError:
                    return
                sent = count
            await asyncio.sleep(0.2)

    def on_message(self, message: str | bytes) -> None:
        """Say it back."""
        self.write_message(message)


def make_app() -> Application:
    """Return what the runner serves."""
    return Application(
        [(r"/", Entries), (r"/sign-in", SignIn), (r"/live", Live)], cookie_secret=book.secret()
    )
