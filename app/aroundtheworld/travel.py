"""What things earn and cost. Pure: no database, no clock, no requests."""

from __future__ import annotations

from array import array
from functools import cache
from typing import NamedTuple

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
        right: whether it was right; a wrong answer earns nothing.
        milliseconds: between asking and answering, by the server's clock.
    """
    if not right:
        return 0
    seconds = max(0, milliseconds) // 1000
    return COINS_FOR_RIGHT + max(0, SECONDS_WITH_BONUS - seconds)


def fare(km: float) -> int:
    """Return the coins that a flight of `km` kilometres costs; more for a longer flight."""
    return BOARDING_COINS + round(km / KM_PER_COIN)


class Flight(NamedTuple):
    """A flight that could be booked.

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


def flights_from(world: World, start: City) -> tuple[Flight, ...]:
    """Return the flights from `start` to every other city, the cheapest first."""
    cities = tuple(world.by_city_id.values())
    return tuple(
        Flight(*cities[index], km, fare(km))
        for index, km in zip(*_distances(world, start), strict=True)
    )


# Costs a millisecond or two for each place that somebody is in. As numbers, all of them together
# take 2 MB; as flights they were most of what the search for garbage had to look through.
@cache
def _distances(world: World, start: City) -> tuple[array[int], array[float]]:
    """Return the other cities, as indices into all, and the kilometres to each, near ones first."""
    near_first = sorted(
        (great_circle_km(start.position, city.position), index)
        for index, (_, city) in enumerate(world.by_city_id.values())
        if city != start
    )
    return (
        array("H", (index for _, index in near_first)),
        array("d", (km for km, _ in near_first)),
    )
