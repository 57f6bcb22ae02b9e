"""The app's routes in each pool: what was measured of them, and what their patterns say."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from ansible.module_utils.aroundtheworld.percentiles import percentile
from ansible.module_utils.aroundtheworld.worker_client import RouteHolds

SLOW = 0.1  # seconds: people who wait for so long because of somebody else notice it
QUICK = 0.02  # seconds: what holds the loop for less blocks nobody
ENOUGH = 20  # requests, before a route counts as one that never blocks


@dataclasses.dataclass
class Route:
    """A route of the app in one pool, and what was measured of it there.

    Attributes:
        pattern: Its regular expression; "" for what matched none.
        handler: The handler's class.
        pool: Which serves it.
        requests: How many were measured; of a WebSocket, how many messages.
        max: For how many seconds one held the loop at most.
        buckets: Upper bounds in seconds to numbers of requests that held it for no longer.
        logged: Its paths in the access log, and how many requests for each.
    """

    pattern: str
    handler: str
    pool: str
    requests: int = 0
    max: float = 0.0
    buckets: Counter[float] = dataclasses.field(default_factory=Counter)
    logged: Counter[str] = dataclasses.field(default_factory=Counter)

    def percentile(self, fraction: float) -> float:
        """Return for how many seconds a share of the requests held the loop at most."""
        bound: float | None = percentile(self.buckets.items(), fraction)
        return self.max if bound is None else min(bound, self.max)

    @property
    def blocks(self) -> bool:
        """Whether others have to wait for its requests."""
        return self.percentile(0.99) >= SLOW

    @property
    def never_blocks(self) -> bool:
        """Whether there were enough requests to say that nobody waits for them."""
        # A busy machine interrupts a quick handler for longer now and then.
        return self.requests >= ENOUGH and self.percentile(0.99) < QUICK and self.max < SLOW

    def to_json(self) -> dict[str, Any]:
        """Describe it."""
        return {
            "route": self.pattern,
            "handler": self.handler,
            "pool": self.pool,
            "requests": self.requests,
            "logged": sum(self.logged.values()),
            "p50": round(self.percentile(0.5), 6),
            "p99": round(self.percentile(0.99), 6),
            "max": round(self.max, 6),
        }


def merge(measured: Iterable[tuple[str, Iterable[RouteHolds]]]) -> list[Route]:
    """Return the routes of all workers, from pairs of a pool and one of its workers' routes."""
    routes: dict[tuple[str, str, str], Route] = {}
    for pool, worker_routes in measured:
        for holds in worker_routes:
            key = (holds.route, holds.handler, pool)
            route = routes.setdefault(key, Route(*key))
            route.requests += holds.count
            route.max = max(route.max, holds.max)
            route.buckets.update(dict(holds.buckets))
    return list(routes.values())


def fixed_part(pattern: str) -> str:
    """Return the whole segments with which every path of a route begins.

    Such as `/players` for the pattern `/players/([0-9]+)/cards`, and `/` where there are none.
    """
    text = pattern.removeprefix("^").removesuffix("$")
    outside = re.sub(r"\\.|\[[^]]*\]", "", text)
    while outside != (outside := re.sub(r"\([^()]*\)", "", outside)):
        pass
    if "|" in outside:  # whole paths that are alternatives
        return "/"
    literal, position = "", 0
    while match := re.match(r"\\([^A-Za-z0-9])|([^\\.^$*+?{}\[\]|()])", text[position:]):
        literal += match[1] or match[2]
        position += match.end()
    rest = text[position:]
    if rest[:1] in {"?", "*", "{"}:  # the last character may be missing
        last, literal = literal[-1:], literal[:-1]
        ends = last == "/"
    else:
        ends = re.match(r"$|\((\?:|\?P<\w+>)?/", rest) is not None
    return (literal.rstrip("/") if ends else literal.rpartition("/")[0]) or "/"


def within(path: str, prefix: str) -> bool:
    """Tell whether nginx sends `path` where it sends `prefix`."""
    return prefix == "/" or path == prefix or path.startswith(f"{prefix}/")


def seconds(value: float) -> str:
    """Return a time as a person would write it."""
    if value >= 1:
        return f"{value:.2f} s"
    return f"{value * 1000:.0f} ms" if value >= 0.01 else f"{value * 1000:.1f} ms"
