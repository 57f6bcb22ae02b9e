"""Copies of databases, put in the place of the live ones as the site's user, in the sandbox.

No process of the site may run meanwhile. This process gets what to do as JSON, and prints what it
did as JSON:

- ``problems``: why databases were not put in their places, each a sentence. The one that it names,
  and all after it, are as they were.
- ``notes``: what the operator should know, each a sentence.
- ``done``: the names of the databases that are what the copies were.
- ``unsure``: the names of those of which that is not known.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.data import postgresql, postgresql_restore
from ansible.module_utils.aroundtheworld.data.copying import (
    COMPANIONS,
    CopyError,
    Database,
    check_room,
    copy_name,
    credential,
    sync,
)

# Errors after which a database of a server is as it was.
KNOWN = (CopyError, postgresql_restore.UnchangedError)


def put_all(task: Mapping[str, Any]) -> dict[str, Any]:
    """Put databases in their places, one after the other, until one fails.

    Args:
        task: ``databases``, each with ``name``, ``kind`` and ``place``; ``shared``; ``source``, the
            directory with the copies; ``wal``, the names of SQLite databases that had a log of
            this kind; and ``rehearse``, whether to change nothing and find all problems.
    """
    source, shared = Path(task["source"]), Path(task["shared"])
    databases: Sequence[Database] = task["databases"]
    problems: list[str] = []
    notes: list[str] = []
    done: list[str] = []
    unsure: list[str] = []
    for database in databases:
        copy = source / copy_name(database)
        try:
            if not copy.is_file():
                raise CopyError("the backup has no copy of it")
            if task.get("rehearse"):
                _rehearse(database, copy, shared)
            elif database["kind"] == "sqlite":
                place = sqlite_place(database, shared)
                put_sqlite(copy, place, wal=database["name"] in task.get("wal", ()))
            else:
                variables = postgresql.connection(credential(database))
                notes += postgresql_restore.put(variables, copy)
        except (CopyError, postgresql.DumpError, OSError, sqlite3.Error) as error:
            problems.append(
                f"aroundtheworld_databases: {database['name']!r} cannot be put back: {error}."
            )
            if not task.get("rehearse"):
                is_known = database["kind"] == "sqlite" or isinstance(error, KNOWN)
                unsure += [] if is_known else [database["name"]]
                break
        else:
            done.append(database["name"])
    return {"problems": problems, "notes": notes, "done": done, "unsure": unsure}


def _rehearse(database: Database, copy: Path, shared: Path) -> None:
    """Find out what would keep a copy from being put in its place; raises an error for that."""
    if database["kind"] == "sqlite":
        check_room(copy.stat().st_size, shared)
        check_sqlite(copy)
        return
    variables = postgresql.connection(credential(database))
    if problem := postgresql_restore.problem_with(variables, copy):
        raise CopyError(problem)


# --- SQLite ---------------------------------------------------------------------------------------


def sqlite_place(database: Database, shared: Path) -> Path:
    """Return where the file of a database is to be; raises `CopyError` outside of `shared`."""
    place = Path(database["place"])
    real = Path(os.path.realpath(place))
    if not real.is_relative_to(os.path.realpath(shared)):
        raise CopyError(f"{place} leads to {real}, which is not in {shared}")
    return real


def check_sqlite(path: Path) -> None:
    """Raise `CopyError` when a database is damaged; nobody else may have it open."""
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        found = [row[0] for row in database.execute("pragma quick_check(3)")]
    if found != ["ok"]:
        raise CopyError(f"SQLite finds the copy damaged: {'; '.join(map(str, found))}")


def put_sqlite(copy: Path, place: Path, *, wal: bool) -> None:
    """Put a copy in the place of a database that nobody has open.

    However it is cut off, there is the old database or the new one, and neither meets the log of
    the other: the old log is first written into the old file, then it is removed, and only then
    the new file takes the place.

    Args:
        copy: The copy, without a log.
        place: Where the database is, or is to be.
        wal: Whether it is to write its log ahead, as its app had it.

    Raises:
        CopyError: The copy is damaged, or there is no room for it.
    """
    fresh = place.with_name(f".{place.name}.put")
    _remove(fresh)
    place.parent.mkdir(parents=True, exist_ok=True)
    mode = place.stat().st_mode & 0o777 if place.is_file() else 0o640
    check_room(copy.stat().st_size, place.parent)
    try:
        shutil.copyfile(copy, fresh)
        if wal:
            with contextlib.closing(sqlite3.connect(fresh)) as database:
                database.execute("pragma journal_mode = wal")
        check_sqlite(fresh)
        sync(fresh)
        fresh.chmod(mode)
        _end_log(place)
        for suffix in COMPANIONS:
            Path(f"{place}{suffix}").unlink(missing_ok=True)
        sync(place.parent)
        for suffix in COMPANIONS:  # of the fresh one: empty, and of no use under this name
            Path(f"{fresh}{suffix}").unlink(missing_ok=True)
        fresh.replace(place)
        sync(place.parent)
    finally:
        _remove(fresh)


def _end_log(place: Path) -> None:
    """Have a database write what its log has into its file; one that is damaged is given up."""
    if not place.is_file():
        return
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(f"{place.as_uri()}?mode=rw", uri=True)) as database,
    ):
        database.execute("select count(*) from sqlite_master").fetchall()  # undoes what is half
        database.execute("pragma wal_checkpoint(truncate)").fetchall()


def _remove(path: Path) -> None:
    for suffix in ("", *COMPANIONS):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def main() -> None:
    """Do what the standard input says."""
    print(json.dumps(put_all(json.load(sys.stdin))))
