"""The world as this release knows it: countries and cities, from `data/world.json`.

It is small and never changes while a process lives, so public pages read it from memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

DATA = Path(__file__).parent / "data" / "world.json"

CONTINENTS = {
    "AF": "Africa",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "OC": "Oceania",
    "SA": "South America",
}


@dataclass(frozen=True, slots=True)
class City:
    """A place on the map.

    Attributes:
        id: GeoNames' number, which stays.
        name: in English.
        latitude: degrees north.
        longitude: degrees east.
        population: inhabitants; 0 where the source knows none.
        capital: whether it is the capital, or one of several.
    """

    id: int
    name: str
    latitude: float
    longitude: float
    population: int
    capital: bool

    @property
    def position(self) -> tuple[float, float]:
        """Latitude and longitude in degrees."""
        return self.latitude, self.longitude


@dataclass(frozen=True)
class Country:
    """A country.

    Attributes:
        code: ISO 3166 in two letters, which stays.
        name: in English.
        article: "the " if the name takes it in a sentence, else empty.
        slug: the name as it appears in addresses.
        continents: codes of `CONTINENTS`; two for a country that lies on two.
        population: inhabitants.
        area_km2: square kilometres.
        neighbours: codes of the countries that share a land border.
        cities: the capital or capitals first, then large cities by size.
    """

    code: str
    name: str
    article: str
    slug: str
    continents: tuple[str, ...]
    population: int
    area_km2: float
    neighbours: tuple[str, ...]
    cities: tuple[City, ...]

    @property
    def the_name(self) -> str:
        """The name within a sentence: 'the Netherlands'."""
        return self.article + self.name

    @property
    def sentence_start(self) -> str:
        """The name at the beginning of a sentence: 'The Netherlands'."""
        return self.article.capitalize() + self.name

    @cached_property
    def capitals(self) -> tuple[City, ...]:
        """The seats of government, nearly always a single city."""
        return tuple(city for city in self.cities if city.capital)

    @property
    def capital(self) -> City:
        """The capital; of several, the first."""
        return self.capitals[0]

    @property
    def capital_names(self) -> str:
        """The capitals in words."""
        return ", ".join(city.name for city in self.capitals)

    @property
    def continent_names(self) -> str:
        """The continents in words."""
        return " and ".join(CONTINENTS[code] for code in self.continents)


class World:
    """All countries, by name, and ways to find them."""

    def __init__(self, countries: tuple[Country, ...]) -> None:
        """Index `countries`."""
        self.countries = countries
        self.by_code = {country.code: country for country in countries}
        self.by_city_id = {city.id: (country, city) for country, city in self.cities()}
        # Wherever a journey begins, other cities are near: no lonely islands.
        self.starting_places = [
            (country, country.capital) for country in countries if len(country.neighbours) > 1
        ]
        self.by_slug = {country.slug: country for country in countries}

    def cities(self) -> Iterator[tuple[Country, City]]:
        """Yield every city with its country."""
        return ((country, city) for country in self.countries for city in country.cities)

    def on(self, continent: str) -> list[Country]:
        """Return the countries that lie on `continent`, wholly or in part."""
        return [country for country in self.countries if continent in country.continents]


@cache
def load() -> World:
    """Return the world of this release; the file is read once in a process."""
    return World(
        tuple(
            Country(
                **{
                    **country,
                    "continents": tuple(country["continents"]),
                    "neighbours": tuple(country["neighbours"]),
                    "cities": tuple(City(**city) for city in country["cities"]),
                }
            )
            for country in json.loads(DATA.read_text("utf-8"))
        )
    )
