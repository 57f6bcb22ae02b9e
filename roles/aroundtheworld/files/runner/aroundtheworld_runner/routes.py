"""Which route a request took, and how long its handler held the event loop."""

import collections
import heapq
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tornado.routing import PathMatches, Router
from tornado.web import RequestHandler
from tornado.websocket import WebSocketHandler

from aroundtheworld_runner.statistics import Histogram

MOST_HANDLERS = 200  # in the metrics
BLOCK = 0.02  # seconds from which holding the loop is called blocking it


class Route:
    """A rule of the application and what its handler cost the loop.

    Attributes:
        pattern: The regular expression of the rule, without the $ that Tornado adds; "" when there
            is none.
        handler: The handler's class, with its module.
        holds: Of each request, the longest time for which it held the loop without a pause, because
            that is how long all others had to wait. Of a WebSocket, every such time.
        blocked: Seconds in all of those that were blocks.
    """

    __slots__ = ("blocked", "handler", "holds", "pattern", "websocket")

    def __init__(self, pattern: str, handler: str, websocket: bool) -> None:
        """Begin at zero."""
        self.pattern = pattern
        self.handler = handler
        self.websocket = websocket
        self.holds = Histogram()
        self.blocked = 0.0

    def add(self, seconds: float) -> None:
        """Count a request that held the loop for so long."""
        self.holds.add(seconds)
        if seconds >= BLOCK:
            self.blocked += seconds

    def to_json(self) -> dict[str, Any]:
        """Describe it."""
        return {
            "route": self.pattern,
            "handler": self.handler,
            "websocket": self.websocket,
            "blocked_seconds": round(self.blocked, 6),
            "holds": {**self.holds.describe(), "max": round(self.holds.max, 6)},
        }


class Routes:
    """All routes that got requests. The event loop feeds them; any thread may read them."""

    def __init__(self, release: str | None) -> None:
        """Take the release that runs: what another release measured is not restored."""
        self._release = release
        self._since = time.time()
        self._all: dict[tuple[str, str], Route] = {}
        self._by_class: dict[type[RequestHandler], Route] = {}
        self._by_path: dict[type[RequestHandler], list[tuple[re.Pattern[str], Route]]] = {}

    def of(self, handler: RequestHandler) -> Route:
        """Return the route that led to this handler."""
        # Nearly every class is the target of a single rule; then no path is matched again.
        return self._by_class.get(type(handler)) or self._find(handler)

    def _find(self, handler: RequestHandler) -> Route:
        target = type(handler)
        if target not in self._by_path:
            rules = list(_rules(handler.application.default_router, target))
            if len(rules) < 2:
                pattern = rules[0].pattern if rules else ""
                return self._by_class.setdefault(target, self._route(pattern, target))
            self._by_path[target] = [(rule, self._route(rule.pattern, target)) for rule in rules]
        path = handler.request.path
        matching = (route for rule, route in self._by_path[target] if rule.match(path))
        return next(matching, None) or self._route("", target)

    def _route(self, pattern: str, target: type[RequestHandler]) -> Route:
        name = f"{target.__module__}.{target.__qualname__}"
        return self._named(pattern.removesuffix("$"), name, issubclass(target, WebSocketHandler))

    def outside(self, function: str) -> Route:
        """Return the entry of a function that was not called by a request, as far as is known."""
        return self._named("", function)

    def _named(self, pattern: str, handler: str, websocket: bool = False) -> Route:
        return self._all.setdefault((pattern, handler), Route(pattern, handler, websocket))

    def seen(self) -> list[Route]:
        """Return the routes that got requests."""
        return [route for route in self._all.copy().values() if route.holds.sum or route.blocked]

    def blocked(self) -> list[tuple[dict[str, str], float]]:
        """Return the seconds in blocks of the worst handlers, as samples of a metric.

        A reader takes a limited number of bytes, and Prometheus keeps each sample for long.
        """
        seconds: dict[str, float] = collections.defaultdict(float)
        for route in self.seen():
            if route.blocked:
                seconds[route.handler] += route.blocked
        worst = heapq.nlargest(MOST_HANDLERS, seconds.items(), key=lambda item: item[1])
        return [({"handler": handler}, count) for handler, count in sorted(worst)]

    def to_json(self) -> dict[str, Any]:
        """Describe them all."""
        return {
            "release": self._release,
            "since": round(self._since, 3),
            "routes": [route.to_json() for route in self.seen()],
        }

    def save(self, path: Path, cut: tuple[Route, float] | None = None) -> None:
        """Write them to a file, for `restore` after a restart.

        Args:
            path: Of the file.
            cut: The route of a request that does not come to its end, and how long that has held
                the loop.
        """
        saved = self.to_json()
        if cut:
            copy = Routes(self._release)
            copy._add(saved)
            route, seconds = cut
            copy._named(route.pattern, route.handler, route.websocket).add(seconds)
            saved = {**copy.to_json(), "since": saved["since"]}
        beside = path.with_name(f"{path.name}.new")
        beside.write_text(json.dumps(saved))
        beside.replace(path)

    def restore(self, path: Path) -> None:
        """Go on from what an earlier process of the same release saved.

        What another release saved is ignored, and so is what cannot be read.
        """
        try:
            saved = json.loads(path.read_text())
            if saved["release"] == self._release:
                self._add(saved)
        except (OSError, ValueError, KeyError, TypeError):
            return

    def _add(self, saved: dict[str, Any]) -> None:
        for entry in saved["routes"]:
            route = Route(entry["route"], entry["handler"], entry["websocket"])
            holds = entry["holds"]
            route.holds.restore(holds["buckets"], holds["sum"], holds["max"])
            route.blocked = entry["blocked_seconds"]
            self._all[route.pattern, route.handler] = route
        self._since = saved["since"]


def _rules(
    router: object, target: type[RequestHandler], outer: re.Pattern[str] | None = None
) -> Iterator[re.Pattern[str]]:
    """Yield the patterns of the rules that lead to a class of handlers, in nested routers too."""
    for rule in getattr(router, "rules", ()):
        matcher = rule.matcher
        pattern = matcher.regex if isinstance(matcher, PathMatches) else outer
        if rule.target is target:
            if pattern is not None:
                yield pattern
        elif isinstance(rule.target, Router):
            # An application inside another is a router whose rules are in its default router.
            inner = getattr(rule.target, "default_router", rule.target)
            yield from _rules(inner, target, pattern)
