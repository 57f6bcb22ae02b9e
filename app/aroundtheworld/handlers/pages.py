"""Pages that need nothing but the world."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import NamedTuple

from tornado import web

from aroundtheworld.geo import MAP_HEIGHT, MAP_WIDTH
from aroundtheworld.handlers.base import BaseHandler
from aroundtheworld.world import CONTINENTS


class HomeHandler(BaseHandler):
    """The first page: what this is, and a button to begin."""

    def get(self) -> None:
        """Show it."""
        self.render(
            "home.html",
            dots=[
                self.application.city_positions[country.capital.id]
                for country in self.application.world.countries
            ],
            countries=len(self.application.world.countries),
            cities=len(self.application.world.by_city_id),
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

    async def get(self, slug: str) -> None:
        """Show it, or 404."""
        world = self.application.world
        country = world.by_slug.get(slug)
        if country is None:
            raise web.HTTPError(HTTPStatus.NOT_FOUND)
        positions = self.application.city_positions
        neighbours = [world.by_code[code] for code in country.neighbours]
        self.render(
            "country.html",
            country=country,
            neighbours=neighbours,
            view=map_view(
                [positions[city.id] for place in (country, *neighbours) for city in place.cities]
            ),
            dots=[(*positions[city.id], city) for city in country.cities],
            known=await self.application.facts.about(country),
            source=self.application.facts.source,
        )


class MapView(NamedTuple):
    """The part of the map to show, in its units."""

    x: float
    y: float
    width: float
    height: float


# Nearer than this the land's outline is too coarse to look at.
NARROWEST_VIEW = 160.0


def map_view(points: Sequence[tuple[float, float]]) -> MapView:
    """Return the part of the map that shows `points` (x and y) with room around them."""
    (left, right), (top, bottom) = (
        (min(values), max(values)) for values in zip(*points, strict=True)
    )
    shape = MAP_WIDTH / MAP_HEIGHT
    width = max(right - left, (bottom - top) * shape) * 1.3
    width = min(max(width, NARROWEST_VIEW), MAP_WIDTH)
    height = width / shape
    # Centred, but not beyond the edge of the map.
    x = min(max((left + right - width) / 2, 0.0), MAP_WIDTH - width)
    y = min(max((top + bottom - height) / 2, 0.0), MAP_HEIGHT - height)
    return MapView(round(x, 1), round(y, 1), round(width, 1), round(height, 1))
