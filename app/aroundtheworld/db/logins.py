"""Limits how often a password may be guessed."""

from __future__ import annotations

import sqlalchemy as sa

from aroundtheworld.clock import now_ms
from aroundtheworld.db.schema import failed_logins

WINDOW_MS = 10 * 60 * 1000

# Counted by address, so that nobody can lock somebody else out by guessing from afar.
MOST_FOR_ONE_NAME = 5
MOST_FROM_ONE_ADDRESS = 30

# The first half of a PostgreSQL advisory lock's key; the second is made from the address.
POSTGRES_LOCK = 1873


def allowed(connection: sa.Connection, address: str, name: str) -> bool:
    """Say whether somebody at `address` may try a password for `name` now."""
    failures = failed_logins.c
    from_address, for_name = connection.execute(
        sa.select(sa.func.count(), sa.func.count(sa.case((failures.name == name, 1)))).where(
            failures.address == address, failures.failed_at > now_ms() - WINDOW_MS
        )
    ).one()
    return bool(from_address < MOST_FROM_ONE_ADDRESS and for_name < MOST_FOR_ONE_NAME)


def begin(connection: sa.Connection, address: str, name: str) -> int | None:
    """Count an attempt to log in before its password is checked, and forget old ones.

    An attempt counts as failed until `succeeded` is called. If it were counted only once its
    password is known to be wrong, any number of guesses sent at once would all be tried.

    Args:
        connection: in a write transaction.
        address: where the attempt comes from.
        name: a normalised name, or an empty text.

    Returns:
        The attempt's id, or None if there have been too many.
    """
    if connection.dialect.name == "postgresql":
        # SQLite has a single writer at a time. In PostgreSQL, two transactions that count at once
        # would not see each other's attempt.
        lock = sa.func.pg_advisory_xact_lock(POSTGRES_LOCK, sa.func.hashtext(address))
        connection.execute(sa.select(lock))
    if not allowed(connection, address, name):
        return None
    now = now_ms()
    connection.execute(sa.delete(failed_logins).where(failed_logins.c.failed_at <= now - WINDOW_MS))
    insert = sa.insert(failed_logins).values(address=address, name=name, failed_at=now)
    attempt: int = connection.execute(insert.returning(failed_logins.c.id)).scalar_one()
    return attempt


def succeeded(connection: sa.Connection, attempt: int) -> None:
    """Stop counting an attempt: its password was right."""
    connection.execute(sa.delete(failed_logins).where(failed_logins.c.id == attempt))
