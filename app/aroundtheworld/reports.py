"""Reports for the admin side. Plain computation: slow when there is much to compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import asin

from aroundtheworld.geo import EARTH_RADIUS_KM, unit_vector

Matrix = list[list[float]]


@dataclass(frozen=True, slots=True)
class Tour:
    """A round trip.

    Attributes:
        order: indexes of the places in the order of the visit; the trip ends where it began.
        length_km: of the whole trip.
        first_length_km: of the best trip that always went to the nearest place, before it was
            improved.
    """

    order: list[int]
    length_km: float
    first_length_km: float


def grand_tour(places: Sequence[tuple[float, float]], starts: int = 1) -> Tour:
    """Return a short round trip through all places.

    From each of `starts` places, always go on to the nearest place left; then improve that trip, by
    turning stretches of it round and by moving places elsewhere, until nothing helps. The best is
    returned. Its cost grows with `starts`, and with at least the square of the places.

    Args:
        places: latitude and longitude in degrees.
        starts: how many beginnings to try, at most as many as places.

    Raises:
        ValueError: there are fewer than three places, or no start.
    """
    if len(places) < 3:
        raise ValueError(f"a round trip needs at least 3 places, not {len(places)}")
    if not 1 <= starts <= len(places):
        raise ValueError(f"starts is {starts}, but must be from 1 to {len(places)}")
    distance = distances(places)
    best: list[int] = []
    best_length = shortest_first = float("inf")
    for k in range(starts):
        order = nearest_neighbour(distance, start=k * len(places) // starts)
        shortest_first = min(shortest_first, tour_length(distance, order))
        improve(distance, order)
        length = tour_length(distance, order)
        if length < best_length:
            best, best_length = order, length
    return Tour(best, best_length, shortest_first)


def distances(places: Sequence[tuple[float, float]]) -> Matrix:
    """Return the great-circle kilometres between all places."""
    points = [unit_vector(place) for place in places]
    return [
        [
            # The chord between two points of the unit sphere is at most 2; rounding may exceed it.
            2
            * EARTH_RADIUS_KM
            * asin(min(1.0, ((x - u) ** 2 + (y - v) ** 2 + (z - w) ** 2) ** 0.5 / 2))
            for u, v, w in points
        ]
        for x, y, z in points
    ]


def tour_length(distance: Matrix, order: Sequence[int]) -> float:
    """Return the kilometres of the round trip."""
    return sum(distance[order[i - 1]][order[i]] for i in range(len(order)))


def nearest_neighbour(distance: Matrix, start: int) -> list[int]:
    """Return a round trip from `start` that always goes on to the nearest place left."""
    left = set(range(len(distance))) - {start}
    order = [start]
    while left:
        row = distance[order[-1]]
        nearest = min(left, key=row.__getitem__)
        left.remove(nearest)
        order.append(nearest)
    return order


def improve(distance: Matrix, order: list[int]) -> None:
    """Shorten the round trip in place until neither way of doing so helps any more."""
    while _turn_stretches(distance, order) or _move_places(distance, order):
        pass


# A gain below this (kilometres) is rounding; taking it might go on for ever.
_LEAST_GAIN = 1e-6


def _turn_stretches(distance: Matrix, order: list[int]) -> bool:
    """Turn round each stretch whose turning shortens the trip (2-opt); say whether any did."""
    improved = False
    size = len(order)
    for i in range(size - 2):
        a, b = order[i], order[i + 1]
        from_a, from_b, a_to_b = distance[a], distance[b], distance[a][b]
        # The last stretch must not end at the place before the first.
        for j in range(i + 2, size if i else size - 1):
            c = order[j]
            d = order[j + 1 - size]
            if from_a[c] + from_b[d] < a_to_b + distance[c][d] - _LEAST_GAIN:
                order[i + 1 : j + 1] = order[j:i:-1]
                improved = True
                b = order[i + 1]
                from_b, a_to_b = distance[b], distance[a][b]
    return improved


def _move_places(distance: Matrix, order: list[int]) -> bool:
    """Move each place to where it costs less (or-opt); say whether any was moved."""
    improved = False
    for place in list(order):
        at = order.index(place)
        before, after = order[at - 1], order[at + 1 - len(order)]
        row = distance[place]
        saved = row[before] + row[after] - distance[before][after]
        rest = order[:at] + order[at + 1 :]
        cost, best = min(
            (row[rest[k - 1]] + row[rest[k]] - distance[rest[k - 1]][rest[k]], k)
            for k in range(len(rest))
        )
        if cost < saved - _LEAST_GAIN:
            rest.insert(best, place)
            order[:] = rest
            improved = True
    return improved
