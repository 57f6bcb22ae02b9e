#!/usr/bin/python
"""Ansible module: which route belongs into which pool, from what was measured."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_advise
short_description: Tell which route belongs into which pool
description:
  - Asks every worker on its private socket for how long the requests of each route held its loop,
    and reads the site's access log. Nothing is changed.
options:
  site: {description: Name of the site., type: str, required: true}
  pools: {description: The site's pools., type: list, elements: dict, required: true}
  access_log: {description: Where nginx writes the site's access log., type: path, required: true}
author: The Around The World authors
"""

EXAMPLES = r"""
- name: What was measured
  aroundtheworld_advise:
    site: aroundtheworld
    pools: "{{ aroundtheworld_pools }}"
    access_log: /var/log/nginx/aroundtheworld.access.log
"""

RETURN = r"""
routes: {description: What was measured of each route, type: list, returned: always}
advice: {description: What would be better elsewhere, and how, type: list, returned: always}
silent: {description: Ports whose worker says nothing of it, type: list, returned: always}
lines: {description: The same for people, type: list, returned: always}
"""

import contextlib
import dataclasses
import json
import math
import re
import signal
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.layout import SystemLayout
from ansible.module_utils.aroundtheworld.worker_client import RouteHolds, all_routes
from ansible.module_utils.basic import AnsibleModule

SLOW = 0.1  # seconds: whoever waits for so long because of somebody else notices it
QUICK = 0.02  # seconds: what holds the loop for less blocks nobody
ENOUGH = 20  # requests, before it is said of a route that it never blocks
FEW = 8  # paths that one may reasonably list one by one
LOG_BYTES = 64 * 2**20  # of each log file, from its end
# For finding out which route each path in the log took: some 20 s for a million paths. A pattern
# that explodes would take for ever.
MATCH_SECONDS = 60.0


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
        rank = math.ceil(fraction * self.requests)
        for bound, count in sorted(self.buckets.items()):
            rank -= count
            if rank <= 0:
                return min(bound, self.max)
        return self.max

    @property
    def blocks(self) -> bool:
        """Whether others have to wait for its requests."""
        return self.percentile(0.99) >= SLOW

    @property
    def never_blocks(self) -> bool:
        """Whether there were enough requests to say that nobody has to wait for them."""
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


def merge(said: Iterable[tuple[str, Iterable[RouteHolds]]]) -> list[Route]:
    """Return the routes of all workers, from pairs of a pool and what one of its workers said."""
    routes: dict[tuple[str, str, str], Route] = {}
    for pool, answer in said:
        for holds in answer:
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
        # A pattern is a worker's word, and need not be one.
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


def moved(
    pools: Sequence[Mapping[str, Any]], paths: Sequence[str], to: str
) -> dict[str, list[str]] | None:
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


def serving(path: str, pools: Sequence[Mapping[str, Any]]) -> str:
    """Return the name of the pool that serves a path: the one with the longest that matches."""
    matching = [
        (len(prefix.rstrip("/")), pool["name"])
        for pool in pools
        for prefix in pool["paths"]
        if within(path, prefix.rstrip("/") or "/")
    ]
    return max(matching)[1] if matching else ""


def advise(routes: Sequence[Route], pools: Sequence[Mapping[str, Any]]) -> list[Advice]:
    """Return what should be served by another pool."""
    blocking = [pool["name"] for pool in pools if pool.get("blocking")]
    public = serving("/", pools)
    found = []
    for route in routes:
        if not route.pattern:
            continue
        if route.blocks and route.pool not in blocking:
            slow = f"blocks the loop for {seconds(route.percentile(0.99))} (p99)"
            found.append(
                _advice(route, routes, pools, blocking[0] if blocking else "blocking", slow)
            )
        elif route.never_blocks and route.pool in blocking and public not in blocking:
            quick = f"never blocked in {route.requests} requests"
            advice = _advice(route, routes, pools, public, quick)
            # What stays where it is needs no word, neither does what would take slow ones along.
            if advice.paths and all(other.never_blocks for other in advice.others):
                found.append(advice)
    return found


