"""The time, as it is written down and as it is measured."""

from __future__ import annotations

import datetime
import time


def now() -> str:
    """Return the time in UTC as ISO 8601 writes it, to the second."""
    return in_seconds(0.0)


def in_seconds(seconds: float) -> str:
    """Return the time in so many seconds from now, as `now` writes it."""
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return moment.isoformat(timespec="seconds")


def since_boot() -> float:
    """Return the seconds since boot: unlike the time of day, nobody sets that clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
