"""Which service crashes again and again, by its properties in systemd.

It needs nothing but the standard library, because it is used in two places: by the role's modules,
and by the metrics' endpoint, which travels with the release: the runner has a link to this file,
and a release a copy of it.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Mapping
from typing import NamedTuple

PROPERTIES = (
    "ActiveState",
    "SubState",
    "NRestarts",
    "Result",
    "ExecMainCode",
    "ExecMainStatus",
    "ExecMainStartTimestampMonotonic",
    "StateChangeTimestampMonotonic",
    "RestartUSec",
    "RestartUSecNext",  # of systemd 254 and later
)
# A service that was restarted and has run for so many seconds since does not crash any more.
STEADY_SECONDS = 60.0

KILLED = {"2", "3"}  # CLD_KILLED and CLD_DUMPED of waitid(2)
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


class Crashes(NamedTuple):
    """How a service crashes.

    Attributes:
        times: How often it has ended by itself since it was started from outside.
        next_start: Seconds until the next time; None while it runs or starts.
        cause: How it ended last, such as ``status 1``; empty when that is no longer known.
    """

    times: int
    next_start: float | None
    cause: str


def crashing(properties: Mapping[str, str], now: float | None = None) -> Crashes | None:
    """Return how a service crashes, or None when it does not.

    Args:
        properties: Its properties in systemd, with those of `PROPERTIES`.
        now: The monotonic clock, in seconds.
    """
    now = time.monotonic() if now is None else now
    times = _count(properties, "NRestarts")
    state, detail = properties.get("ActiveState", ""), properties.get("SubState", "")
    waits = detail.startswith("auto-restart")
    started = _count(properties, "ExecMainStartTimestampMonotonic") / 1e6
    steady = state == "active" and now - started >= STEADY_SECONDS
    # A service that is stopped does not crash, however often it did.
    if state == "inactive" or steady or not (times or waits or state == "failed"):
        return None
    next_start = None
    if waits:
        since = _count(properties, "StateChangeTimestampMonotonic") / 1e6
        pause = properties.get("RestartUSecNext") or properties.get("RestartUSec", "")
        next_start = max(0.0, since + seconds(pause) - now)
    ended = waits or state == "failed"  # and is not restarted yet
    return Crashes(times + ended, next_start, "" if state == "active" else _cause(properties))


def seconds(text: str) -> float:
    """Return the seconds of a time span such as systemd's ``1min 500ms``; 0 for anything else."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(us|ms|s|min|h|d)(?= |$)", text)
    return float(sum(float(number) * UNITS[unit] for number, unit in parts))


def _count(properties: Mapping[str, str], name: str) -> int:
    text = properties.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 20 else 0


def _cause(properties: Mapping[str, str]) -> str:
    status = _count(properties, "ExecMainStatus")
    if properties.get("Result") in ("watchdog", "oom-kill", "timeout"):
        return str(properties["Result"])
    if properties.get("ExecMainCode") in KILLED:
        try:
            return f"signal {signal.Signals(status).name}"
        except ValueError:
            return f"signal {status}"
    return f"status {status}" if status else ""
