"""Which route a request took, and how long its handler held up the event loop."""

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

MOST_HANDLERS = 200  # of which metrics tell
BLOCK = 0.02  # seconds from which holding the loop is called blocking it


class Route:
    """A rule of the application and what its handler cost the loop.

    Attributes:
        pattern: The regular expression of the rule, without the $ that Tornado adds; "" when there
            is none.
        handler: The handler's class, with its module.
        holds: Of each request, the longest time for which it held the loop in one go, because
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
        """Count a request that held the loop once."""
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
    """All routes that were asked for. Fed by the event loop; may be read by any thread."""

    def __init__(self, release: str | None) -> None:
        """Take the release that is running, which says whose history is worth keeping."""
        self._release = release
        self._since = time.time()
        self._all: dict[tuple[str, str], Route] = {}
        self._by_class: dict[type[RequestHandler], Route] = {}
        self._by_path: dict[type[RequestHandler], list[tuple[re.Pattern[str], Route]]] = {}

    def of(self, handler: RequestHandler) -> Route:
        """Return the route that led to this handler."""
        # Nearly every class is the target of one rule only; then nothing is matched again.
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
        """Return what stands for a function that no request was seen to call."""
        return self._named("", function)

    def _named(self, pattern: str, handler: str, websocket: bool = False) -> Route:
        return self._all.setdefault((pattern, handler), Route(pattern, handler, websocket))

    def seen(self) -> list[Route]:
        """Return the routes that were asked for."""
        return [one for one in self._all.copy().values() if one.holds.sum or one.blocked]

    def blocked(self) -> list[tuple[dict[str, str], float]]:
        """Return the seconds in blocks by handler, as samples of a metric; of the worst ones.

        Whoever asks reads a limited number of bytes, and Prometheus keeps each for long.
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
            path: Where.
            cut: A request whose end will not be seen, and how long it has held the loop.
        """
        said = self.to_json()
        if cut:
            copy = Routes(self._release)
            copy._add(said)
            copy._named(cut[0].pattern, cut[0].handler, cut[0].websocket).add(cut[1])
            said = {**copy.to_json(), "since": said["since"]}
        beside = path.with_name(f"{path.name}.new")
        beside.write_text(json.dumps(said))
        beside.replace(path)

    def restore(self, path: Path) -> None:
        """Go on from where an earlier process with the same release was.

        Of another release it says nothing about this one, and what cannot be read is forgotten.
        """
        try:
            said = json.loads(path.read_text())
            if said["release"] == self._release:
                self._add(said)
        except (OSError, ValueError, KeyError, TypeError):
            return

    def _add(self, said: dict[str, Any]) -> None:
        for one in said["routes"]:
            route = Route(one["route"], one["handler"], one["websocket"])
            holds = one["holds"]
            route.holds.restore(holds["buckets"], holds["sum"], holds["max"])
            route.blocked = one["blocked_seconds"]
            self._all[route.pattern, route.handler] = route
        self._since = said["since"]


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
            # An application inside another one is a router that keeps its rules in another one.
            inner = getattr(rule.target, "default_router", rule.target)
            yield from _rules(inner, target, pattern)
