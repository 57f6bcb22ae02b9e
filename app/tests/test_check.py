"""`check` names what does not fit together, and `schema` what a release cannot run on."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from alembic import command
from test_photos import picture

from aroundtheworld import findings
from aroundtheworld import photos as files
from aroundtheworld.db import photos
from aroundtheworld.db.engine import Database, create_engine
from aroundtheworld.db.migrate import alembic_config, migrate, newest_revision

PARIS = 2988507
SECRET = "x" * 32


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Nothing is added nor deleted meanwhile, so it is looked at again at once."""
    monkeypatch.setattr(findings, "LOOK_AGAIN_SECONDS", 0)


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "uploads" / "photos"


PHOTO, LARGE = files.read(picture(800, 600)), files.read(picture(1600, 900))


def add(database, directory):
    """Add a photo as the admin side does; returns its token."""
    token = files.store(directory, PHOTO)
    database.write(photos.add, PARIS, token, "Seine", "Eve", (PHOTO.width, PHOTO.height))
    return token


@pytest.fixture
def check_of(run, directory):
    """Runs `check` on a database; returns its exit status and the findings."""

    def check(url):
        done = run("check", DATABASE_URL=url, COOKIE_SECRET=SECRET, UPLOADS=str(directory.parent))
        return done.returncode, (done.stdout + done.stderr).splitlines()

    return check


@pytest.fixture
def check(check_of, database_url):
    return partial(check_of, database_url)


def test_photos_with_rows_and_files_are_fine(database, directory, check):
    add(database, directory)
    assert check() == (0, ["The configuration is complete, and the data fit together."])


def end_early(path):
    path.write_bytes(path.read_bytes()[:-200])


def grow(path):
    path.write_bytes(LARGE.files[1280])


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (Path.unlink, "is missing"),
        (end_early, "is damaged"),
        (lambda path: path.write_bytes(b""), "is damaged"),
        (lambda path: path.write_bytes(b"\xff\xd8 no photo \xff\xd9"), "is no photo"),
        (lambda path: (path.unlink(), path.symlink_to("/etc/passwd")), "is no file"),
        (lambda path: (path.unlink(), path.mkdir()), "is no file"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "is no file"),
        (grow, "is 1280 by 720 pixels large, its row says 800 by 600"),
    ],
)
def test_a_file_that_a_row_names_and_that_is_not_right_is_found(
    sqlite_url, directory, check_of, spoil, told
):
    database = Database(sqlite_url)
    token, _ = add(database, directory), add(database, directory)
    path = directory / f"{token}-1280.jpg"
    database.close()
    spoil(path)
    status, [finding] = check_of(sqlite_url)
    assert status == 1
    assert finding.startswith(f"Photo 1: the file {path} {told}")


@pytest.mark.parametrize("size", [*files.SIZES, files.SOURCE])
def test_each_file_of_a_photo_is_looked_for(database, directory, check, size):
    token = add(database, directory)
    (directory / f"{token}-{size}.jpg").unlink()
    assert check() == (1, [f"Photo 1: the file {directory}/{token}-{size}.jpg is missing."])


def test_files_that_no_row_names_are_found_one_a_line(database, directory, check):
    token = add(database, directory)
    database.write(photos.delete, 1)
    (directory / "two\nlines").touch()
    status, found = check()
    assert status == 1
    assert len(found) == 5
    assert f"The file {directory}/{token}-320.jpg belongs to no photo." in found
    assert f"The file {directory}/two?lines belongs to no photo." in found


def test_a_directory_that_is_missing_is_one_finding(database, directory, check):
    add(database, directory)
    directory.rename(directory.with_name("elsewhere"))
    assert check() == (1, [f"There are 1 photos in the database, and no {directory}."])


def test_a_site_without_photos_needs_no_directory(database, directory, check):
    assert check()[0] == 0


def test_a_photo_that_is_being_added_is_no_finding(database, directory, check, monkeypatch):
    token = files.store(directory, PHOTO)
    monkeypatch.setattr(findings, "LOOK_AGAIN_SECONDS", 0.5)
    row = (photos.add, PARIS, token, "Seine", "Eve", (PHOTO.width, PHOTO.height))
    adding = threading.Timer(0.2, database.write, row)
    adding.start()
    began = time.monotonic()
    assert check()[0] == 0
    assert time.monotonic() - began > 0.2, "else it was not looked at before the row was there"
    adding.join()


# --- What SQLite allows, and PostgreSQL does not --------------------------------------------------


