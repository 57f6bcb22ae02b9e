"""SIGTERM and SIGINT, by which a worker is asked to end, belong to the runner.

An application's own handler would end the process, or stop the event loop, with requests in it that
are not answered yet. So it is replaced, whenever it was set, and the journal says so.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from types import FrameType

NUMBERS = (signal.SIGTERM, signal.SIGINT)
PYTHONS_OWN = (signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler, None)

log = logging.getLogger(__name__)


class EndSignals:
    """Calls a function in the event loop when this process is asked to end."""

    def __init__(self, on_signal: Callable[[], None]) -> None:
        """Take the function; to be made in the event loop, in the main thread."""
        self._on_signal = on_signal
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()
        # asyncio has its own for SIGINT while it runs a coroutine.
        self._expected: tuple[object, ...] = (*PYTHONS_OWN, signal.getsignal(signal.SIGINT))
        self.take()

    def take(self) -> None:
        """Handle the signals, and replace handlers that the application has set since."""
        for number in NUMBERS:
            before = signal.getsignal(number)
            if before == self._handle:
                continue
            in_loop = self._loop.remove_signal_handler(number)
            signal.signal(number, self._handle)
            if in_loop or before not in self._expected:
                name = "" if in_loop else f" ({getattr(before, '__qualname__', before)})"
                log.warning(
                    "the application's own handler of %s%s is not called: the worker answers its "
                    "requests first; settings['on_leaving'] is for what has to be done at its end",
                    number.name,
                    name,
                )

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if os.getpid() != self._process:
            # A process that the application forked has inherited this, and should simply end.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._on_signal)
