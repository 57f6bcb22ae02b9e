"""The client of a worker's control socket on the host.

A worker runs the app's code, so its answer is checked for size and form: there is a deadline for
the whole answer, it may have a limited number of bytes, and it has to be JSON in which every known
field has its type and range. Anything else counts as no answer. Unknown fields are left out, since
a newer runner may have more.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import stat
from collections.abc import Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ansible.module_utils.aroundtheworld.bounded_http import NoAnswerError, request
from ansible.module_utils.aroundtheworld.untrusted import printable

STATUS_SECONDS = 2.0
ACCEPT_SECONDS = 5.0
ROUTES_SECONDS = 10.0
# Enough for an app with a thousand routes: a route with its histogram takes some 600 bytes.
ROUTES_LIMIT = 1024 * 1024
# The others wait until one of these has answered.
AT_ONCE = 64
NOTE_BYTES = 4096

WORD = re.compile(r"[A-Za-z0-9_.-]{0,64}", flags=re.ASCII)
LARGEST = 2**53  # up to here a float holds every integer

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class WorkerStatus:
    """The status of a worker; of a command without control socket, what was noted at its start.

    The defaults are for fields that an older runner does not have, and for no answer at all.

    Attributes:
        release: Id of the release that it runs.
        config: The id of its settings.
        pool: The name of its pool.
        state: ``starting``, ``held``, ``ready`` or ``draining``; empty for a command.
        pid: Its process id.
        uptime_seconds: Since it started.
        requests_total: Requests that it got.
        requests_in_flight: Requests that it is answering.
        responses: How many there were of each class, such as ``2xx``; None when that is not known.
        latencies: Upper bounds in seconds, each with the number of responses up to it.
        loop_lag_max: By how many seconds a timer came late in the last minute, at most.
        busy_seconds: For how long its event loop has been blocked, 0 while it turns.
        busy_in: The handler that blocks it.
    """

    release: str = ""
    config: str = ""
    pool: str = ""
    state: str = ""
    pid: int = 0
    uptime_seconds: float = 0.0
    requests_total: int = 0
    requests_in_flight: int = 0
    responses: Mapping[str, int] | None = None
    latencies: tuple[tuple[float, int], ...] = ()
    loop_lag_max: float = 0.0
    busy_seconds: float = 0.0
    busy_in: str = ""

    @property
    def silent(self) -> bool:
        """Whether it does not answer, and nothing was noted at its start."""
        return not (self.state or self.release)

    def runs(self, release: str, config: str) -> bool:
        """Tell whether it runs this release with these settings."""
        return (self.release, self.config) == (release, config)

    def to_json(self) -> dict[str, Any]:
        """Describe it."""
        return dataclasses.asdict(self)


SILENT = WorkerStatus()


@dataclass(frozen=True)
class RouteHolds:
    """For how long the requests of a route held a worker's event loop.

    Attributes:
        route: The regular expression of the route; empty for what matched none.
        handler: The handler's class.
        count: How many requests.
        max: Seconds for which one held it at most.
        buckets: Upper bounds in seconds, each with the number of requests up to it.
    """

    route: str
    handler: str
    count: int
    max: float
    buckets: tuple[tuple[float, int], ...]


# --- Requests -------------------------------------------------------------------------------------


def read_status(control: Path) -> WorkerStatus:
    """Return the status of the worker behind the control socket.

    Of a command without such a socket, it is what was noted when it was started.
    """
    # The socket first: a note may be left from when the pool still ran a command.
    with contextlib.suppress(NoAnswerError, ValueError):
        status, body = request(control, "GET", "/health", timeout=STATUS_SECONDS)
        if status in (200, 503):  # 503 until it is ready
            return parse_status(body)
    with contextlib.suppress(OSError, ValueError):
        release, config, pool = _note(control.with_name("runs")).split()
        return WorkerStatus(_word(release, 1), _word(config), _word(pool))
    return SILENT


def read_statuses(controls: Mapping[Key, Path]) -> dict[Key, WorkerStatus]:
    """Return the same of many at once: any number of silent workers costs a single time-out.

    Args:
        controls: The control sockets, by any key of the caller's.
    """
    return _all_at_once(read_status, controls)


def accept(control: Path) -> str:
    """Have a worker that holds take connections; return why it does not, or an empty text."""
    try:
        status, _ = request(control, "POST", "/accept", timeout=ACCEPT_SECONDS)
    except NoAnswerError as error:
        return f"it does not answer on its private socket ({printable(str(error))})"
    return "" if status == 200 else f"it refuses to take connections (status {status})"


def end_streams(control: Path) -> tuple[int, int, float] | None:
    """Have a worker end its WebSockets and streams; return how many of each, and within how long.

    None is a worker that does not answer, or whose runner is older than this command.
    """
    with contextlib.suppress(NoAnswerError, ValueError):
        status, body = request(control, "POST", "/end-streams", timeout=ACCEPT_SECONDS)
        if status == 200:
            answer = _object(_json(body))
            # Runners from before `stream_timeout` take ten seconds, and do not say so.
            seconds = _seconds(answer.get("seconds", 10))
            return _count(answer["websockets"]), _count(answer["streams"]), seconds
    return None


def routes(control: Path) -> list[RouteHolds] | None:
    """Return what the worker measured of its routes, or None."""
    with contextlib.suppress(NoAnswerError, ValueError):
        status, body = request(
            control, "GET", "/routes", timeout=ROUTES_SECONDS, limit=ROUTES_LIMIT
        )
        if status == 200:
            return parse_routes(body)
    return None


def all_routes(controls: Mapping[Key, Path]) -> dict[Key, list[RouteHolds] | None]:
    """Return the same of many at once."""
    return _all_at_once(routes, controls)


def end_all_streams(
    controls: Mapping[Key, Path],
) -> dict[Key, tuple[int, int, float] | None]:
    """Do the same to many at once."""
    return _all_at_once(end_streams, controls)


def _all_at_once(ask: Any, controls: Mapping[Key, Path]) -> dict[Key, Any]:  # noqa: ANN401
    if not controls:
        return {}
    with ThreadPoolExecutor(min(len(controls), AT_ONCE)) as threads:
        return dict(zip(controls, threads.map(ask, controls.values()), strict=True))


def _note(path: Path) -> str:
    """Return the beginning of a file, in whose place the site's user may have put something else.

    It does not wait for a pipe, follow a link, or read for long.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as handle:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(f"{path} is not a file")
        return handle.read(NOTE_BYTES).decode()


