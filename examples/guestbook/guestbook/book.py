"""What the guests wrote, in one SQLite file that all pools share."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tornado.web import decode_signed_value

COOKIE = "guest"


def secret() -> str:
    """Return what signs the session cookie; the role puts it in a file of the worker's own."""
    return Path(os.environ["COOKIE_SECRET_FILE"]).read_text().strip()


def guest_in(cookie: str | None) -> str | None:
    """Return the guest's name from the value of the session cookie, if its signature is right."""
    name = decode_signed_value(secret(), COOKIE, cookie) if cookie else None
    return name.decode() if name else None


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """Give a connection whose changes are kept when the block ends well."""
    connection = sqlite3.connect(os.environ["DATABASE"], timeout=5)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def write(guest: str, words: str) -> None:
    """Add an entry, and a letter of thanks to the queue of the post."""
    with database() as connection:
        connection.execute("INSERT INTO entry (guest, words) VALUES (?, ?)", (guest, words))
        connection.execute("INSERT INTO letter (guest) VALUES (?)", (guest,))


def entries() -> list[tuple[str, str]]:
    """Return guest and words of every entry, in order."""
    with database() as connection:
        return connection.execute("SELECT guest, words FROM entry ORDER BY id").fetchall()


def remove(guest: str) -> int:
    """Remove what a guest wrote; return how many entries that were."""
    with database() as connection:
        return connection.execute("DELETE FROM entry WHERE guest = ?", (guest,)).rowcount


if __name__ == "__main__":  # aroundtheworld_migrate_command
    with database() as first:
        first.execute("PRAGMA journal_mode = WAL")
        first.execute(
            "CREATE TABLE IF NOT EXISTS entry (id INTEGER PRIMARY KEY, guest TEXT, words TEXT)"
        )
        first.execute(
            "CREATE TABLE IF NOT EXISTS letter (id INTEGER PRIMARY KEY, guest TEXT, release TEXT,"
            " begun INTEGER DEFAULT 0, done INTEGER DEFAULT 0)"
        )
