"""What the environment tells the application."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import sqlalchemy as sa

from aroundtheworld.db.engine import POSTGRESQL

MINIMUM_SECRET_LENGTH = 32


class ConfigError(Exception):
    """The environment lacks something, or holds something that cannot be used."""


def database_url(environ: Mapping[str, str] = os.environ) -> str:
    """Return the SQLAlchemy URL of the database, from `DATABASE_URL`.

    Raises `ConfigError` without the URL, which may have a password in it.
    """
    url = environ.get("DATABASE_URL", "")
    if not url:
        raise ConfigError(
            "DATABASE_URL is not set. It is the URL of the database,"
            " for example sqlite:////var/lib/game/game.db"
        )
    try:
        parsed = sa.make_url(url)
        if "@" in (parsed.host or ""):
            raise ValueError  # the rest of a password
    except (sa.exc.ArgumentError, ValueError):
        raise ConfigError(
            "DATABASE_URL cannot be read as postgresql://user:password@host:port/name or"
            " sqlite:////path. In a password, @ is written as %40 and / as %2F"
        ) from None
    backend = parsed.get_backend_name()
    if backend not in (*POSTGRESQL, "sqlite"):
        raise ConfigError(
            f"DATABASE_URL begins with {backend!r}. It must be the URL of a PostgreSQL database,"
            " postgresql://…, or of a SQLite file, sqlite:////…"
        )
    unknown = [name for name in parsed.query if backend != "sqlite" and not _is_known(name)]
    if unknown:
        raise ConfigError(
            f"DATABASE_URL has the option {unknown[0]!r}, which PostgreSQL's own client does not"
            " know. Leave it out: a pooler is used like the database itself"
        )
    return url


def _is_known(option: str) -> bool:
    """Tell whether a URL of PostgreSQL may have an option."""
    import psycopg.conninfo  # only where such a database is used

    try:
        psycopg.conninfo.make_conninfo("", **{option: ""})
    except psycopg.ProgrammingError:
        return False
    return True


def cookie_secret(environ: Mapping[str, str] = os.environ) -> str:
    """Return the secret that signs cookies, from the file COOKIE_SECRET_FILE or COOKIE_SECRET.

    There is no default: with the secret, an attacker can log in as anybody.
    """
    path = environ.get("COOKIE_SECRET_FILE", "")
    if path:
        source = f"the file {path} (COOKIE_SECRET_FILE)"
        try:
            secret = Path(path).read_text("utf-8").strip()
        except OSError as error:
            raise ConfigError(f"COOKIE_SECRET_FILE cannot be read: {error}") from error
        except UnicodeDecodeError:
            # Not chained: the error would show bytes of the secret.
            raise ConfigError(f"COOKIE_SECRET_FILE cannot be read: {path} is no UTF-8") from None
    else:
        source = "COOKIE_SECRET"
        secret = environ.get("COOKIE_SECRET", "").strip()
        if not secret:
            raise ConfigError(
                "Neither COOKIE_SECRET_FILE nor COOKIE_SECRET is set. One of them gives the secret"
                f" that signs cookies: at least {MINIMUM_SECRET_LENGTH} random characters, the same"
                " for every worker"
            )
    if len(secret) < MINIMUM_SECRET_LENGTH:
        raise ConfigError(
            f"The secret in {source} has {len(secret)} characters;"
            f" at least {MINIMUM_SECRET_LENGTH} are needed"
        )
    return secret


def facts_url(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the URL of the service with facts about countries, from `COUNTRY_FACTS_URL`."""
    url = environ.get("COUNTRY_FACTS_URL", "").rstrip("/")
    if not url:
        return None
    parts = urlsplit(url)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.username is not None
        or parts.query
        or parts.fragment
    ):
        raise ConfigError(
            f"COUNTRY_FACTS_URL is {url!r}. It must be an http or https URL without user, query or"
            " fragment, for example https://restcountries.com/v3.1"
        )
    return url


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration of a process.

    Attributes:
        database_url: SQLAlchemy URL of the database.
        cookie_secret: signs cookies; the same for every worker.
        pool: name of the pool this worker belongs to; None in development.
        release: id of the release it runs; None in development.
        uploads: directory for what administrators upload; None for `uploads` beside a SQLite file.
        workers: directory of the workers' private sockets, PORT/control.sock; None if unknown.
        facts_url: URL of the service that knows facts about countries; None to show none.
    """

    database_url: str
    cookie_secret: str = field(repr=False)
    pool: str | None = None
    release: str | None = None
    uploads: Path | None = None
    workers: Path | None = None
    facts_url: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Config:
        """Read the environment; raise `ConfigError` with a sentence if it is not enough."""
        return cls(
            database_url=database_url(environ),
            cookie_secret=cookie_secret(environ),
            pool=environ.get("AROUNDTHEWORLD_POOL") or None,
            release=environ.get("AROUNDTHEWORLD_RELEASE") or None,
            uploads=Path(environ["UPLOADS"]) if environ.get("UPLOADS") else None,
            workers=(
                Path(environ["WORKERS_DIRECTORY"]) if environ.get("WORKERS_DIRECTORY") else None
            ),
            facts_url=facts_url(environ),
        )

    @property
    def photos(self) -> Path | None:
        """The directory of the photos' files; None if there is no place for any."""
        if self.uploads is not None:
            return self.uploads / "photos"
        url = sa.make_url(self.database_url)
        if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
            return Path(str(url.database)).resolve().parent / "uploads" / "photos"
        return None

    @property
    def serves_admin(self) -> bool:
        """Whether this process answers under /admin.

        A worker of any pool but `admin` must not: a request that was routed wrongly is then seen
        at once, and can never block a visitor.
        """
        return self.pool in (None, "admin")
