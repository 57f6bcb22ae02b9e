"""What to write into the pools, so that each route is in the pool that suits it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.module_utils.aroundtheworld.advice.routes import Route, fixed_part, seconds, within

FEW = 8  # paths that a person may reasonably list

Pools = Sequence[Mapping[str, Any]]


@dataclasses.dataclass
class Advice:
    """What to write into the pools so that a route is served by another one.

    Attributes:
        route: Which.
        to: The name of the pool, or "" when no path can say it.
        why: In a sentence.
        paths: By the name of each pool that changes, its new `paths`.
        others: Routes that would move with it.
    """

    route: Route
    to: str
    why: str
    paths: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    others: list[Route] = dataclasses.field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Describe it."""
        return {
            "route": self.route.pattern,
            "handler": self.route.handler,
            "from": self.route.pool,
            "to": self.to,
            "why": self.why,
            "lines": {name: paths_line(paths) for name, paths in self.paths.items()},
            "moves_too": [other.pattern for other in self.others],
        }


def paths_line(paths: Sequence[str]) -> str:
    """Return the line of a pool as it is written in YAML."""
    return f"paths: [{', '.join(paths)}]"


def advise(routes: Sequence[Route], pools: Pools) -> list[Advice]:
    """Return what should be served by another pool."""
    blocking = [pool["name"] for pool in pools if pool.get("blocking")]
    public = serving("/", pools)
    advices = []
    for route in routes:
        if not route.pattern:
            continue
        if route.blocks and route.pool not in blocking:
            slow = f"blocks the loop for {seconds(route.percentile(0.99))} (p99)"
            advices.append(
                _advice(route, routes, pools, blocking[0] if blocking else "blocking", slow)
            )
        elif route.never_blocks and route.pool in blocking and public not in blocking:
            quick = f"never blocked in {route.requests} requests"
            advice = _advice(route, routes, pools, public, quick)
            # Say nothing of a route that stays, nor of one that would take slow ones along.
            if advice.paths and all(other.never_blocks for other in advice.others):
                advices.append(advice)
    return advices


def _advice(route: Route, routes: Sequence[Route], pools: Pools, to: str, why: str) -> Advice:
    paths = [fixed_part(route.pattern)]
    if serving(paths[0], pools) != route.pool:
        paths = ["/"]  # only some of its paths are this pool's
    if paths == ["/"] and 0 < len(route.logged) <= FEW:
        paths = sorted(path.rstrip("/") or "/" for path in route.logged)
    changes = moved(pools, paths, to)
    if changes is None:
        return Advice(route, "", f"{why}, and no path tells it from others: give it one of its own")
    others = [
        other
        for other in routes
        if other is not route
        and other.pool == route.pool
        and other.pattern
        and any(within(fixed_part(other.pattern), path) for path in paths)
    ]
    return Advice(route, to, why, changes, others)


def moved(pools: Pools, paths: Sequence[str], to: str) -> dict[str, list[str]] | None:
    """Return what changes in the `paths` of pools when one gets these; None if `/` had to move."""
    if "/" in paths:
        return None
    changes = {}
    new = [] if to in {pool["name"] for pool in pools} else [{"name": to, "paths": []}]
    for pool in [*pools, *new]:
        before = [path.rstrip("/") or "/" for path in pool["paths"]]
        after = [path for path in before if path not in paths]
        if pool["name"] == to:
            after += paths
        if set(after) != set(before):
            changes[pool["name"]] = after
    return changes


def serving(path: str, pools: Pools) -> str:
    """Return the name of the pool that serves a path: the one with the longest that matches."""
    matching = [
        (len(prefix.rstrip("/")), pool["name"])
        for pool in pools
        for prefix in pool["paths"]
        if within(path, prefix.rstrip("/") or "/")
    ]
    return max(matching)[1] if matching else ""


def moved_together(pools: Pools, advices: Sequence[Advice]) -> dict[str, list[str]]:
    """Return the `paths` of pools when all of the advice, which is for one pool, is followed."""
    to = advices[0].to
    before = {
        path.rstrip("/") or "/" for pool in pools if pool["name"] == to for path in pool["paths"]
    }
    added = sorted({path for advice in advices for path in advice.paths.get(to, [])} - before)
    # A path within another one that moves as well need not be named.
    outermost = [
        path for path in added if not any(path != other and within(path, other) for other in added)
    ]
    return moved(pools, outermost, to) or {}
