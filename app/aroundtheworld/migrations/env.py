"""Alembic's entry: runs the migrations on the database that the caller names."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine

engine = create_engine(context.config.attributes["database_url"])
with engine.begin() as connection:
    context.configure(connection=connection, transaction_per_migration=False)
    context.run_migrations()
