"""Distances on the globe, and the projection that puts a place on the map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import asin, atan2, cos, degrees, hypot, pi, radians, sin, sqrt

EARTH_RADIUS_KM = 6371.0088

MAP_WIDTH = 1000.0
MAP_HEIGHT = 486.7

# Equal Earth (Šavrič, Patterson, Jenny 2018): areas keep their proportions, and it is a polynomial.
_A1, _A2, _A3, _A4 = 1.340264, -0.081106, 0.000893, 0.003796
_M = sqrt(3) / 2
_X_MAX, _Y_MAX = 2.706630, 1.317363


def great_circle_km(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Return the shortest way over the globe between two places.

    Args:
        a: latitude and longitude in degrees.
        b: the same of the other place.

    Returns:
        Kilometres.
    """
    (lat_a, lon_a), (lat_b, lon_b) = a, b
    phi_a, phi_b = radians(lat_a), radians(lat_b)
    haversine = (
        sin((phi_b - phi_a) / 2) ** 2
        + cos(phi_a) * cos(phi_b) * sin(radians(lon_b - lon_a) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(haversine)))


def project(latitude: float, longitude: float) -> tuple[float, float]:
    """Return where a place (degrees) lies on the map, x from the left and y from the top.

    The map is `MAP_WIDTH` by `MAP_HEIGHT` units, the Equal Earth projection of the whole globe.
    """
    theta = asin(_M * sin(radians(latitude)))
    square = theta * theta
    power6 = square**3
    x = (
        radians(longitude)
        * cos(theta)
        / (_M * (_A1 + 3 * _A2 * square + power6 * (7 * _A3 + 9 * _A4 * square)))
    )
    y = theta * (_A1 + _A2 * square + power6 * (_A3 + _A4 * square))
    return (
        round((x / _X_MAX + 1) * MAP_WIDTH / 2, 1),
        round((1 - y / _Y_MAX) * MAP_HEIGHT / 2, 1),
    )


def svg_path(places: Sequence[tuple[float, float]]) -> str:
    """Return SVG path data for the way through `places` (degrees), each leg along the globe.

    Where the way crosses the map's edge, the line ends there and goes on at the other side.
    """
    commands: list[str] = []
    previous_longitude: float | None = None
    for a, b in pairwise(places):
        for latitude, longitude in _along_great_circle(a, b):
            crosses = previous_longitude is None or abs(longitude - previous_longitude) > 180
            x, y = project(latitude, longitude)
            commands.append(f"{'M' if crosses else 'L'}{x:g} {y:g}")
            previous_longitude = longitude
    return "".join(commands)


# Legs are drawn in straight pieces of about this length.
_PIECE_KM = 500.0


def _along_great_circle(
    a: tuple[float, float], b: tuple[float, float]
) -> Iterator[tuple[float, float]]:
    """Yield the places (degrees) along the shortest way from `a` to `b`, both included."""
    angle = great_circle_km(a, b) / EARTH_RADIUS_KM
    pieces = max(1, round(angle * EARTH_RADIUS_KM / _PIECE_KM))
    yield a
    if 0 < angle < pi - 1e-9:  # Between opposite points every way is the shortest.
        start, end = unit_vector(a), unit_vector(b)
        for piece in range(1, pieces):
            share = piece / pieces
            weight_a, weight_b = sin((1 - share) * angle), sin(share * angle)
            x, y, z = (weight_a * u + weight_b * v for u, v in zip(start, end, strict=True))
            yield degrees(atan2(z, hypot(x, y))), degrees(atan2(y, x))
    yield b


def unit_vector(place: tuple[float, float]) -> tuple[float, float, float]:
    """Return the point of the unit sphere at latitude and longitude (degrees)."""
    phi, lam = radians(place[0]), radians(place[1])
    return cos(phi) * cos(lam), cos(phi) * sin(lam), sin(phi)
