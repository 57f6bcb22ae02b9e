"""What things earn and cost. Pure: no database, no clock, no requests."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from aroundtheworld.geo import great_circle_km
from aroundtheworld.world import City, Country, World

# A right answer earns this, and a coin more for every second that was left of the first ten.
COINS_FOR_RIGHT = 10
SECONDS_WITH_BONUS = 10

BOARDING_COINS = 5
KM_PER_COIN = 50


def coins_for(right: bool, milliseconds: int) -> int:
    """Return what an answer earns.

    Args:
        right: whether it was right; a wrong one earns nothing.
        milliseconds: between asking and answering, by the server's clock.
    """
    if not right:
        return 0
    seconds = max(0, milliseconds) // 1000
    return COINS_FOR_RIGHT + max(0, SECONDS_WITH_BONUS - seconds)


def fare(km: float) -> int:
    """Return the coins that a flight of `km` kilometres costs; more for a longer one."""
    return BOARDING_COINS + round(km / KM_PER_COIN)


@dataclass(frozen=True, slots=True)
class Flight:
    """A way one could go.

    Attributes:
        country: where it leads.
        city: the city in it.
        km: how far that is.
        fare: coins it costs.
    """

    country: Country
    city: City
    km: float
    fare: int


def flight(start: City, country: Country, city: City) -> Flight:
    """Return the flight from `start` to `city`, which is in `country`."""
    km = great_circle_km(start.position, city.position)
    return Flight(country, city, km, fare(km))


# Costs a millisecond or two; the places that most players are in fit, and 3 MB are enough.
@lru_cache(maxsize=64)
def flights_from(world: World, start: City) -> tuple[Flight, ...]:
    """Return the flights from `start` to every other city, the cheapest first."""
    flights = [flight(start, country, city) for country, city in world.cities() if city != start]
    flights.sort(key=lambda f: f.km)
    return tuple(flights)
