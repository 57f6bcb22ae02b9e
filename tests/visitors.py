"""Visitors of the game who read and write at a constant rate, for scenarios."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from testinfra.host import Host

from bench.open_loop import OpenLoop, Request, Result
from tests.matrix import MEASURED

DATABASE = "/var/lib/tornado/aroundtheworld/shared/aroundtheworld.db"
READS = ("/", "/api/ping", "/countries", "/leaderboard")
WRITE = Request("/api/rounds", "POST", b"{}", {"Content-Type": "application/json"})
SERVED = {*((path, "200") for path in READS), (WRITE.path, "201")}
"""Each path with the status that it has on a site that serves."""


def rows_on(host: Host) -> set[str]:
    """Return the ids of the rows that visitors wrote, as the database of a site has them."""
    query = "sqlite3.connect(sys.argv[1]).execute('select id from rounds')"
    code = f"import sqlite3, sys; print(*(id for id, in {query}))"
    return set(host.check_output("python3 -c %s %s", code, DATABASE).split())


class Visits:
    """The requests of visitors, of which one in five writes a row."""

    def __init__(self) -> None:
        """Begin with none."""
        self.results: list[Result] = []

    def outcomes(self, begun: float = 0, ended: float = float("inf")) -> set[tuple[str, str]]:
        """Return the paths with what became of them, of requests due in a time (monotonic)."""
        return {(each.request.path, each.outcome) for each in self._due(begun, ended)}

    def p99(self, spans: Iterable[tuple[float, float]]) -> float:
        """Return the seconds that 99 of 100 requests due in one of these times took at most."""
        seconds = sorted(each.seconds for span in spans for each in self._due(*span))
        return seconds[int(0.99 * len(seconds))]

    def written(self, before: float = float("inf")) -> set[str]:
        """Return the ids of the rows of which the visitors knew before a moment (monotonic)."""
        return {
            str(json.loads(each.body)["id"])
            for each in self.results
            if each.request is WRITE and each.outcome == "201" and each.due + each.seconds < before
        }

    def _due(self, begun: float, ended: float) -> Iterator[Result]:
        return (each for each in self.results if begun <= each.due < ended)


@contextmanager
def visiting(http: str, rate: float) -> Iterator[Visits]:
    """Have visitors come to a site during the block, whatever becomes of their requests.

    Args:
        http: The site's URL.
        rate: Requests a second.
    """
    visits, site = Visits(), urlsplit(http)
    loop = OpenLoop(site.hostname or "", site.port or 80, visits.results.append)
    load = itertools.cycle([WRITE, *map(Request, READS)])
    with loop.running(rate, load, first=MEASURED):
        yield visits