def test_rows_that_refer_to_none_are_found(sqlite_url, check_of):
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as database:
        database.execute("INSERT INTO rounds (player_id, started_at) VALUES (7, 1)")
    assert check_of(sqlite_url) == (1, ["Row 1 of rounds refers to no row of players."])


def overwrite(url, name, start):
    """Damage a database: the first page of a table or index is something else."""
    path = Path(url.removeprefix("sqlite:///"))
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = DELETE")
    [(page,)] = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", [name])
    [(size,)] = database.execute("PRAGMA page_size")
    database.close()
    content = bytearray(path.read_bytes())
    content[(page - 1) * size : page * size] = start.ljust(size, start[-1:])
    path.write_bytes(content)


EMPTY_INDEX = b"\x0a\0\0\0\0\x10\0\0"


def test_damage_is_found(sqlite_url, check_of):
    overwrite(sqlite_url, "ix_cities_country", EMPTY_INDEX)
    status, found = check_of(sqlite_url)
    assert status == 1
    assert "SQLite finds damage: row 4 missing from index ix_cities_country." in found


def test_damage_that_sqlite_cannot_look_through_hides_no_other_finding(
    sqlite_url, directory, check_of
):
    database = Database(sqlite_url)
    token = add(database, directory)
    database.close()
    (directory / f"{token}-320.jpg").unlink()
    overwrite(sqlite_url, "cities", b"\xff")
    assert check_of(sqlite_url) == (
        1,
        [
            "The database cannot be read: database disk image is malformed.",
            f"Photo 1: the file {directory}/{token}-320.jpg is missing.",
        ],
    )


def test_what_is_no_database_is_said_in_a_sentence(sqlite_url, check_of):
    Path(sqlite_url.removeprefix("sqlite:///")).write_bytes(b"no database" * 999)
    assert check_of(sqlite_url) == (1, ["The database cannot be read: file is not a database."])


# --- The schema ----------------------------------------------------------------------------------


def change(url, *statements):
    engine = create_engine(url)
    with engine.execution_options(writes=True).begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def schema(run, url):
    done = run("schema", DATABASE_URL=url)
    return done.returncode, (done.stdout + done.stderr).splitlines()


NEWER = "UPDATE alembic_version SET version_num = '9999'"


@pytest.mark.parametrize(
    "added",
    [
        (),
        ("CREATE TABLE more (id INTEGER NOT NULL PRIMARY KEY)",),
        ("ALTER TABLE players ADD COLUMN motto VARCHAR(80)",),
        ("ALTER TABLE players ADD COLUMN level INTEGER NOT NULL DEFAULT 1",),
    ],
)
def test_a_release_runs_on_what_a_newer_one_added_to(own_url, run, added):
    change(own_url, *added, NEWER if added else "SELECT 1")
    assert schema(run, own_url) == (0, ["This release can run on the database."])


@pytest.mark.parametrize(
    ("statements", "told"),
    [
        (["DROP TABLE photos"], "has no table photos"),
        (["ALTER TABLE photos DROP COLUMN credit"], "has no column photos.credit"),
        (["ALTER TABLE photos RENAME COLUMN credit TO by"], "has no column photos.credit"),
        (
            ["DROP TABLE reports", "CREATE TABLE reports (id INTEGER PRIMARY KEY, kind TEXT,"
             " finished_at BIGINT, duration_ms INTEGER, content TEXT, level INTEGER NOT NULL)"],
            "wants a value for reports.level, of which this release does not know",
        ),
    ],
)  # fmt: skip
def test_a_release_does_not_run_on_what_lacks_its_columns(own_url, run, statements, told):
    change(own_url, *statements, NEWER)
    status, found = schema(run, own_url)
    assert status == 1
    assert found[0].startswith("The database (revision 9999, which a newer release made) ")
    assert told in found[0]


def test_a_database_that_was_not_migrated_is_told_what_to_do(own_url, run):
    engine = create_engine(own_url)
    with engine.begin() as connection:
        command.downgrade(alembic_config(connection), "-1")
    engine.dispose()
    needs = f"this release needs {newest_revision()}: run `python -m aroundtheworld migrate`."
    [finding] = schema(run, own_url)[1]
    assert finding.endswith(needs)
    migrate(own_url)
    assert schema(run, own_url)[0] == 0


def test_an_empty_database_is_told_what_to_do(run, tmp_path):
    status, [finding] = schema(run, f"sqlite:///{tmp_path}/new.db")
    assert status == 1
    assert finding.startswith("The database is at revision none, this release needs ")


def test_check_says_of_a_schema_what_schema_says(own_url, check_of, run):
    change(own_url, "DROP TABLE photos")
    assert check_of(own_url) == schema(run, own_url)
