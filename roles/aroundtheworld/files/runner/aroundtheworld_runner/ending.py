"""The last part of a worker's end, in which what the application left behind comes to its own end.

That is, in this order: what `on_leaving` does; `finally` of tasks, which are cancelled; threads;
what is registered with `atexit`. Each has the rest of the drain timeout, but at least a moment.
Threads have that moment and no more, because many never end.
"""

import asyncio
import atexit
import logging
import os
import threading
import time

from aroundtheworld_runner import systemd

MOMENT = 2.0  # seconds
BEAT = 1.0  # seconds between two signs of life while the event loop does not give them
BLOCKED = 1.0  # seconds more until the process is ended from outside the event loop

log = logging.getLogger(__name__)


class Ending:
    """Ends the process when a part of its end takes too long, whatever the application does."""

    def __init__(self, drain_timeout: float) -> None:
        """Take the seconds in which all should have ended, from now on."""
        self._end = time.monotonic() + drain_timeout
        self._phase = ("", float("inf"))  # what has not ended, and until when it may (monotonic)
        self._watchdog = systemd.watchdog_seconds()

    def left(self) -> float:
        """Return for how many seconds the next part may take."""
        return max(MOMENT, self._end - time.monotonic())

    def start(self) -> None:
        """Watch from a thread, because from here on the event loop may not turn any more."""
        self.phase("settings['on_leaving'] blocks the event loop", self.left() + BLOCKED)
        threading.Thread(target=self._watch, name="ending", daemon=True).start()

    def phase(self, what: str, seconds: float) -> None:
        """Note what to say when what ends now has not ended in time."""
        self._phase = (what, time.monotonic() + seconds)

    async def cancel_tasks(self) -> None:
        """Cancel the application's tasks, and wait until their `finally` is through."""
        seconds = self.left()
        self.phase("a task of the application blocks the event loop", seconds + BLOCKED)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            done, _ = await asyncio.wait(tasks, timeout=seconds)
            for task in done:
                if not task.cancelled() and (error := task.exception()):
                    log.error("a task failed when it was cancelled: %r", task, exc_info=error)

    def leave(self) -> None:
        """Give threads their moment, and `atexit` the rest."""
        self.phase("tasks or threads of the application have not ended", MOMENT)
        late = "what the application registered with atexit has not ended"
        # What was registered last is called first, and only when no thread is left.
        atexit.register(lambda: self.phase(late, self.left()))

    def _watch(self) -> None:
        while (now := time.monotonic()) < (end := self._phase[1]):
            if self._watchdog:
                systemd.notify("WATCHDOG=1")
            time.sleep(min(BEAT, end - now))
        log.error("exiting although %s", self._phase[0])
        os._exit(0)
