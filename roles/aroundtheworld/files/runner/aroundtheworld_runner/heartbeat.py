"""Tells whether the event loop is turning, and what holds it up when it is not."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from tornado.web import RequestHandler

INTERVAL = 0.25  # seconds between two beats
TOLERANCE = 0.5  # seconds by which a beat may be late before the loop is called busy


class Heartbeat:
    """Beats in the event loop; may be asked from any thread, also while the loop is blocked."""

    def __init__(self, on_beat: Callable[[], None]) -> None:
        """Take what is to be called at every beat, in the loop."""
        self._on_beat = on_beat
        self._last = time.monotonic()
        self._thread_id = 0

    def start(self) -> None:
        """Begin to beat in the running event loop."""
        self._thread_id = threading.get_ident()
        self._beat(asyncio.get_running_loop())

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self._last = time.monotonic()
        loop.call_later(INTERVAL, self._beat, loop)
        self._on_beat()

    def busy(self) -> tuple[float, str | None]:
        """Return for how many seconds the loop has been blocked, and by what.

        Returns:
            `(0.0, None)` while the loop turns; otherwise seconds and a name such as
            `AdminReport.get`.
        """
        late = time.monotonic() - self._last - INTERVAL
        if late < TOLERANCE:
            return 0.0, None
        return round(late, 3), _culprit(sys._current_frames().get(self._thread_id))


def _culprit(innermost: FrameType | None) -> str | None:
    """Name the innermost method of a handler on the stack, else the innermost function."""
    frame = innermost
    while frame is not None:
        code = frame.f_code
        # Tornado's own methods are passed over: which page is slow is the question.
        if code.co_argcount and not frame.f_globals.get("__name__", "").startswith("tornado."):
            owner = type(frame.f_locals.get(code.co_varnames[0]))
            if issubclass(owner, RequestHandler) and hasattr(owner, code.co_name):
                return f"{owner.__name__}.{code.co_name}"
        frame = frame.f_back
    if innermost is None:
        return None
    return f"{innermost.f_globals.get('__name__', '?')}.{innermost.f_code.co_qualname}"
