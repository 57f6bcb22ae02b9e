"""Queries about who plays."""

from __future__ import annotations

import re
from collections.abc import Sequence

import sqlalchemy as sa

from aroundtheworld.clock import now_ms
from aroundtheworld.db.engine import Row
from aroundtheworld.db.schema import journeys, players, rounds

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{1,29}")
NAME_RULE = "2 to 30 of the letters a-z, digits, '-' and '_', beginning with a letter or a digit"


def normalised_name(entered: str) -> str | None:
    """Return the name as it is stored, or None if no player can have it."""
    name = entered.strip().lower()
    return name if NAME.fullmatch(name) else None


def by_id(connection: sa.Connection, player_id: int) -> Row | None:
    """Return the player, or None."""
    return connection.execute(sa.select(players).where(players.c.id == player_id)).one_or_none()


def by_name(connection: sa.Connection, name: str) -> Row | None:
    """Return the player of that (normalised) name, or None."""
    return connection.execute(sa.select(players).where(players.c.name == name)).one_or_none()


def add_guest(connection: sa.Connection) -> int:
    """Add a player without a name and return the id."""
    return _added(connection, sa.insert(players).values(created_at=now_ms()))


def add_admin(connection: sa.Connection, name: str, password_hash: str) -> int:
    """Add an administrator and return the id."""
    return _added(
        connection,
        sa.insert(players).values(
            name=name, password_hash=password_hash, is_admin=True, created_at=now_ms()
        ),
    )


def sign_up(
    connection: sa.Connection, player_id: int | None, name: str, password_hash: str
) -> int | None:
    """Give a guest a name and a password, so that their progress is kept.

    Args:
        connection: in a write transaction.
        player_id: the guest; a new player is added if it is None, unknown or has a name already.
        name: a normalised name.
        password_hash: of the password that goes with it.

    Returns:
        The player's id, or None if the name is taken.
    """
    if by_name(connection, name) is not None:
        return None
    named = connection.execute(
        sa.update(players)
        .where(players.c.id == player_id, players.c.name.is_(None))
        .values(name=name, password_hash=password_hash)
    ).rowcount
    if named and player_id is not None:
        return player_id
    return _added(
        connection,
        sa.insert(players).values(name=name, password_hash=password_hash, created_at=now_ms()),
    )


def make_admin(connection: sa.Connection, player_id: int, password_hash: str) -> None:
    """Give a player an administrator's rights and a new password."""
    connection.execute(
        sa.update(players)
        .where(players.c.id == player_id)
        .values(is_admin=True, password_hash=password_hash)
    )


PER_PAGE = 50


def _named(text: str) -> list[sa.ColumnElement[bool]]:
    return [players.c.name.icontains(text, autoescape=True)] if text else []


def count(connection: sa.Connection, text: str = "") -> int:
    """Return how many players there are whose name holds `text`. Reads the whole table."""
    query = sa.select(sa.func.count()).select_from(players).where(*_named(text))
    return connection.execute(query).scalar_one()


def page(connection: sa.Connection, text: str, number: int) -> Sequence[Row]:
    """Return a page of players, numbered from 1, the newest first; for the admin side.

    A row has id, name, is_admin and created_at, how many rounds were begun, and what the journey
    says (None before the first round): coins, earned, km.
    """
    begun = (
        sa.select(sa.func.count())
        .where(rounds.c.player_id == players.c.id)
        .scalar_subquery()
        .label("rounds")
    )
    return connection.execute(
        sa.select(
            players.c.id,
            players.c.name,
            players.c.is_admin,
            players.c.created_at,
            begun,
            journeys.c.coins,
            journeys.c.earned,
            journeys.c.km,
        )
        .outerjoin(journeys, journeys.c.player_id == players.c.id)
        .where(*_named(text))
        .order_by(players.c.id.desc())
        .limit(PER_PAGE)
        .offset((number - 1) * PER_PAGE)
    ).all()


def _added(connection: sa.Connection, insert: sa.Insert) -> int:
    player_id: int = connection.execute(insert.returning(players.c.id)).scalar_one()
    return player_id
