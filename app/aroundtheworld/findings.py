"""What does not fit together in the data: rows and the files of photos, and rows among themselves.

The site may serve meanwhile. A photo that is added has its files before its row, and one that is
deleted loses its row before its files; so what is found of photos is looked at twice.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import sqlalchemy as sa
from PIL import Image

from aroundtheworld import photos as files
from aroundtheworld.db import photos
from aroundtheworld.db.engine import Database, Row

# Longer than between the first file of an upload and its row.
LOOK_AGAIN_SECONDS: float = 10
MOST_OF_SQLITE = 100  # findings of its own

# What a JPEG ends with; one that was cut off lacks it.
END = b"\xff\xd9"


def of_data(database: Database, directory: Path | None) -> list[str]:
    """Return a sentence for everything that does not fit together, each of one line.

    Args:
        database: with a schema that fits this release.
        directory: of the photos' files; None if there is no place for any.
    """
    found: list[str] = []
    looks: list[Callable[[], list[str]]] = [
        partial(database.read, _of_rows),
        partial(_of_photos, database, directory),
    ]
    for look in looks:
        try:
            found += look()
        except sa.exc.DatabaseError as error:
            found.append(f"The database cannot be read: {error.orig}.")
    # The names of files may hold anything.
    return ["".join(c if c.isprintable() else "?" for c in sentence) for sentence in found]


def _of_rows(connection: sa.Connection) -> list[str]:
    """Return what SQLite finds damaged, and rows that refer to none; PostgreSQL allows neither."""
    if connection.dialect.name != "sqlite":
        return []
    damages = connection.exec_driver_sql(f"PRAGMA integrity_check({MOST_OF_SQLITE})").scalars()
    found = [" ".join(str(damage).split()) for damage in damages]
    if found != ["ok"]:  # what is damaged cannot be looked through
        return [f"SQLite finds damage: {damage}." for damage in found]
    lost = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(MOST_OF_SQLITE)
    return [f"Row {row} of {table} refers to no row of {parent}." for table, row, parent, _ in lost]


def _of_photos(database: Database, directory: Path | None) -> list[str]:
    found = list(_look(database, directory))
    if found:
        time.sleep(LOOK_AGAIN_SECONDS)
        again = {*_look(database, directory)}
        found = [sentence for sentence in found if sentence in again]
    return found


def _look(database: Database, directory: Path | None) -> Iterator[str]:
    """Yield what does not fit together at the moment."""
    rows = database.read(photos.every)
    if directory is None or not directory.is_dir():
        place = "no directory for their files (UPLOADS)" if directory is None else f"no {directory}"
        if rows:
            yield f"There are {len(rows):,} photos in the database, and {place}."
        return
    own = set()
    for row in rows:
        for size in (*files.SIZES, files.SOURCE):
            path = directory / files.file_name(row.token, size)
            own.add(path)
            if problem := _problem(path, row, size):
                yield f"Photo {row.id}: the file {path} {problem}."
    for path in sorted(directory.iterdir()):
        if path not in own:
            yield f"The file {path} belongs to no photo."


def _problem(path: Path, row: Row, size: int | str) -> str:
    """Return what is wrong with a file of a photo, or an empty text.

    Only its beginning and its end are read, which is cheap.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return "is no file"
        with path.open("rb") as file:
            file.seek(-min(len(END), path.stat().st_size), os.SEEK_END)
            if file.read() != END:
                return "is damaged, or was not written to its end"
        with Image.open(path, formats=["JPEG"]) as image:
            width, height = image.size
    except FileNotFoundError:
        return "is missing"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return "is no photo, or cannot be read"
    if size == max(files.SIZES) and (width, height) != (row.width, row.height):
        return f"is {width} by {height} pixels large, its row says {row.width} by {row.height}"
    return ""
