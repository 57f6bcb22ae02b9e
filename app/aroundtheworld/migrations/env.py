"""Alembic's entry: runs the migrations over the connection that `db.migrate` hands it."""

from __future__ import annotations

from alembic import context

from aroundtheworld.db.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite alters a table by making a new table; Alembic's batch mode does so.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
