"""A PostgreSQL server for tests: private, on a UNIX socket only, and gone when the tests are."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from aroundtheworld.db.migrate import migrate
from aroundtheworld.db.schema import metadata

# In memory where that can be: a new database is a copy of three hundred files.
MEMORY = Path("/dev/shm")
# What the release itself puts into a database, and every test finds there.
WORLD = {"countries", "cities"}
FINGERPRINT = """
SELECT md5(concat(
    (SELECT string_agg(row::text, '' ORDER BY code) FROM countries row),
    (SELECT string_agg(row::text, '' ORDER BY id) FROM cities row),
    (SELECT string_agg(version_num, '') FROM alembic_version)
))
"""
# PostgreSQL refuses to run as root; Debian's package makes this user.
USER = "postgres"
# Speed before durability: nothing here outlives the tests.
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "50",
    "shared_buffers": "16MB",
}


class PostgresServer:
    """A running server.

    Attributes:
        directory: where its socket is.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._numbers = itertools.count()
        # What `emptied` finds in a database that is as it should be.
        self._world: object = None

    def url(self, name: str) -> str:
        """The URL of a database, as an operator would write it."""
        return f"postgresql://{USER}@/{name}?host={self.directory}"

    def run(self, statement: str) -> None:
        self.run_in("postgres", statement)

    def run_in(self, name: str, *statements: str) -> object:
        """Run statements in a database; return the first value that the last returns."""
        with psycopg.connect(
            f"host={self.directory} user={USER} dbname={name}", autocommit=True
        ) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None

    def emptied(self) -> str:
        """The URL of a migrated database in which nobody has played, the same for each caller.

        To empty it takes a tenth of the time of making another. A test that changes the schema
        needs a database of its own, from `database`; after a test that changes the world it is
        made again.
        """
        if self._world is not None:
            played = ", ".join(name for name in metadata.tables if name not in WORLD)
            world = self.run_in(
                "used",
                # Of a test that failed, some may be left, and hold locks.
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()",
                f"TRUNCATE {played} RESTART IDENTITY",
                FINGERPRINT,
            )
            if world == self._world:
                return self.url("used")
            self.run("DROP DATABASE used WITH (FORCE)")
        self.run("CREATE DATABASE used TEMPLATE migrated STRATEGY FILE_COPY")
        self._world = self.run_in("used", FINGERPRINT)
        return self.url("used")

    @contextlib.contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """The URL of a new database like `template`, which is dropped afterwards."""
        name = f"game_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        try:
            yield self.url(name)
        finally:
            self.run(f"DROP DATABASE {name} WITH (FORCE)")


def programs() -> Path:
    """Return the directory of the newest PostgreSQL's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if not found:
        raise FileNotFoundError(
            "PostgreSQL is missing, on which half of these tests run:"
            " install Debian's package postgresql"
        )
    return found[-1].parent


@contextlib.contextmanager
def serve() -> Iterator[PostgresServer]:
    """Run a server; its template database `migrated` is at this release."""
    binaries = programs()
    # Not below pytest's own directory, which its user alone may enter.
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="atw-postgres-", dir=memory))
    as_user = ["setpriv", "--pdeathsig=INT"]
    if os.geteuid() == 0:
        shutil.chown(directory, USER)
        as_user += [f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    server = None
    try:
        subprocess.run(
            [*as_user, binaries / "initdb", "--pgdata", directory / "data", "--username", USER,
             "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"],
            cwd=directory, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        with (directory / "log").open("wb") as log:
            server = subprocess.Popen(
                [*as_user, binaries / "postgres", "-D", directory / "data", "-k", directory,
                 *settings],
                cwd=directory, stdout=log, stderr=log,
            )  # fmt: skip
        postgres = PostgresServer(directory)
        wait_until_ready(postgres, server)
        postgres.run("CREATE DATABASE migrated")
        migrate(postgres.url("migrated"))
        yield postgres
    finally:
        if server is not None:
            # Immediately: there is nothing worth saving.
            server.send_signal(signal.SIGQUIT)
            server.wait(timeout=30)
        shutil.rmtree(directory)


def wait_until_ready(postgres: PostgresServer, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            postgres.run("SELECT 1")
        except psycopg.OperationalError:
            if server.poll() is not None:
                break
            time.sleep(0.1)
        else:
            return
    raise RuntimeError((postgres.directory / "log").read_text())
