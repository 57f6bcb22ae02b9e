"""Signals that ask the module to end, as one exception at one place."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

# Sent by a person, by a host that shuts down, and by a terminal that is gone with its controller.
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class InterruptedRun(BaseException):
    """A signal ends the module; the message names it."""


def ignore() -> None:
    """Ignore further signals, also in commands that are started from now on."""
    _handle(signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> None:
    ignore()
    raise InterruptedRun(f"the module was asked to end ({signal.Signals(number).name})")


def _handle(handler: signal.Handlers | signal._HANDLER) -> None:
    for number in ENDING:
        signal.signal(number, handler)


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Raise `InterruptedRun` in the block for the first signal, and ignore further ones."""
    former = {number: signal.getsignal(number) for number in ENDING}
    _handle(_interrupt)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
