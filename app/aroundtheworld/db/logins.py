"""Limits how often a password may be guessed."""

from __future__ import annotations

import sqlalchemy as sa

from aroundtheworld.clock import now_ms
from aroundtheworld.db.schema import failed_logins

WINDOW_MS = 10 * 60 * 1000

# Counted by address, so that nobody can lock somebody else out by guessing from afar.
MOST_FOR_ONE_NAME = 5
MOST_FROM_ONE_ADDRESS = 30


def allowed(connection: sa.Connection, address: str, name: str) -> bool:
    """Say whether somebody at `address` may try a password for `name` now."""
    failures = failed_logins.c
    from_address, for_name = connection.execute(
        sa.select(sa.func.count(), sa.func.count(sa.case((failures.name == name, 1)))).where(
            failures.address == address, failures.failed_at > now_ms() - WINDOW_MS
        )
    ).one()
    return bool(from_address < MOST_FROM_ONE_ADDRESS and for_name < MOST_FOR_ONE_NAME)


def failed(connection: sa.Connection, address: str, name: str) -> None:
    """Remember that a password did not fit, and forget what counts no more."""
    now = now_ms()
    connection.execute(sa.delete(failed_logins).where(failed_logins.c.failed_at <= now - WINDOW_MS))
    connection.execute(sa.insert(failed_logins).values(address=address, name=name, failed_at=now))
