"""Queries about the reports that were run."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from aroundtheworld.analysis import Report
from aroundtheworld.clock import now_ms
from aroundtheworld.db.engine import Row
from aroundtheworld.db.schema import reports


def add(connection: sa.Connection, kind: str, duration_ms: int, content: Report) -> int:
    """Keep a report that took so long; return its id."""
    report_id: int = connection.execute(
        sa.insert(reports)
        .values(kind=kind, finished_at=now_ms(), duration_ms=duration_ms, content=content)
        .returning(reports.c.id)
    ).scalar_one()
    return report_id


def by_id(connection: sa.Connection, report_id: int) -> Row | None:
    """Return the report, or None."""
    return connection.execute(sa.select(reports).where(reports.c.id == report_id)).one_or_none()


def latest(connection: sa.Connection, limit: int = 50) -> Sequence[Row]:
    """Return the latest reports without their content, newest first."""
    c = reports.c
    return connection.execute(
        sa.select(c.id, c.kind, c.finished_at, c.duration_ms).order_by(c.id.desc()).limit(limit)
    ).all()
