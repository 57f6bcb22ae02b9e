"""The live feed: what happens on any worker, for all who listen on this worker.

The workers share nothing but the database, so each reads the new events there: once a second, in
a task for all of its listeners, and only while there are any.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from sqlalchemy.exc import OperationalError
from tornado.log import app_log

from aroundtheworld.db import events
from aroundtheworld.db.engine import Database, Row
from aroundtheworld.quiz import QUESTIONS_PER_ROUND
from aroundtheworld.world import World

POLL_SECONDS = 1.0
# Where transactions run side by side, an event may be committed after another with a higher id: so
# many ids are read again.
LATE_IDS = 100


class Listener(Protocol):
    """A receiver of sentences."""

    def tell(self, event_id: int, sentence: str) -> None:
        """Take an event, without waiting."""


class Feed:
    """The feed of a process."""

    def __init__(self, database: Database, world: World) -> None:
        """Prepare; nothing is read before somebody listens."""
        self._database = database
        self._world = world
        self._listeners: set[Listener] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @property
    def is_reading(self) -> bool:
        """Whether the database is being read for events."""
        return self._task is not None and not self._task.done()

    def join(self, listener: Listener) -> None:
        """Tell the listener what happens from now on."""
        self._listeners.add(listener)
        if not self.is_reading:
            self._task = asyncio.get_running_loop().create_task(self._read())

    def leave(self, listener: Listener) -> None:
        """Tell it no more; without any listener, stop reading."""
        self._listeners.discard(listener)
        if not self._listeners and self._task is not None:
            self._task.cancel()
            self._task = None

    def sentence(self, event: Row) -> str | None:
        """Return an event in words; None if this release does not know the place or the kind."""
        place = self._world.by_city_id.get(event.city_id)
        if place is None:
            return None
        who, where = event.player_name or "A guest", place[1].name
        if event.kind == events.ARRIVED:
            return f"{who} arrived in {where}"
        if event.kind == events.WON:
            return f"{who} answered {event.score} of {QUESTIONS_PER_ROUND} in {where}"
        return None

    async def _read(self) -> None:
        sent: set[int] | None = None
        newest = 0
        while True:
            try:
                if sent is None:
                    # What was there before the first listener came is not news.
                    rows = await self._database.read_async(events.latest, LATE_IDS)
                    sent = {row.id for row in rows}
                    newest = max(sent, default=0)
                else:
                    rows = await self._database.read_async(events.after, newest - LATE_IDS)
                    for row in rows:
                        if row.id not in sent:
                            self._tell(row)
                    newest = max([newest, *(row.id for row in rows)])
                    sent = {row.id for row in rows}
            except OperationalError as error:
                app_log.warning("feed: database: %s", error.orig)
            await asyncio.sleep(POLL_SECONDS)

    def _tell(self, event: Row) -> None:
        sentence = self.sentence(event)
        if sentence is not None:
            for listener in list(self._listeners):
                listener.tell(event.id, sentence)
