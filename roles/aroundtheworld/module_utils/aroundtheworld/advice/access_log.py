"""Which paths of each route visitors asked for, from nginx's access log."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ansible.module_utils.aroundtheworld.advice.routes import Route, fixed_part

LOG_BYTES = 64 * 2**20  # of each log file, from its end
# For finding out which route each path in the log took: some 20 s for a million paths. A pattern
# that explodes would take for ever.
MATCH_SECONDS = 60.0


def count_requests(log: Path, routes: Sequence[Route], pool_of: Mapping[str, str]) -> None:
    """Add to each route the paths that the log has of it, and the log of the time before.

    Args:
        log: Where nginx writes it.
        routes: The routes in each pool.
        pool_of: By each worker's port, its pool.
    """
    for file in (log.with_name(f"{log.name}.1"), log):
        if file.exists():
            with file.open(errors="replace") as text:
                text.seek(max(0, file.stat().st_size - LOG_BYTES))
                count_logged(routes, read_log(text), pool_of)


def read_log(text: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the path and the worker's port of every request that a worker answered."""
    for line in text:
        try:
            entry = json.loads(line)
            upstream, uri = entry["upstream"], entry["uri"]
        except (ValueError, KeyError, TypeError):
            continue  # a line that is only half written
        port = upstream.rpartition(",")[2].rpartition(":")[2].strip()
        if port.isdecimal():
            path = urllib.parse.unquote(uri.partition("?")[0])
            yield re.sub(r"//+", "/", path), port


def count_logged(
    routes: Sequence[Route], entries: Iterable[tuple[str, str]], pool_of: Mapping[str, str]
) -> None:
    """Add to each route the paths that the log has of it."""
    # The pattern with the longest fixed part knows best; many requests are for the same path.
    known = sorted(
        ((fixed_part(route.pattern), route) for route in routes if route.pattern),
        key=lambda pair: -len(pair[0]),
    )
    patterns = []
    for _, route in known:
        # A pattern comes from a worker, and need not be one.
        with contextlib.suppress(re.error, RecursionError, OverflowError):
            patterns.append((re.compile(f"(?:{route.pattern})$"), route))
    paths = Counter(entries)
    with contextlib.suppress(TimeoutError), time_limit(MATCH_SECONDS):
        for (path, port), count in paths.items():
            for pattern, route in patterns:
                if route.pool == pool_of.get(port) and pattern.match(path):
                    route.logged[path] += count
                    break


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeoutError` in the block when it takes longer, also within a regular expression."""

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
