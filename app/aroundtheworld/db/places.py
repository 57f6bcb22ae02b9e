"""The world's rows in the database: kept equal to this release's `data/world.json`.

Public pages read the world from memory. The rows are what other tables refer to, and what the
admin side's reports read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from aroundtheworld.db.engine import Row
from aroundtheworld.db.schema import cities, countries
from aroundtheworld.world import World


def update(connection: sa.Connection, world: World) -> int:
    """Add what `world` has and the tables lack, change what differs; return how many rows.

    Nothing is removed: rounds that were played refer to it.
    """
    changed = _make_equal(
        connection,
        countries,
        [
            {
                "code": country.code,
                "name": country.name,
                "slug": country.slug,
                "continent": country.continents[0],
                "population": country.population,
                "area_km2": float(country.area_km2),
            }
            for country in world.countries
        ],
    )
    return changed + _make_equal(
        connection,
        cities,
        [
            {
                "id": city.id,
                "country": country.code,
                "name": city.name,
                "latitude": city.latitude,
                "longitude": city.longitude,
                "population": city.population,
                "is_capital": city.capital,
            }
            for country, city in world.cities()
        ],
    )


def _make_equal(
    connection: sa.Connection, table: sa.Table, expected: Sequence[Mapping[str, Any]]
) -> int:
    (key,) = table.primary_key.columns
    existing = {row[key.name]: dict(row) for row in connection.execute(sa.select(table)).mappings()}
    new = [row for row in expected if row[key.name] not in existing]
    different = [
        row for row in expected if row[key.name] in existing and row != existing[row[key.name]]
    ]
    if new:
        connection.execute(sa.insert(table), new)
    for row in different:
        connection.execute(sa.update(table).where(key == row[key.name]).values(row))
    return len(new) + len(different)


def largest_cities(connection: sa.Connection, limit: int) -> Sequence[Row]:
    """Return the `limit` most important cities with their country's name: capitals, then by size.

    A row has id, name, country (its name), latitude, longitude, population and is_capital.
    """
    return connection.execute(
        sa.select(
            cities.c.id,
            cities.c.name,
            countries.c.name.label("country"),
            cities.c.latitude,
            cities.c.longitude,
            cities.c.population,
            cities.c.is_capital,
        )
        .join(countries, countries.c.code == cities.c.country)
        .order_by(cities.c.is_capital.desc(), cities.c.population.desc(), cities.c.id)
        .limit(limit)
    ).all()


def count_cities(connection: sa.Connection) -> int:
    """Return how many cities there are."""
    return connection.execute(sa.select(sa.func.count()).select_from(cities)).scalar_one()
