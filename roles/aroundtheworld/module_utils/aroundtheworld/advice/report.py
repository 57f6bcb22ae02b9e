"""The advice for people: what to write where. The controller draws the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ansible.module_utils.aroundtheworld.advice.moves import (
    Advice,
    Pools,
    moved_together,
    paths_line,
)
from ansible.module_utils.aroundtheworld.advice.routes import Route, seconds

# The action plugin aligns all between the pool and the handler as numbers.
HEADINGS = ["route", "pool", "requests", "in the log", "p50", "p99", "max", "handler"]


def rows(routes: Sequence[Route]) -> list[list[str]]:
    """Return the cells of the table of routes, under `HEADINGS`."""
    return [
        [
            route.pattern or "(none)",
            route.pool,
            str(route.requests),
            str(sum(route.logged.values())),
            seconds(route.percentile(0.5)),
            seconds(route.percentile(0.99)),
            seconds(route.max),
            route.handler,
        ]
        for route in routes
    ]


def lines(
    routes: Sequence[Route],
    advices: Sequence[Advice],
    pools: Pools,
    silent: Sequence[str],
) -> Iterator[str]:
    """Yield the lines below the table of routes."""
    if not routes:
        yield "Nothing was measured yet: no worker has had a request since it runs this release."
    for port in silent:
        yield f"The worker on port {port} says nothing about its routes."
    names = {pool["name"] for pool in pools}
    for advice in advices:
        yield ""
        yield f"{advice.route.pattern} in pool {advice.route.pool} {advice.why}."
        for name, paths in advice.paths.items():
            new = "" if name in names else " (a new one with blocking: true and a port of its own)"
            if paths:
                yield f"  To have it served by {advice.to}, in pool {name}{new}:"
                yield f"    {paths_line(paths)}"
            else:
                yield f"  Pool {name} then has no path left, and is not needed any more."
        if advice.others:
            yield "  With it goes: " + ", ".join(
                f"{other.pattern} (p99 {seconds(other.percentile(0.99))})"
                for other in advice.others
            )
    to_blocking = [advice for advice in advices if advice.route.blocks and advice.paths]
    if len(to_blocking) > 1:
        together = moved_together(pools, to_blocking)
        yield ""
        yield "Everything that blocks, moved at once:"
        for name, paths in together.items():
            yield f"  in pool {name}: {paths_line(paths)}"
    if routes and not advices:
        yield ""
        yield "Every route is where it belongs, as far as was measured."
