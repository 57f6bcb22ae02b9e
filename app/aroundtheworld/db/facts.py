"""What the outside service knows about countries, and when the last request to it was."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from aroundtheworld.clock import now_ms
from aroundtheworld.db.engine import Row, insert
from aroundtheworld.db.schema import country_facts


def about(connection: sa.Connection, code: str) -> Row | None:
    """Return `content`, `fetched_at` (both None before the first answer) and `tried_at`."""
    c = country_facts.c
    query = sa.select(c.content, c.fetched_at, c.tried_at).where(c.country == code)
    return connection.execute(query).one_or_none()


def begin_fetch(connection: sa.Connection, code: str, pause_ms: int) -> bool:
    """Tell whether the caller may send a request to the service now.

    Of all workers that want to, a single worker may, and then none for `pause_ms`: a service that
    is down or slow does not get a request for every visitor.
    """
    now = now_ms()
    done = connection.execute(
        insert(connection, country_facts)
        .values(country=code, tried_at=now)
        .on_conflict_do_update(
            index_elements=[country_facts.c.country],
            set_={"tried_at": now},
            where=country_facts.c.tried_at <= now - pause_ms,
        )
        .returning(country_facts.c.country)
    )
    return done.first() is not None


def keep(connection: sa.Connection, code: str, content: Mapping[str, object]) -> None:
    """Keep what the service has just answered."""
    connection.execute(
        sa.update(country_facts)
        .where(country_facts.c.country == code)
        .values(content=content, fetched_at=now_ms())
    )
