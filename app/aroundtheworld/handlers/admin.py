"""The admin side."""

from __future__ import annotations

import time
from http import HTTPStatus
from urllib.parse import urlencode

from tornado import web

from aroundtheworld.clock import when
from aroundtheworld.db import places, players, rounds
from aroundtheworld.geo import project, svg_path
from aroundtheworld.handlers.base import BaseHandler, NotFoundHandler
from aroundtheworld.quiz import KIND_NAMES
from aroundtheworld.reports import grand_tour

# An administrator logs in again after half a day, however often they came back meanwhile.
ADMIN_SESSION_DAYS = 0.5


class AdminHandler(BaseHandler):
    """The base of every admin page: plain blocking code, on purpose.

    These handlers are ordinary functions. They query the database, compute for as long as it takes
    and block their process meanwhile: simple to write and simple to read. That is right because a
    process of this pool serves nobody else. nginx sends it /admin and nothing else, and a worker
    of any other pool has no route to it. A slow report makes its own reader wait, and no visitor.
    """

    side = "/admin"

    def prepare(self) -> None:
        """Let administrators pass; send everybody else to the login, whatever the path."""
        self.set_header("Cache-Control", "no-store")
        if not self.is_administrator():
            query = urlencode({"next": self.request.uri})
            self.redirect(f"/admin/login?{query}", status=HTTPStatus.SEE_OTHER)

    def page_number(self) -> int:
        """Return the query's `page`, from 1; whatever is no such number is the first page."""
        text = self.get_query_argument("page", "1")
        return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 8 else 1

    def refuse(self, status: HTTPStatus, sentence: str) -> None:
        """Answer with a page that says why something was not done."""
        self.set_status(status)
        self.render("error.html", status=status.value, title=status.phrase, sentence=sentence)

    def is_administrator(self) -> bool:
        """Say whether who asks logged in lately and is an administrator now."""
        session = self.session_since(ADMIN_SESSION_DAYS)
        if session is None or not session.is_admin:
            return False
        player = self.database.read(players.by_id, session.player_id)
        return player is not None and bool(player.is_admin)


class NothingHandler(AdminHandler, NotFoundHandler):
    """Every other address below /admin: who is not logged in does not learn what is there."""

    def prepare(self) -> None:
        """Send visitors to the login, and tell administrators that there is nothing."""
        AdminHandler.prepare(self)
        if not self._finished:
            NotFoundHandler.prepare(self)


class DashboardHandler(AdminHandler):
    """What goes on."""

    def get(self) -> None:
        """Show counts, how the questions do, and the latest rounds."""
        database = self.database
        self.render(
            "admin/dashboard.html",
            totals=database.read(rounds.totals),
            kinds=database.read(rounds.by_kind),
            kind_names=KIND_NAMES,
            recent=database.read(rounds.recent),
            when=when,
            pool=self.application.config.pool,
        )


class GrandTourHandler(AdminHandler):
    """The shortest round trip through the world's cities: honest slow work.

    It computes over the rows of the database in plain Python, for a second or two as the form
    suggests, and for as long as half a minute with everything turned up.
    """

    LEAST_CITIES = 10
    MOST_STARTS = 100
    DEFAULT_STARTS = 5

    def get(self) -> None:
        """Show the form; with `?cities=N&starts=N`, compute, and show the tour."""
        database = self.database
        most_cities = database.read(places.count_cities)
        if most_cities < self.LEAST_CITIES:
            raise web.HTTPError(HTTPStatus.SERVICE_UNAVAILABLE, "no cities: was it migrated?")
        cities, starts, problem = most_cities, self.DEFAULT_STARTS, ""
        run = "cities" in self.request.arguments or "starts" in self.request.arguments
        if run:
            try:
                cities = self.number("cities", most_cities, self.LEAST_CITIES, most_cities)
                most_starts = min(cities, self.MOST_STARTS)
                starts = self.number("starts", self.DEFAULT_STARTS, 1, most_starts)
            except ValueError as error:
                problem = str(error)
                self.set_status(HTTPStatus.BAD_REQUEST)
        rows = database.read(places.largest_cities, cities) if run and not problem else []
        began = time.perf_counter()
        tour = grand_tour([(row.latitude, row.longitude) for row in rows], starts) if rows else None
        stops = [rows[i] for i in tour.order] if tour else []
        way = [(stop.latitude, stop.longitude) for stop in stops]
        self.render(
            "admin/grand_tour.html",
            cities=cities,
            starts=starts,
            least_cities=self.LEAST_CITIES,
            most_cities=most_cities,
            most_starts=self.MOST_STARTS,
            problem=problem,
            tour=tour,
            stops=stops,
            path=svg_path([*way, *way[:1]]),
            dots=[project(*place) for place in way],
            seconds=time.perf_counter() - began,
        )

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """Return the query's number; raise `ValueError` with a sentence if it will not do."""
        text = self.get_query_argument(name, str(default))
        if text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most:
            return int(text)
        raise ValueError(
            f"{name} must be a whole number from {least} to {most}, not {text[:20]!r}."
        )
