"""The live feed's WebSocket."""

from __future__ import annotations

import asyncio

from tornado.websocket import WebSocketClosedError, WebSocketHandler

from aroundtheworld.handlers.base import BaseHandler

# What may wait for a client that reads slowly; a client that is further behind is cut off.
MOST_WAITING = 50
# Each costs a connection and some memory: nobody may have all of them.
MOST_LISTENERS = 1000

TOO_SLOW = 1008
TRY_AGAIN_LATER = 1013


class FeedHandler(WebSocketHandler, BaseHandler):
    """Tells a page what happens while it is open; says nothing back to what it hears.

    Tornado checks that the page is of this site, and pings (see the application's settings); the
    runner closes the connection with 1001 when its worker drains, and the page comes again.
    """

    _sender: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to listen."""
        feed = self.application.feed
        if feed.listeners >= MOST_LISTENERS:
            self.close(TRY_AGAIN_LATER, "too many listeners")
            return
        self._waiting: asyncio.Queue[dict[str, object]] = asyncio.Queue(MOST_WAITING)
        self._sender = asyncio.get_running_loop().create_task(self._send())
        feed.join(self)

    def tell(self, event_id: int, sentence: str) -> None:
        """Take an event; a client that does not keep up is cut off."""
        try:
            self._waiting.put_nowait({"id": event_id, "text": sentence})
        except asyncio.QueueFull:
            self._stop()
            self.close(TOO_SLOW, "too slow")

    async def _send(self) -> None:
        try:
            while True:
                # Waits until the client's side has taken it.
                await self.write_message(await self._waiting.get())
        except WebSocketClosedError:
            pass

    def on_message(self, message: str | bytes) -> None:
        """Ignore it."""

    def on_close(self) -> None:
        """Stop listening."""
        self._stop()

    def _stop(self) -> None:
        self.application.feed.leave(self)
        if self._sender is not None:
            self._sender.cancel()
