"""Wait for what comes about by itself: a fixed pause is too short on a busy machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def until(
    read: Callable[[], T], good: Callable[[T], Any] = bool, seconds: float = 10, pause: float = 0.1
) -> T:
    """Read again and again, and return the first value that is good; fail when none is."""
    deadline = time.monotonic() + seconds
    while not good(value := read()):
        assert time.monotonic() < deadline, f"still {value!r} after {seconds} s"
        time.sleep(pause)
    return value
