"""Logs what blocks the event loop while it lasts, and before the watchdog ends the worker.

A thread sees it. What ends is measured where it happens (measuring.py).
"""

import dataclasses
import logging
import threading
import time
import traceback
from pathlib import Path
from types import FrameType

from aroundtheworld_runner import logs, systemd
from aroundtheworld_runner.heartbeat import INTERVAL, TOLERANCE, Heartbeat, culprit
from aroundtheworld_runner.measuring import is_step, read_step
from aroundtheworld_runner.routes import Route, Routes

AGAIN = 10  # times as long must a block have become until it is logged again
MARGIN = 1.0  # seconds before the watchdog ends the worker in which the stack is logged, at most
SAVED_EVERY = 60.0  # seconds

log = logging.getLogger(__name__)


@dataclasses.dataclass
class _Block:
    """A block: something holds the loop.

    Attributes:
        began: When (monotonic).
        route: To which its time is counted.
        described: A name such as `AdminReport.get`, and which request it is.
        request_id: By which the logs name the request.
        exact: It is a step of a handler's coroutine, which counts its time itself.
        logged: For how many seconds it had lasted when it was logged; 0 for not yet.
        saved: It has been saved, in case it is the worker's end.
    """

    began: float
    route: Route
    described: str
    request_id: str
    exact: bool
    logged: float = 0.0
    saved: bool = False


class Watch:
    """A thread that checks now and then whether the loop turns."""

    def __init__(
        self,
        heartbeat: Heartbeat,
        routes: Routes,
        *,
        warn: float,
        watchdog: float | None,
        file: Path | None,
    ) -> None:
        """Take the loop's heartbeat, and what to do about a block.

        Args:
            heartbeat: Of the loop.
            routes: Where the times of blocks are counted.
            warn: Seconds of a block after which it is logged; 0 for never.
            watchdog: Seconds without a sign of life after which systemd ends this process.
            file: Where the routes are saved.
        """
        self._heartbeat = heartbeat
        self._routes = routes
        self._warn = warn
        self._watchdog = watchdog
        self._file = file
        self._margin = min(MARGIN, watchdog / 3) if watchdog else 0.0
        self._shortest = min(warn or TOLERANCE, TOLERANCE)
        self._block: _Block | None = None
        self._in_step = 0.0  # when the thread last saw a step of a handler's coroutine (monotonic)
        self._lock = threading.Lock()
        self._sign_of_life = time.monotonic()  # when systemd got the last one

    def start(self) -> None:
        """Begin with the times that an earlier process of the same release has saved."""
        if self._file:
            self._routes.restore(self._file)
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def beat(self, lag: float) -> None:
        """Note that the loop turns, and give systemd a sign of life; called in the loop."""
        if self._block:
            with self._lock:
                block, self._block = self._block, None
            if block:
                self._ended(block, lag if not block.exact else time.monotonic() - block.began)
        now = time.monotonic()
        if self._watchdog and now - self._sign_of_life >= self._watchdog / 3:
            self._sign_of_life = now
            systemd.notify("WATCHDOG=1")

    def _run(self) -> None:
        pause = min(INTERVAL, self._shortest / 2, self._margin / 3 or INTERVAL)
        saved = time.monotonic()
        while True:
            time.sleep(pause)
            now = time.monotonic()
            try:
                if now - self._heartbeat.last >= self._shortest:
                    self._look(now)
                if now - saved >= SAVED_EVERY:
                    saved = now
                    self.save()
            except Exception:
                log.exception("cannot watch the event loop")

    def _look(self, now: float) -> None:
        innermost = self._heartbeat.frame()
        seen = self._what_blocks(innermost)
        if seen.exact:
            self._in_step = now
        else:
            # There was no beat since then: the time of that step does not count again.
            seen.began = max(seen.began, self._in_step)
        if now - seen.began < self._shortest:
            return
        with self._lock:
            before, block = self._block, seen
            if before and before.began == seen.began:
                block = before
            if now - self._heartbeat.last < self._shortest:
                return  # it turned while this thread was looking
            self._block = block
        if before and block is seen:
            self._ended(before, seen.began - before.began)
        seconds = now - block.began
        if self._warn and seconds >= (block.logged * AGAIN or self._warn):
            block.logged = seconds
            with logs.about(block.request_id):
                log.warning(
                    "the event loop has been blocked for %.1f s by %s, still in:\n%s",
                    seconds,
                    block.described,
                    _stack(innermost),
                )
        if self._watchdog and not block.saved:
            left = self._sign_of_life + self._watchdog - now
            if left <= self._margin:
                block.saved = True
                with logs.about(block.request_id):
                    log.error(
                        "systemd ends this worker in %.1f s, whose event loop has been blocked for "
                        "%.1f s by %s, still in:\n%s",
                        left,
                        seconds,
                        block.described,
                        _stack(innermost),
                    )
                self.save((block.route, seconds))

    def _what_blocks(self, innermost: FrameType | None) -> _Block:
        name, handler = culprit(innermost)
        began, exact = self._heartbeat.last + INTERVAL, False
        frame = innermost
        while frame is not None:
            if is_step(frame):
                stepping, began = read_step(frame)
                exact = True
                if handler is None:
                    handler = stepping
                    name = type(handler).__name__
                break
            frame = frame.f_back
        if handler is None:
            name = name or "something unknown"
            return _Block(began, self._routes.outside(name), name, logs.NONE, exact)
        route = self._routes.of(handler)
        # Without the query, which may contain secrets.
        request = f"{handler.request.method} {handler.request.path}"
        described = f"{name}, route {route.pattern or 'none'} ({request})"
        request_id = getattr(handler.request.connection, "request_id", logs.NONE)
        return _Block(began, route, described, request_id, exact)

    def _ended(self, block: _Block, seconds: float) -> None:
        if not block.exact:
            block.route.add(seconds)
        if block.logged:
            with logs.about(block.request_id):
                log.warning("the event loop was blocked for %.2f s by %s", seconds, block.described)

    def save(self, cut: tuple[Route, float] | None = None) -> None:
        """Save the routes for the next process; an error is logged, never raised."""
        if self._file:
            try:
                self._routes.save(self._file, cut)
            except OSError as error:
                log.warning("cannot write %s: %s", self._file, error.strerror)


def _stack(innermost: FrameType | None) -> str:
    """Return the stack below the loop's own frames, the innermost last, as in a traceback."""
    frames = []
    for frame, line in traceback.walk_stack(innermost):
        if is_step(frame) or frame.f_globals.get("__name__") == "asyncio.events":
            break
        frames.append((frame, line))
    return "".join(traceback.StackSummary.extract(iter(reversed(frames))).format()).rstrip()
