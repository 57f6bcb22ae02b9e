"""Measures whether the event loop turns, and finds what blocks it when it does not."""

import asyncio
import collections
import math
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from tornado.web import RequestHandler

from aroundtheworld_runner.statistics import Histogram

INTERVAL = 0.25  # seconds between two beats
TOLERANCE = 0.5  # seconds by which a beat may be late before the loop is called busy
REMEMBERED = 60.0  # seconds for which the lags of beats are kept


class Heartbeat:
    """Beats in the event loop; any thread may read it, also while the loop is blocked.

    Attributes:
        last: When it beat last (monotonic).
        lags: How late the beats came since the worker was there for visitors.
    """

    def __init__(self, on_beat: Callable[[float], None]) -> None:
        """Take the function to call at every beat, in the loop, with how late the beat is."""
        self._on_beat = on_beat
        self.last = time.monotonic()
        self.lags = Histogram()
        self._recent: collections.deque[float] = collections.deque(
            maxlen=int(REMEMBERED / INTERVAL)
        )
        self._next: asyncio.TimerHandle | None = None
        self._thread_id = 0

    def start(self) -> None:
        """Begin to beat in the running event loop, or begin again and forget all earlier lag."""
        self._thread_id = threading.get_ident()
        if self._next:
            self._next.cancel()
        self._recent.clear()
        self.lags = Histogram()
        self._beat(asyncio.get_running_loop(), 0.0)

    def _beat(self, loop: asyncio.AbstractEventLoop, lag: float) -> None:
        self.last = time.monotonic()
        self._next = loop.call_later(INTERVAL, self._beat_again, loop)
        self._on_beat(lag)

    def _beat_again(self, loop: asyncio.AbstractEventLoop) -> None:
        lag = max(0.0, time.monotonic() - self.last - INTERVAL)
        self._recent.append(lag)
        self.lags.add(lag)
        self._beat(loop, lag)

    def lag(self) -> dict[str, float]:
        """Return how late the beats of the last minute came: `max` and `p99`, in seconds.

        That is how long anything else in the loop had to wait for its turn. A block that still
        lasts is not included; `busy` returns it.
        """
        lags = sorted(self._recent.copy()) or [0.0]
        return {"max": round(lags[-1], 4), "p99": round(lags[math.ceil(0.99 * len(lags)) - 1], 4)}

    def busy(self) -> tuple[float, str | None]:
        """Return for how many seconds the loop has been blocked, and by what.

        Returns:
            `(0.0, None)` while the loop turns; otherwise seconds and a name such as
            `AdminReport.get`.
        """
        late = time.monotonic() - self.last - INTERVAL
        if late < TOLERANCE:
            return 0.0, None
        return round(late, 3), culprit(self.frame())[0]

    def frame(self) -> FrameType | None:
        """Return what the loop's thread is executing."""
        return sys._current_frames().get(self._thread_id)


def culprit(innermost: FrameType | None) -> tuple[str | None, RequestHandler | None]:
    """Find the innermost method of a handler on the stack, else the innermost function.

    Returns:
        Its name, and the handler if it is a handler's method.
    """
    frame = innermost
    while frame is not None:
        code = frame.f_code
        # Without Tornado's own methods, because the question is which page is slow.
        if code.co_argcount and not frame.f_globals.get("__name__", "").startswith("tornado."):
            owner = frame.f_locals.get(code.co_varnames[0])
            if isinstance(owner, RequestHandler) and hasattr(type(owner), code.co_name):
                return f"{type(owner).__name__}.{code.co_name}", owner
        frame = frame.f_back
    if innermost is None:
        return None, None
    return f"{innermost.f_globals.get('__name__', '?')}.{innermost.f_code.co_qualname}", None
