"""Connections, for callers that may block and for callers that may not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

P = ParamSpec("P")
T = TypeVar("T")

# How long to wait for somebody else's write, and for a server, before giving up.
BUSY_TIMEOUT_SECONDS: float = 5
CONNECT_TIMEOUT_SECONDS = 5
# How long after a visitor's write SQLite's log is copied into the file; and how many pages of 4 KB
# the log may have until a write copies them itself, which its visitor waits for.
CHECKPOINT_SECONDS: float = 1
CHECKPOINT_PAGES = 4000
# What a URL of PostgreSQL begins with; the short one is what most hosting providers write.
POSTGRESQL = ("postgresql", "postgres")


def create_engine(url: str) -> sa.Engine:
    """Return an engine for `url`, a SQLite file or a PostgreSQL database, set up for a server.

    Nothing is written, and nothing is opened before the first query, so any number of workers can
    start at once. (SQLite's write-ahead log is a property of the file; `migrate` sets it.)
    """
    parsed = sa.make_url(url)
    if parsed.get_backend_name() in POSTGRESQL:
        engine = sa.create_engine(
            # This driver is installed, whichever SQLAlchemy would take by default.
            parsed.set(drivername="postgresql+psycopg"),
            # A server that was restarted meanwhile costs a reconnection, not an error.
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_SECONDS,
                # A pooler such as PgBouncer gives each transaction another connection, to which a
                # statement that was prepared on this one is unknown.
                "prepare_threshold": None,
            },
        )
        sa.event.listen(engine, "begin", _begin_postgresql)
        return engine
    engine = sa.create_engine(parsed)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _begin_postgresql(connection: sa.Connection) -> None:
    # Not an option of the connection, which poolers refuse and share with others.
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {BUSY_TIMEOUT_SECONDS * 1000:.0f}")


def _prepare_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # The driver must not begin transactions by itself: it would begin them too late.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000:.0f}")
    cursor.execute("PRAGMA foreign_keys = ON")
    # Safe with a write-ahead log: a crash of the process loses nothing.
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # A transaction that reads first and writes later fails at once if another wrote meanwhile,
    # however long the time-out; a transaction that announces its write waits its turn.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def insert(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """Return an INSERT that can say what to do ON CONFLICT, which both databases spell alike."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


class Database:
    """The database of a process.

    `read` and `write` are for code that may block, such as the admin pages and commands;
    `read_async` and `write_async` run the same functions on threads, for the event loop.
    """

    def __init__(self, url: str) -> None:
        """Prepare for the database at `url` without opening it."""
        self.engine = create_engine(url)
        self._writing_engine = self.engine.execution_options(writes=True)
        # Writes have threads of their own: a write that waits for another process's lock must not
        # delay readers. SQLite takes a single writer at a time, so more would only queue.
        self._readers = ThreadPoolExecutor(4, thread_name_prefix="database-read")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="database-write")
        self._next_checkpoint: asyncio.TimerHandle | None = None

    def read(
        self, query: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return what `query` returns, called with a connection in a read transaction."""
        with self.engine.begin() as connection:
            return query(connection, *args, **kwargs)

    def snapshot(
        self, query: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do as `read`; all that `query` reads is of one moment."""
        engine = self.engine
        if engine.dialect.name == "postgresql":  # of SQLite that is always true
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with engine.begin() as connection:
            return query(connection, *args, **kwargs)

    def write(
        self, query: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return what `query` returns, called in a write transaction that is then committed."""
        with self._writing_engine.begin() as connection:
            return query(connection, *args, **kwargs)

    async def read_async(
        self, query: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do as `read`, on a thread."""
        return await self._run(self._readers, lambda: self.read(query, *args, **kwargs))

    async def write_async(
        self, query: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do as `write`, on a thread."""
        result = await self._run(self._writer, lambda: self.write(query, *args, **kwargs))
        self._checkpoint_soon()
        return result

    def _checkpoint(self) -> None:
        """Copy SQLite's log into the file, as far as nobody reads an older state; wait for no one.

        Whoever writes next begins the log anew. See https://sqlite.org/wal.html, "Checkpointing".
        """
        with closing(self.engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def _checkpoint_soon(self) -> None:
        """Have the log copied after the answer: it takes several times as long as a write."""
        if self._next_checkpoint or self.engine.dialect.name != "sqlite":
            return

        def begin() -> None:
            self._next_checkpoint = None
            loop.run_in_executor(self._readers, self._checkpoint)

        loop = asyncio.get_running_loop()
        self._next_checkpoint = loop.call_later(CHECKPOINT_SECONDS, begin)

    async def _run(self, executor: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, call)

    def close(self) -> None:
        """Finish what runs and close every connection; the last of all copies SQLite's log."""
        if self._next_checkpoint:
            self._next_checkpoint.cancel()
        self._readers.shutdown()
        self._writer.shutdown()
        self.engine.dispose()


Row: TypeAlias = sa.Row[*tuple[Any, ...]]
