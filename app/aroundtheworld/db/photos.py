"""Queries about the photos of cities."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from aroundtheworld.clock import now_ms
from aroundtheworld.db.engine import Row
from aroundtheworld.db.schema import photos

PER_PAGE = 24


def of_city(connection: sa.Connection, city_id: int, limit: int = 6) -> Sequence[Row]:
    """Return the latest photos of a city, newest first."""
    return connection.execute(
        sa.select(photos)
        .where(photos.c.city_id == city_id)
        .order_by(photos.c.id.desc())
        .limit(limit)
    ).all()


def count(connection: sa.Connection) -> int:
    """Return how many photos there are."""
    return connection.execute(sa.select(sa.func.count()).select_from(photos)).scalar_one()


def page(connection: sa.Connection, number: int) -> Sequence[Row]:
    """Return a page of photos, numbered from 1, newest first."""
    return connection.execute(
        sa.select(photos)
        .order_by(photos.c.id.desc())
        .limit(PER_PAGE)
        .offset((number - 1) * PER_PAGE)
    ).all()


def tokens(connection: sa.Connection) -> Sequence[tuple[int, str]]:
    """Return id and token of every photo."""
    rows = connection.execute(sa.select(photos.c.id, photos.c.token).order_by(photos.c.id))
    return [(row.id, row.token) for row in rows]


def every(connection: sa.Connection) -> Sequence[Row]:
    """Return all photos, in the order in which they were added."""
    return connection.execute(sa.select(photos).order_by(photos.c.id)).all()


def by_id(connection: sa.Connection, photo_id: int) -> Row | None:
    """Return the photo, or None."""
    return connection.execute(sa.select(photos).where(photos.c.id == photo_id)).one_or_none()


def add(
    connection: sa.Connection,
    city_id: int,
    token: str,
    caption: str,
    credit: str,
    size: tuple[int, int],
) -> None:
    """Add a photo whose files are there already; its `size` is width and height in pixels."""
    width, height = size
    connection.execute(
        sa.insert(photos).values(
            city_id=city_id,
            token=token,
            caption=caption,
            credit=credit,
            width=width,
            height=height,
            added_at=now_ms(),
        )
    )


def resize(connection: sa.Connection, photo_id: int, size: tuple[int, int]) -> None:
    """Note width and height of the largest file, in pixels."""
    width, height = size
    connection.execute(
        sa.update(photos).where(photos.c.id == photo_id).values(width=width, height=height)
    )


def delete(connection: sa.Connection, photo_id: int) -> None:
    """Delete the photo."""
    connection.execute(sa.delete(photos).where(photos.c.id == photo_id))
