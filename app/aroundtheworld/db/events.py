"""What lately happened, for the live feed: a short list that every worker can read."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from aroundtheworld.clock import now_ms
from aroundtheworld.db.engine import Row
from aroundtheworld.db.schema import events, journeys, players

ARRIVED = "arrived"
WON = "won"
# So many are kept; older ones are nobody's news.
KEPT = 1000


def add(connection: sa.Connection, kind: str, player_id: int, score: int | None = None) -> None:
    """Tell that something happened to a player, where they are now.

    Args:
        connection: in the transaction that makes it happen.
        kind: `ARRIVED` or `WON`.
        player_id: to whom.
        score: right answers of the round that was won.
    """
    of_player = players.c.id == player_id
    event_id: int = connection.execute(
        sa.insert(events)
        .from_select(
            ["kind", "player_name", "city_id", "score", "happened_at"],
            sa.select(
                sa.literal(kind),
                players.c.name,
                journeys.c.city_id,
                sa.literal(score, sa.Integer),
                sa.literal(now_ms(), sa.BigInteger),
            )
            .join(journeys, journeys.c.player_id == players.c.id)
            .where(of_player),
        )
        .returning(events.c.id)
    ).scalar_one()
    connection.execute(sa.delete(events).where(events.c.id <= event_id - KEPT))


def after(connection: sa.Connection, event_id: int) -> Sequence[Row]:
    """Return the events with higher ids, in order."""
    return connection.execute(
        sa.select(events).where(events.c.id > event_id).order_by(events.c.id)
    ).all()


def latest(connection: sa.Connection, count: int) -> Sequence[Row]:
    """Return the last events, in order."""
    newest = sa.select(sa.func.max(events.c.id)).scalar_subquery()
    return connection.execute(
        sa.select(events).where(events.c.id > newest - count).order_by(events.c.id)
    ).all()