def _advice(
    route: Route, routes: Sequence[Route], pools: Sequence[Mapping[str, Any]], to: str, why: str
) -> Advice:
    wanted = [fixed_part(route.pattern)]
    if serving(wanted[0], pools) != route.pool:
        wanted = ["/"]  # only some of its paths are this pool's
    if wanted == ["/"] and 0 < len(route.logged) <= FEW:
        wanted = sorted(path.rstrip("/") or "/" for path in route.logged)
    changes = moved(pools, wanted, to)
    if changes is None:
        return Advice(route, "", f"{why}, and no path tells it from others: give it one of its own")
    others = [
        other
        for other in routes
        if other is not route
        and other.pool == route.pool
        and other.pattern
        and any(within(fixed_part(other.pattern), path) for path in wanted)
    ]
    return Advice(route, to, why, changes, others)


def seconds(value: float) -> str:
    """Return a time as a person would write it."""
    if value >= 1:
        return f"{value:.2f} s"
    return f"{value * 1000:.0f} ms" if value >= 0.01 else f"{value * 1000:.1f} ms"


def lines(
    routes: Sequence[Route],
    advices: Sequence[Advice],
    pools: Sequence[Mapping[str, Any]],
    silent: Sequence[str],
) -> Iterator[str]:
    """Yield the lines of the report."""
    rows = [["route", "handler", "pool", "requests", "in the log", "p50", "p99", "max"]]
    rows += [
        [
            route.pattern or "(none)",
            route.handler,
            route.pool,
            str(route.requests),
            str(sum(route.logged.values())),
            seconds(route.percentile(0.5)),
            seconds(route.percentile(0.99)),
            seconds(route.max),
        ]
        for route in routes
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    yield "For how long one request of each route held the event loop:"
    yield ""
    for row in rows:
        cells = [
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
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
    to_blocking = [one for one in advices if one.route.blocks and one.paths]
    if len(to_blocking) > 1:
        together = moved_together(pools, to_blocking)
        yield ""
        yield "Everything that blocks, moved at once:"
        for name, paths in together.items():
            yield f"  in pool {name}: {paths_line(paths)}"
    if routes and not advices:
        yield ""
        yield "Every route is where it belongs, as far as was measured."


def moved_together(
    pools: Sequence[Mapping[str, Any]], advices: Sequence[Advice]
) -> dict[str, list[str]]:
    """Return the `paths` of pools when all of the advice, which is for one pool, is followed."""
    to = advices[0].to
    before = {
        path.rstrip("/") or "/" for pool in pools if pool["name"] == to for path in pool["paths"]
    }
    added = sorted({path for one in advices for path in one.paths.get(to, [])} - before)
    # A path within another one that moves as well need not be named.
    wanted = [
        path for path in added if not any(path != other and within(path, other) for other in added)
    ]
    return moved(pools, wanted, to) or {}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "pools": {"type": "list", "elements": "dict", "required": True},
            "access_log": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    site, pools = module.params["site"], module.params["pools"]
    pool_of = {str(port): pool["name"] for pool in pools for port in pool["ports"]}
    layout = SystemLayout(site)
    answers = all_routes(
        {port: layout.private(layout.service(port), "control") for port in pool_of}
    )
    routes = merge((pool_of[port], said) for port, said in answers.items() if said)
    log = Path(module.params["access_log"])
    for file in (log.with_name(f"{log.name}.1"), log):
        if file.exists():
            with file.open(errors="replace") as text:
                text.seek(max(0, file.stat().st_size - LOG_BYTES))
                count_logged(routes, read_log(text), pool_of)
    routes.sort(key=lambda route: (-route.percentile(0.99), route.pattern))
    advices = advise(routes, pools)
    silent = [port for port, said in answers.items() if said is None]
    module.exit_json(
        changed=False,
        routes=[route.to_json() for route in routes],
        advice=[advice.to_json() for advice in advices],
        silent=silent,
        lines=list(lines(routes, advices, pools, silent)),
    )


if __name__ == "__main__":
    main()