# --- Answers --------------------------------------------------------------------------------------


def parse_status(body: bytes) -> WorkerStatus:
    """Return the answer to ``/health``; raises `ValueError` when it is malformed."""
    answer = _object(_json(body))
    lag, latency = (answer.get(key) for key in ("loop_lag_seconds", "latency_seconds"))
    responses = answer.get("responses")
    return WorkerStatus(
        release=_word(answer.get("release") or ""),
        config=_word(answer.get("config") or ""),
        pool=_word(answer.get("pool") or ""),
        # Without a state it would be a command.
        state=_word(answer["state"], least=1),
        pid=_count(answer.get("pid", 0)),
        uptime_seconds=_seconds(answer.get("uptime_seconds", 0)),
        requests_total=_count(answer.get("requests_total", 0)),
        requests_in_flight=_count(answer.get("requests_in_flight", 0)),
        responses=None if responses is None else _counts(responses),
        latencies=() if latency is None else _buckets(_object(latency).get("buckets", [])),
        loop_lag_max=0.0 if lag is None else _seconds(_object(lag).get("max", 0)),
        busy_seconds=_seconds(answer.get("busy_seconds", 0)),
        busy_in=_text(answer.get("busy_in") or "", 200),
    )


def parse_routes(body: bytes) -> list[RouteHolds]:
    """Return the answer to ``/routes``; raises `ValueError` when it is malformed."""
    found = []
    for route in _list(_object(_json(body))["routes"]):
        holds = _object(_object(route)["holds"])
        pattern, handler = (_text(route[key], 500) for key in ("route", "handler"))
        count, most, buckets = (holds[key] for key in ("count", "max", "buckets"))
        found.append(RouteHolds(pattern, handler, _count(count), _seconds(most), _buckets(buckets)))
    return found


class _MissingError(ValueError):
    """A field is missing, or there twice."""


class _Object(dict[str, Any]):
    """A JSON object that is malformed when a field is missing."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        if len(self) != len(pairs):
            raise _MissingError("a field is there twice")

    def __missing__(self, key: str) -> Any:  # noqa: ANN401
        raise _MissingError(f"the field {key} is missing")


def _json(body: bytes) -> Any:  # noqa: ANN401
    try:
        return json.loads(body.decode(), object_pairs_hook=_Object, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")


def _object(value: object) -> _Object:
    if not isinstance(value, _Object):
        raise ValueError("this is not an object")
    return value


def _list(value: object, most: int = 10_000) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError("this is not a list, or it is too long")
    return value


def _word(value: object, least: int = 0) -> str:
    if not isinstance(value, str) or len(value) < least or not WORD.fullmatch(value):
        raise ValueError("this is not a word")
    return value


def _text(value: object, length: int) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("this is not a text")
    return str(printable(value, length))


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise ValueError("this is not a count")
    return value


def _seconds(value: object) -> float:
    if type(value) not in (int, float) or not 0 <= value <= LARGEST:  # type: ignore[operator]
        raise ValueError("this is not a number of seconds")
    return float(value)  # type: ignore[arg-type]


def _counts(value: object) -> dict[str, int]:
    counts = _object(value)
    if len(counts) > 16:
        raise ValueError("these are too many kinds")
    return {_word(kind, least=1): _count(count) for kind, count in counts.items()}


def _buckets(value: object) -> tuple[tuple[float, int], ...]:
    found = []
    for pair in _list(value, most=1000):
        bound, count = _list(pair, most=2)
        found.append((_seconds(bound), _count(count)))
    return tuple(found)
