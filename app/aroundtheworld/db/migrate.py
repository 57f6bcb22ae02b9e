"""Bringing a database to this release's schema and world: once per release, never at start-up."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from aroundtheworld import world
from aroundtheworld.db import places
from aroundtheworld.db.engine import BUSY_TIMEOUT_SECONDS, create_engine

# Any number, but always the same: two that migrate at once take turns by it.
POSTGRES_LOCK = 0x61726F756E64

SCRIPTS = Path(__file__).parent.parent / "migrations"


def alembic_config(connection: sa.Connection | None = None) -> Config:
    """Return Alembic's configuration, to run over `connection`."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def newest_revision() -> str | None:
    """Return the schema's revision that this release wants."""
    return ScriptDirectory.from_config(alembic_config()).get_current_head()


def known_revisions() -> set[str]:
    """Return the schema's revisions that this release knows."""
    scripts = ScriptDirectory.from_config(alembic_config())
    return {script.revision for script in scripts.walk_revisions()}


def current_revision(connection: sa.Connection) -> str | None:
    """Return the schema's revision of the database; None for an empty database."""
    return MigrationContext.configure(connection).get_current_revision()


def migrate(url: str) -> str:
    """Bring the database at `url` to this release, and say in a sentence what that took.

    Schema and world change together or not at all (in SQLite as in PostgreSQL). A database that a
    newer release has migrated is left as it is, so that an older release can be put back:
    migrations only add, and what they add must not disturb the release before.
    """
    engine = create_engine(url)
    try:
        if engine.dialect.name == "sqlite":
            _use_write_ahead_log(engine)
        with engine.execution_options(writes=True).begin() as connection:
            if engine.dialect.name == "postgresql":
                _wait_for_other_migrations(connection)
            before, newest = current_revision(connection), newest_revision()
            if before is not None and before not in known_revisions():
                return (
                    f"The database is at revision {before}, which a newer release made;"
                    f" this release knows up to {newest}. Nothing was changed."
                )
            command.upgrade(alembic_config(connection), "head")
            changed = places.update(connection, world.load())
    finally:
        engine.dispose()
    schema = (
        f"is at revision {newest} already" if before == newest else f"now is at revision {newest}"
    )
    return f"The database {schema}; {changed} rows of the world were added or changed."


def what_to_migrate(url: str) -> str:
    """Say what `migrate` would do with the schema of the database at `url`, and write nothing."""
    scripts = ScriptDirectory.from_config(alembic_config())
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            before = current_revision(connection)
    finally:
        engine.dispose()
    newest = scripts.get_current_head()
    if before is not None and before not in known_revisions():
        return f"The database is at revision {before}, which a newer release made: nothing to do."
    if before == newest:
        return f"The database is at revision {before} already: nothing to do."
    steps = [
        f"  {script.revision}: {script.doc.splitlines()[0]}"
        for script in reversed(list(scripts.iterate_revisions(newest, before or "base")))
    ]
    return "\n".join([f"From revision {before or 'none'} to {newest}:", *steps])


def _wait_for_other_migrations(connection: sa.Connection) -> None:
    # As in SQLite, where a transaction that announces its write waits for the previous one.
    connection.execute(sa.text("SET LOCAL lock_timeout = 0"))
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(POSTGRES_LOCK)))
    # Whoever waits for a lock on a table makes everybody else wait behind them: not for long.
    connection.execute(sa.text(f"SET LOCAL lock_timeout = '{BUSY_TIMEOUT_SECONDS:.0f}s'"))


def _use_write_ahead_log(engine: sa.Engine) -> None:
    # Kept in the file, and not possible within a transaction: hence the driver's own connection.
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
