"""Queries about where players are, what they own and where they flew."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from aroundtheworld.clock import now_ms
from aroundtheworld.db import events
from aroundtheworld.db.engine import Row, insert
from aroundtheworld.db.schema import flights, journeys, players


def by_player(connection: sa.Connection, player_id: int) -> Row | None:
    """Return the player's journey (city_id, coins, earned, km), or None before the first round."""
    return connection.execute(
        sa.select(journeys).where(journeys.c.player_id == player_id)
    ).one_or_none()


def begin(connection: sa.Connection, player_id: int, city_id: int) -> None:
    """Put the player into a city, with empty pockets, unless they are somewhere already."""
    connection.execute(
        insert(connection, journeys)
        .values(player_id=player_id, city_id=city_id)
        .on_conflict_do_nothing()
    )


def earn(connection: sa.Connection, player_id: int, coins: int) -> None:
    """Give the player coins."""
    connection.execute(
        sa.update(journeys)
        .where(journeys.c.player_id == player_id)
        .values(coins=journeys.c.coins + coins, earned=journeys.c.earned + coins)
    )


def fly(
    connection: sa.Connection, player_id: int, start: int, end: int, km: float, fare: int
) -> bool:
    """Fly from the city `start` to the city `end`, and pay.

    Nothing happens, and False is returned, unless the player is in `start` and has the coins: so
    a form that is sent twice, or from two windows, flies once and coins never go negative.
    """
    flown = connection.execute(
        sa.update(journeys)
        .where(
            journeys.c.player_id == player_id,
            journeys.c.city_id == start,
            journeys.c.coins >= fare,
        )
        .values(city_id=end, coins=journeys.c.coins - fare, km=journeys.c.km + round(km))
    ).rowcount
    if not flown:
        return False
    connection.execute(
        sa.insert(flights).values(
            player_id=player_id,
            from_city_id=start,
            to_city_id=end,
            km=round(km),
            fare=fare,
            flown_at=now_ms(),
        )
    )
    events.add(connection, events.ARRIVED, player_id)
    return True


def leaders(connection: sa.Connection, limit: int = 20) -> Sequence[Row]:
    """Return who earned most, first the most: player_id, name (None for a guest), earned, km."""
    return connection.execute(
        sa.select(journeys.c.player_id, players.c.name, journeys.c.earned, journeys.c.km)
        .join(players, players.c.id == journeys.c.player_id)
        .where(journeys.c.earned > 0)
        .order_by(journeys.c.earned.desc())
        .limit(limit)
    ).all()


def latest_flights(connection: sa.Connection, player_id: int, limit: int = 50) -> Sequence[Row]:
    """Return the player's latest flights, newest first."""
    return connection.execute(
        sa.select(flights)
        .where(flights.c.player_id == player_id)
        .order_by(flights.c.id.desc())
        .limit(limit)
    ).all()
