"""Copies of databases, and what is told of the files beside them."""

import contextlib
import io
import json
import os
import sqlite3
import threading
from pathlib import Path

import pytest
from ansible.module_utils.aroundtheworld.data import copying, room

SHOP = {"name": "shop", "kind": "sqlite"}


@pytest.fixture
def shared(tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "target").mkdir()
    return tmp_path / "shared"


@pytest.fixture
def copy(shared):
    """Returns a function that copies databases at these places in shared, and reports."""

    def run(*places):
        entries = [
            {"name": f"shop{number}", "kind": "sqlite", "place": str(shared / place)}
            for number, place in enumerate(places)
        ]
        target = shared.parent / "target"
        return copying.copy_all({"shared": shared, "target": target, "databases": entries})

    return run


def make(path, journal="wal"):
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    database.execute(f"pragma journal_mode = {journal}")
    database.execute("create table orders (id integer primary key, what text)")
    return contextlib.closing(database)


def rows(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        return [row[0] for row in database.execute("select id from orders order by id")]


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_database_in_use_is_copied_with_all_that_was_committed(shared, copy, journal):
    with make(shared / "shop.db", journal) as database:
        database.executemany("insert into orders values (?, 'x')", [(n,) for n in range(100)])
        database.execute("begin")
        database.execute("insert into orders values (1000, 'not yet')")
        report = copy("shop.db")
        database.execute("rollback")
    assert report["problems"] == report["notes"] == []
    copied = shared.parent / "target" / "shop0.sqlite"
    assert rows(copied) == list(range(100))
    assert sorted(path.name for path in copied.parent.iterdir()) == ["shop0.sqlite"]
    assert {Path(path).name for path in report["left_out"]} == {
        "shop.db",
        "shop.db-wal",
        "shop.db-shm",
        "shop.db-journal",
    }


def test_a_copy_is_of_one_moment_while_others_write(shared, copy):
    with make(shared / "shop.db") as database:
        over, wrote = threading.Event(), 0

        def write():
            nonlocal wrote
            while not over.is_set():
                # Both or none, as in a transfer.
                database.execute("begin")
                for _ in range(2):
                    wrote += 1
                    database.execute("insert into orders values (?, ?)", (wrote, "x" * 2000))
                database.execute("commit")

        writer = threading.Thread(target=write)
        writer.start()
        try:
            reports = [copy("shop.db") for _ in range(5)]
        finally:
            over.set()
            writer.join()
    assert [report["problems"] for report in reports] == [[]] * 5
    found = rows(shared.parent / "target" / "shop0.sqlite")
    assert found == list(range(1, len(found) + 1))
    assert len(found) % 2 == 0


def test_a_log_that_no_process_has_open_is_part_of_the_copy(shared, copy):
    """As after `kill -9`."""
    with make(shared / "shop.db") as database:
        database.execute("insert into orders values (1, 'in the log')")
        for suffix in ("", "-wal"):
            path = shared / f"killed.db{suffix}"
            path.write_bytes((shared / f"shop.db{suffix}").read_bytes())
    assert copy("killed.db")["problems"] == []
    assert rows(shared.parent / "target" / "shop0.sqlite") == [1]


def test_a_database_that_another_process_keeps_for_itself_is_given_up(shared, copy, monkeypatch):
    monkeypatch.setattr(copying, "BUSY_SECONDS", 0.1)
    with make(shared / "shop.db", "delete") as database:
        database.execute("begin exclusive")
        (problem,) = copy("shop.db")["problems"]
    assert problem.startswith("aroundtheworld_databases: there is no copy of 'shop0': ")
    assert "locked" in problem


def test_a_damaged_database_has_no_copy(shared, copy):
    with make(shared / "shop.db", "delete") as database:
        database.executemany(
            "insert into orders values (?, ?)", [(n, "x" * 900) for n in range(99)]
        )
    content = bytearray((shared / "shop.db").read_bytes())
    content[20000:40000] = bytes(20000)
    (shared / "shop.db").write_bytes(content)
    (problem,) = copy("shop.db")["problems"]
    assert "SQLite finds it damaged" in problem


@pytest.mark.parametrize(
    ("make_it", "why"),
    [
        (lambda path: None, "there is no file"),
        (lambda path: path.mkdir(), "there is no file"),
        (lambda path: path.write_text("no database at all\n" * 99), "file is not a database"),
        (lambda path: path.symlink_to("/etc/passwd"), "which is not in"),
        (lambda path: path.symlink_to(path), "there is no file"),
        (lambda path: os.mkfifo(path), "there is no file"),
    ],
    ids=["nothing", "a directory", "a text", "a link out", "a circle", "a pipe"],
)
def test_what_is_no_database_in_shared_has_no_copy(shared, copy, make_it, why):
    make_it(shared / "shop.db")
    (problem,) = copy("shop.db")["problems"]
    assert why in problem


def test_a_link_inside_of_shared_leads_to_the_database(shared, copy):
    with make(shared / "real.db"):
        (shared / "shop.db").symlink_to("real.db")
        report = copy("shop.db")
    assert report["problems"] == report["notes"] == []
    assert {str(shared / name) for name in ("real.db-wal", "shop.db")} <= {*report["left_out"]}


def test_there_is_no_copy_without_room_for_it(shared, copy, monkeypatch):
    monkeypatch.setattr(copying, "spare", lambda directory: 5000)
    with make(shared / "shop.db"):
        (problem,) = copy("shop.db")["problems"]
    assert "its copy needs " in problem
    assert "5.0 kB may be used" in problem


def test_databases_that_nobody_named_and_links_out_are_told(shared, copy):
    with make(shared / "shop.db"), make(shared / "other.db"):
        (shared / "in").mkdir()
        (shared / "in" / "circle").symlink_to("circle")
        (shared / "in" / "out").symlink_to("/etc/shadow")
        (shared / "in" / "inside").symlink_to("../other.db")
        (shared / "text").write_text("x" * 512)
        os.mkfifo(shared / "pipe")
        loose, outside = copy("shop.db")["notes"]
    assert loose.startswith(f"{shared}/other.db is a SQLite database that ")
    assert outside.startswith(f"{shared}/in/out is a link to /etc/shadow, ")


def test_of_many_notes_of_one_kind_some_are_told(shared, copy):
    for number in range(copying.SHOWN + 3):
        (shared / f"link{number}").symlink_to("/etc")
    notes = copy()["notes"]
    assert len(notes) == copying.SHOWN + 1
    assert notes[-1] == "And 3 more like that."


def test_the_process_takes_and_gives_json(shared, monkeypatch, capsys):
    task = {"shared": str(shared), "target": str(shared.parent), "databases": []}
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(task)))
    copying.main()
    assert json.loads(capsys.readouterr().out) == {
        key: [] for key in ("problems", "notes", "left_out", "wal")
    }


def test_a_reserve_is_left_and_it_is_not_a_large_part_of_a_large_disk(tmp_path):
    assert room.reserve(10**9) == 5 * 10**7
    assert room.reserve(10**13) == 2048 * room.MIB
    assert room.spare(tmp_path) < os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    assert [room.shown(size) for size in (0, 999, 1000, 2.5e9, 7e12)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "2.5 GB",
        "7000.0 GB",
    ]
