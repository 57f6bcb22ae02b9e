"""A PostgreSQL server, for what only a real one shows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The game's tests have the server, and only they are in a package of that name.
sys.path.append(str(Path(__file__).parents[3] / "app" / "tests"))

from postgres_server import PostgresServer, serve  # type: ignore[import-not-found] # not of mypy's path


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Return a server; it takes two seconds to start, so all tests share it."""
    with serve() as server:
        yield server
