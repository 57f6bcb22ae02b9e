"""Copies of SQLite databases take the place of the live ones, wherever that is cut off."""

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from ansible.module_utils.aroundtheworld.data import copying, putting

SHOP = {"name": "shop", "kind": "sqlite"}


@pytest.fixture
def site(tmp_path):
    """A directory with `shared`, and `source` with a copy that has the row 'then'."""
    for name in ("shared", "source"):
        (tmp_path / name).mkdir()
    make(tmp_path / "source" / "shop.sqlite", ["then"], "delete")
    return tmp_path


def make(path, words, journal="wal"):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(f"pragma journal_mode = {journal}")
        database.execute("create table t (word text)")
        database.executemany("insert into t values (?)", [(word,) for word in words])


def killed(path, words, journal="wal"):
    """Make a database as `kill -9` leaves it: what was written last is in its log."""
    make(path, words, journal)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("pragma wal_autocheckpoint = 0")
        if journal == "delete":
            database.execute("pragma cache_spill = 1")
            database.execute("pragma cache_size = 1")
            database.execute("begin")
            database.executemany("insert into t values (?)", [("half" * 500,)] * 50)
        else:
            database.execute("insert into t values ('in the log')")
        files = {
            suffix: Path(f"{path}{suffix}").read_bytes()
            for suffix in ("", *putting.COMPANIONS)
            if Path(f"{path}{suffix}").exists()
        }
        if journal == "delete":
            database.execute("rollback")
    for suffix, content in files.items():
        Path(f"{path}{suffix}").write_bytes(content)
    assert f"-{'wal' if journal == 'wal' else 'journal'}" in files


def rows(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("pragma integrity_check").fetchall() == [("ok",)]
        return [row[0] for row in database.execute("select word from t")]


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def put(site, **more):
    database = {**SHOP, "place": str(site / "shared" / "shop.db")}
    return putting.put_all(
        {"shared": site / "shared", "source": site / "source", "databases": [database], **more}
    )


def test_a_log_that_cannot_be_ended_goes_with_its_database(site, monkeypatch):
    place = site / "shared" / "shop.db"
    killed(place, ["now"])
    monkeypatch.setattr(putting, "_end_log", lambda path: None)
    assert put(site)["problems"] == []
    assert names(site / "shared") == ["shop.db"]
    assert rows(place) == ["then"]


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_copy_takes_the_place_and_no_old_log_meets_it(site, journal):
    place = site / "shared" / "shop.db"
    killed(place, ["now"], journal)
    place.chmod(0o604)
    assert put(site) == {"problems": [], "notes": [], "done": ["shop"], "unsure": []}
    assert rows(place) == ["then"]
    assert place.stat().st_mode & 0o777 == 0o604
    assert names(site / "shared") == ["shop.db"]


def test_a_database_that_wrote_its_log_ahead_goes_on_to(site):
    place = site / "shared" / "shop.db"
    put(site, wal=["shop"])
    assert place.read_bytes()[18:20] == b"\2\2"
    assert rows(place) == ["then"]
    put(site)
    assert place.read_bytes()[18:20] == b"\1\1"


def test_the_copy_of_a_backup_says_who_writes_a_log_ahead(site):
    for name, journal in (("ahead", "wal"), ("shop", "delete")):
        make(site / "shared" / f"{name}.db", [], journal)
    databases = [
        {"name": name, "kind": "sqlite", "place": str(site / "shared" / f"{name}.db")}
        for name in ("ahead", "shop")
    ]
    task = {"shared": site / "shared", "target": site, "databases": databases}
    assert copying.copy_all(task)["wal"] == ["ahead"]


class KilledError(BaseException):
    """The process is gone."""


class Budget:
    """Lets so many calls through, and then nothing happens any more."""

    def __init__(self, monkeypatch):
        self.left = None
        self._wrap(monkeypatch, shutil, "copyfile")
        self._wrap(monkeypatch, os, "fsync")
        for name in ("unlink", "replace", "chmod"):
            self._wrap(monkeypatch, Path, name)

    def _wrap(self, monkeypatch, owner, name):
        real = getattr(owner, name)

        def call(*arguments, **options):
            if self.left is not None:
                if self.left == 0:
                    raise KilledError
                self.left -= 1
            return real(*arguments, **options)

        monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_wherever_it_is_killed_there_is_the_old_database_or_the_new(site, journal, monkeypatch):
    place, budget = site / "shared" / "shop.db", Budget(monkeypatch)
    old = ["now", "in the log"] if journal == "wal" else ["now"]
    seen = []
    while True:
        shutil.rmtree(site / "shared")
        (site / "shared").mkdir()
        killed(place, ["now"], journal)
        budget.left = len(seen)
        try:
            put(site)
            break
        except KilledError:
            budget.left = None
        lying = shutil.copytree(site / "shared", site / "lying")
        seen.append(rows(lying / "shop.db"))
        shutil.rmtree(lying)
        assert put(site)["problems"] == []
        assert rows(place) == ["then"]
        assert names(site / "shared") == ["shop.db"]
    assert seen[0] == old
    assert seen[-1] == ["then"]
    assert all(found in (old, ["then"]) for found in seen)
    assert len(seen) > 10


@pytest.mark.parametrize("rehearse", [True, False])
def test_what_is_damaged_or_missing_changes_nothing(site, rehearse):
    place = site / "shared" / "shop.db"
    make(place, ["now"])
    copy = site / "source" / "shop.sqlite"
    content = bytearray(copy.read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    copy.write_bytes(content)
    (problem,) = put(site, rehearse=rehearse)["problems"]
    assert problem.startswith("aroundtheworld_databases: 'shop' cannot be put back: ")
    assert "damaged" in problem or "malformed" in problem
    copy.unlink()
    (problem,) = put(site, rehearse=rehearse)["problems"]
    assert "the backup has no copy of it" in problem
    assert rows(place) == ["now"]
    assert names(site / "shared") == ["shop.db"]


def test_a_rehearsal_changes_nothing_and_finds_a_full_disk(site, monkeypatch):
    place = site / "shared" / "shop.db"
    make(place, ["now"])
    assert put(site, rehearse=True) == {"problems": [], "notes": [], "done": ["shop"], "unsure": []}
    assert rows(place) == ["now"]
    monkeypatch.setattr(copying, "spare", lambda directory: 5000)
    (problem,) = put(site, rehearse=True)["problems"]
    assert "its copy needs 8.2 kB, and 5.0 kB may be used" in problem


def test_nothing_is_put_outside_of_shared(site):
    (site / "shared" / "shop.db").symlink_to(site / "elsewhere.db")
    (problem,) = put(site)["problems"]
    assert "which is not in" in problem
    assert not (site / "elsewhere.db").exists()


def test_after_one_that_failed_nothing_more_is_put(site):
    databases = [
        {**SHOP, "name": name, "place": str(site / "shared" / f"{name}.db")}
        for name in ("gone", "shop")
    ]
    report = put(site, databases=databases)
    assert len(report["problems"]) == 1
    assert report["done"] == []
    assert names(site / "shared") == []
