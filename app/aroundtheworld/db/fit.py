"""Whether this release can run on a database as it is, whichever release migrated it last."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from aroundtheworld.db.migrate import current_revision, known_revisions, newest_revision
from aroundtheworld.db.schema import metadata


def misfits(connection: sa.Connection) -> list[str]:
    """Return a sentence for everything that keeps this release from running on the database.

    A newer release may have added to it: what this one reads and writes must be there, and it must
    be able to add rows without knowing of what is new.
    """
    found, newest = current_revision(connection), newest_revision()
    if found is None or (found != newest and found in known_revisions()):
        return [
            f"The database is at revision {found or 'none'}, this release needs {newest}:"
            " run `python -m aroundtheworld migrate`."
        ]
    there = {
        name: {column["name"]: column for column in columns}
        for (_, name), columns in sa.inspect(connection).get_multi_columns().items()
    }
    made_by = "" if found == newest else f" (revision {found}, which a newer release made)"
    return [
        f"The database{made_by} {problem}."
        for table in metadata.sorted_tables
        for problem in _differences(table, there.get(table.name))
    ]


def _differences(table: sa.Table, columns: dict[str, Any] | None) -> Iterator[str]:
    """Yield what is wrong with a table, for after "The database"."""
    if columns is None:
        yield f"has no table {table.name}, which this release needs"
        return
    for column in table.columns:
        if column.name not in columns:
            yield f"has no column {table.name}.{column.name}, which this release needs"
    for name, column in columns.items():
        filled = column["nullable"] or column["default"] is not None
        if name not in table.columns and not (
            filled or column.get("computed") or column.get("identity")
        ):
            yield f"wants a value for {table.name}.{name}, of which this release does not know"
