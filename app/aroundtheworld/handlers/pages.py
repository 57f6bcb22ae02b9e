"""Pages that need nothing but the world."""

from __future__ import annotations

from http import HTTPStatus

from tornado import web

from aroundtheworld.geo import project
from aroundtheworld.handlers.base import BaseHandler
from aroundtheworld.quiz import QUESTIONS_PER_ROUND
from aroundtheworld.world import CONTINENTS


class HomeHandler(BaseHandler):
    """The first page: what this is, and a button to begin."""

    def get(self) -> None:
        """Show it."""
        self.render(
            "home.html",
            dots=self.application.capital_dots,
            countries=len(self.application.world.countries),
            questions=QUESTIONS_PER_ROUND,
        )


class CountriesHandler(BaseHandler):
    """All countries by continent."""

    def get(self) -> None:
        """Show them."""
        self.render(
            "countries.html",
            continents=[
                (name, self.application.world.on(code)) for code, name in CONTINENTS.items()
            ],
        )


class CountryHandler(BaseHandler):
    """One country."""

    def get(self, slug: str) -> None:
        """Show it, or 404."""
        world = self.application.world
        country = world.by_slug.get(slug)
        if country is None:
            raise web.HTTPError(HTTPStatus.NOT_FOUND)
        self.render(
            "country.html",
            country=country,
            neighbours=[world.by_code[code] for code in country.neighbours],
            dots=[(*project(*city.position), city) for city in country.cities],
        )


class PingHandler(BaseHandler):
    """Answers at once: no database, no cookie. What it costs is what the framework costs."""

    def get(self) -> None:
        """Say that this worker answers."""
        self.write({"ping": "pong"})
