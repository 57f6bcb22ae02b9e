"""Copies of a site's databases, made as the site's user in the workers' sandbox.

Root does not open what a worker wrote. This process gets what to do as JSON, and prints what it did
as JSON:

- ``problems``: why there is no backup, each a sentence.
- ``notes``: what the operator should know, each a sentence.
- ``left_out``: paths of what has a copy instead.
- ``wal``: the names of SQLite databases that write their log ahead, which no copy does.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.data import postgresql
from ansible.module_utils.aroundtheworld.data.room import shown, spare

MAGIC = b"SQLite format 3\0"
# What SQLite has beside a database that is in use.
COMPANIONS = ("-wal", "-shm", "-journal")
DONE = 101  # SQLITE_DONE
BUSY_SECONDS = 60.0  # for which another process may keep a database for itself
SUFFIXES = {"sqlite": "sqlite", "postgresql": "pgdump"}
SHOWN = 20  # of notes of one kind

Database = Mapping[str, str]


class CopyError(Exception):
    """A database cannot be copied; the message is for a person."""


def copy_name(database: Database) -> str:
    """Return what the copy of a database is called in a backup."""
    return f"{database['name']}.{SUFFIXES[database['kind']]}"


def copy_all(task: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the databases, and look through the files beside them.

    Args:
        task: ``databases``, each with ``name``, ``kind`` and ``place``; ``shared`` and ``target``,
            directories.
    """
    shared, target = Path(task["shared"]), Path(task["target"])
    databases: Sequence[Database] = task["databases"]
    problems, left_out, wal = [], set(), []
    for database in databases:
        try:
            if database["kind"] == "sqlite":
                paths, is_ahead = _copy_sqlite(database, shared, target)
                left_out |= paths
                wal += [database["name"]] if is_ahead else []
            else:
                _copy_postgresql(database, target)
        except (CopyError, postgresql.DumpError, OSError, sqlite3.Error) as error:
            problems.append(
                f"aroundtheworld_databases: there is no copy of {database['name']!r}: {error}."
            )
    notes = [] if problems else list(_notes(shared, {Path(path) for path in left_out}))
    return {"problems": problems, "notes": notes, "left_out": sorted(left_out), "wal": wal}


def sync(path: Path) -> None:
    """Have a file, or the names in a directory, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- SQLite ---------------------------------------------------------------------------------------


def _copy_sqlite(database: Database, shared: Path, target: Path) -> tuple[set[str], bool]:
    """Copy a database; return the paths of its own files, and whether it writes its log ahead."""
    path = Path(database["place"])
    real = Path(os.path.realpath(path))  # of a link in a circle, too
    if not real.is_relative_to(os.path.realpath(shared)):
        raise CopyError(f"{path} leads to {real}, which is not in {shared}")
    if not path.is_file():
        raise CopyError(f"there is no file {path}")
    files = [Path(f"{real}{suffix}") for suffix in ("", *COMPANIONS[:1])]
    check_room(sum(file.stat().st_size for file in files if file.exists()), target)
    is_ahead = backup_sqlite(real, target / copy_name(database))
    return {f"{each}{suffix}" for each in (path, real) for suffix in ("", *COMPANIONS)}, is_ahead


def backup_sqlite(source: Path, target: Path) -> bool:
    """Copy a database in one step, so that it is as it was at one moment; then check the copy.

    Returns:
        Whether it writes its log ahead.

    Raises:
        CopyError: It cannot be copied, or is damaged.
    """
    deadline = time.monotonic() + BUSY_SECONDS

    def give_up(status: int, remaining: int, total: int) -> None:
        # Python asks SQLite again and again for as long as the database is locked.
        if status != DONE and time.monotonic() > deadline:
            raise CopyError(f"another process has kept {source} locked for {BUSY_SECONDS:.0f} s")

    # Not read-only: a log that nobody has open at the moment has to be looked through first.
    with (
        contextlib.closing(sqlite3.connect(f"{source.as_uri()}?mode=rw", uri=True)) as database,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        database.execute(f"pragma busy_timeout = {BUSY_SECONDS * 1000:.0f}")
        copy.execute("pragma synchronous = off")
        database.backup(copy, pages=-1, progress=give_up)
        (mode,) = database.execute("pragma journal_mode").fetchone()
        found = [row[0] for row in copy.execute("pragma quick_check(3)")]
        # Otherwise a copy of a database with a log would get one of its own when it is read.
        copy.execute("pragma journal_mode = delete")
    if found != ["ok"]:
        raise CopyError(f"SQLite finds it damaged: {'; '.join(map(str, found))}")
    sync(target)
    return bool(mode == "wal")


# --- PostgreSQL -----------------------------------------------------------------------------------


def _copy_postgresql(database: Database, target: Path) -> None:
    variables = postgresql.connection(credential(database))
    check_room(postgresql.database_bytes(variables), target)
    postgresql.dump(variables, target / copy_name(database))


def credential(database: Database) -> str:
    """Return the URL of a database; raises `CopyError` when it is not there."""
    secret = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/"), database["place"])
    if not secret.is_file():
        raise CopyError(f"the secret {database['place']!r} with its URL is not on the host")
    return secret.read_text()


def check_room(needed: int, target: Path) -> None:
    """Raise `CopyError` unless so many bytes may be used below a directory."""
    if (room := spare(target)) < needed:
        raise CopyError(
            f"its copy needs {shown(needed)}, and {shown(max(room, 0))} may be used in {target}"
        )


# --- Files ----------------------------------------------------------------------------------------


def _notes(shared: Path, copied: set[Path]) -> Iterator[str]:
    """Yield what the operator should know of the files beside the databases."""
    loose, outside = [], []
    for entry in _entries(shared):
        path = Path(entry.path)
        if entry.is_symlink():
            to = Path(os.path.realpath(path))
            if not to.is_relative_to(os.path.realpath(shared)):
                outside.append(f"{path} is a link to {to}, of which the backup has the link only.")
        elif path not in copied and _is_sqlite(entry):
            loose.append(
                f"{path} is a SQLite database that aroundtheworld_databases does not name, so "
                "the backup has the file as it lay there: writes may be half in it."
            )
    for sentences in (loose, outside):
        yield from sentences[:SHOWN]
        if (more := len(sentences) - SHOWN) > 0:
            yield f"And {more} more like that."


def _entries(directory: Path) -> Iterator[os.DirEntry[str]]:
    """Yield all there is below a directory, without following links."""
    left = [str(directory)]
    while left:
        with contextlib.suppress(OSError), os.scandir(left.pop()) as entries:
            for entry in entries:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)


def _is_sqlite(entry: os.DirEntry[str]) -> bool:
    """Tell whether a file is a SQLite database, by how it begins."""
    with contextlib.suppress(OSError):
        about = entry.stat(follow_symlinks=False)
        # Its pages have 512 bytes or more.
        if stat.S_ISREG(about.st_mode) and about.st_size and about.st_size % 512 == 0:
            handle = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                return os.read(handle, len(MAGIC)) == MAGIC
            finally:
                os.close(handle)
    return False


def main() -> None:
    """Do what the standard input says."""
    print(json.dumps(copy_all(json.load(sys.stdin))))
