"""Where the metrics come from: the workers, systemd, nginx, and the site's log of changes."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client.core import Metric

from aroundtheworld_metrics.worker_text import parse_worker_metrics
from aroundtheworld_runner import crashes
from aroundtheworld_runner.bounded_http import request

TIMEOUT = 1.0  # seconds until a source that does not answer is left out
SLICE_PROPERTIES = ("MemoryCurrent", "MemoryMax", "CPUUsageNSec", "TasksCurrent", "TasksMax")
JOB_PROPERTIES = ("ExecMainStartTimestampMonotonic", "ExecMainExitTimestampMonotonic")
PROPERTIES = ",".join(
    dict.fromkeys(["Id", *crashes.PROPERTIES, *JOB_PROPERTIES, "Result", *SLICE_PROPERTIES])
)
SYSTEMCTL = "/usr/bin/systemctl"
LAST_BYTES = 64 * 1024  # of the log of changes, with the last entry in them

NGINX_STATUS = re.compile(
    r"Active connections: (?P<active>\d+)\s+server accepts handled requests\s+"
    r"(?P<accepted>\d+) (?P<handled>\d+) (?P<requests>\d+)\s+"
    r"Reading: (?P<reading>\d+) Writing: (?P<writing>\d+) Waiting: (?P<waiting>\d+)"
)


def read_worker(control: Path) -> list[Metric]:
    """Return what a worker measures; raises `OSError` when it does not answer.

    A worker with an older runner responds that there is no such path.
    """
    status, body = request(control, "GET", "/metrics", timeout=TIMEOUT)
    if status != http.client.OK:
        return []
    try:
        return parse_worker_metrics(body.decode())
    except ValueError as error:
        raise OSError(f"its metrics cannot be read: {error}") from error


def read_units(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return each unit's properties; raises `OSError` when systemd does not answer."""
    try:
        output = _systemctl("show", f"--property={PROPERTIES}", "--", *names)
    except subprocess.SubprocessError as error:
        raise OSError(str(error)) from error
    units = {}
    for block in output.strip().split("\n\n"):
        properties = dict(line.partition("=")[::2] for line in block.splitlines())
        units[properties.get("Id", "")] = properties
    return units


def next_elapse(timers: Sequence[str]) -> dict[str, float]:
    """Return when timers elapse next, Unix time; nothing when systemd does not say.

    On hosts module_utils/aroundtheworld/systemd.py does the same.
    """
    with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError, TypeError, KeyError):
        entries = json.loads(_systemctl("list-timers", "--all", "--output=json", "--", *timers))
        return {entry["unit"]: entry["next"] / 1e6 for entry in entries if entry["next"]}
    return {}


def _systemctl(*arguments: str) -> str:
    return subprocess.run(  # noqa: S603 - names from the unit file
        [SYSTEMCTL, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=2 * TIMEOUT,
    ).stdout


def read_nginx(address: str) -> dict[str, int]:
    """Return the numbers of nginx's status page; raises `OSError` when it does not answer."""
    body = request(address, "GET", "/nginx", timeout=TIMEOUT).body
    match = NGINX_STATUS.search(body.decode(errors="replace"))
    if match is None:
        raise OSError("this is not nginx's status page")
    return {name: int(value) for name, value in match.groupdict().items()}


def read_closing(home: Path) -> dict[str, Any]:
    """Return since when the site is closed, and what else is known; nothing when it is open.

    On hosts module_utils/aroundtheworld/maintenance/state.py does the same.
    """
    try:
        written = (home / "maintenance.html").stat().st_mtime
    except OSError:
        return {}
    closing = {"since": datetime.fromtimestamp(int(written), UTC).isoformat()}
    if (home / "maintenance" / "switch").is_symlink():
        with contextlib.suppress(OSError, TypeError, ValueError):
            closing |= json.loads((home / "maintenance" / "state.json").read_text())
    return closing


def read_backups(home: Path, name: str) -> dict[str, Any]:
    """Return how the site's last backup or drill went, and when the next one is late; or nothing.

    On hosts module_utils/aroundtheworld/data/state.py writes it.

    Args:
        home: The site's home.
        name: ``state`` of backups, or ``drill``.
    """
    with contextlib.suppress(OSError, ValueError):
        state = json.loads((home / "backup" / f"{name}.json").read_text())
        if isinstance(state, dict):
            return state
    return {}


def last_change(log: Path) -> dict[str, Any]:
    """Return the last whole line of the site's log of changes, or nothing."""
    try:
        with log.open("rb") as handle:
            handle.seek(max(0, log.stat().st_size - LAST_BYTES))
            lines = handle.read().splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            entry: dict[str, Any] = json.loads(line)
            return entry
    return {}
