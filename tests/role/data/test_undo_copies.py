"""Copies of databases from before migrations: whole or not there, and which of them stay."""

import contextlib
import sqlite3
from pathlib import Path

import pytest
from ansible.module_utils.aroundtheworld.data import as_worker, copying
from ansible.module_utils.aroundtheworld.data.settings import Settings
from ansible.module_utils.aroundtheworld.data.undo_copies import (
    UndoCopies,
    UndoCopy,
    copy_of,
    needed,
    prune,
    read_copies,
)
from ansible.module_utils.aroundtheworld.systemd import HostError


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A site with a database, whose worker's process is this one."""
    home = tmp_path / "home"
    (home / "shared").mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(home / "shared/shop.db")) as database:
        database.execute("pragma journal_mode = wal")
        database.executescript("create table orders (id); insert into orders values (1), (2)")
    databases = [{"name": "shop", "kind": "sqlite", "place": str(home / "shared/shop.db")}]
    settings = Settings("shop", str(home), "tornado", "", "", {}, databases, [])

    def run(settings, program, subcommand, task, writes, priority):
        assert (program.read_text(), program.stat().st_mode & 0o777) == ("program", 0o755)
        assert (subcommand, str(writes)) == ("copy", task["target"])
        return copying.copy_all(task)

    monkeypatch.setattr(as_worker, "run_as_worker", run)
    return UndoCopies(settings, b"program")


def make(site, release="r1", following="r2"):
    return site.make(release, following, site.settings.databases, ["r0", "r1"])


def rows(copy):
    with contextlib.closing(sqlite3.connect(copy.source / "shop.sqlite")) as database:
        return [row[0] for row in database.execute("select id from orders")]


def test_a_copy_has_the_databases_and_what_is_needed_to_go_back(site):
    copy = make(site)
    assert rows(copy) == [1, 2]
    assert read_copies(site.layout) == [copy]
    assert (copy.release, copy.following, copy.migrated) == ("r1", "r2", ["r0", "r1"])
    assert (copy.done, copy.is_left, copy.wal) == (False, False, ["shop"])
    assert 0 <= copy.age < 60
    site.mark_done(copy)
    assert [each.done for each in read_copies(site.layout)] == [True]


def test_only_root_and_the_sites_user_can_read_a_copy(site):
    copy = make(site)
    modes = [path.stat().st_mode & 0o777 for path in (copy.source, copy.directory / "copy.json")]
    assert modes == [0o700, 0o600]
    assert site.layout.undo.stat().st_mode & 0o777 == 0o711


def test_of_a_copy_that_fails_nothing_is_left_and_the_others_stay(site):
    copy = make(site)
    (site.layout.shared / "shop.db").write_bytes(b"SQLite format 3\0" + bytes(4096))
    with pytest.raises(HostError, match="there is no copy of 'shop'"):
        make(site)
    assert [path.name for path in site.layout.undo.iterdir() if path.is_dir()] == [
        copy.directory.name
    ]


def test_what_was_cut_off_does_not_count_and_goes(site):
    copy = make(site)
    half = site.layout.undo / ".making/databases"
    half.mkdir(parents=True)
    removed = site.layout.undo / "20200101T000000Z-0"
    removed.mkdir()
    assert read_copies(site.layout) == [copy]
    prune(site.layout, ["r1"])
    assert not half.exists()
    assert not removed.exists()
    assert read_copies(site.layout) == [copy]


def test_copies_of_one_second_are_two(site):
    assert make(site).directory != make(site).directory


def copies(*names):
    """Copies as ``release>following``, with a ``+`` when that migration succeeded."""
    made = []
    for number, name in enumerate(names):
        release, _, following = name.rstrip("+").partition(">")
        path = Path(str(number))
        made.append(UndoCopy(path, "", release, following, [], [], [], done=name[-1] == "+"))
    return made


def told(made):
    return [int(copy.directory.name) for copy in made]


@pytest.mark.parametrize(
    ("names", "releases", "kept"),
    [
        (["a>b+", "b>c+"], "abc", [0, 1]),
        (["a>b+", "b>c+"], "bc", [1]),
        (["a>b+", "a>c+"], "abc", [1]),
        (["a>b", "a>b", "a>b"], "ab", [0, 2]),
        (["a>b", "a>b", "a>b+"], "ab", [0, 2]),
        (["a>b+", "a>c", "a>c", "a>c+"], "abc", [1, 3]),
        (["b>", "a>b+", "c>"], "ab", [1, 2]),
        (["b>"], "", [0]),
        ([], "a", []),
    ],
    ids=[
        "each release", "a release is gone", "the newest", "all failed", "then it succeeded",
        "after another", "what the last undo left", "without its release", "none",
    ],
)  # fmt: skip
def test_which_copies_stay(names, releases, kept):
    assert told(needed(copies(*names), releases)) == kept


def test_the_newest_copy_of_a_release_is_meant():
    made = copies("a>b+", "a>c+", "c>", "b>d")
    assert [copy_of(made, release) for release in "abcd"] == [made[1], made[3], made[2], None]


def test_releases_that_are_gone_take_their_copies_along(site):
    first, second = make(site, "r1", "r2"), make(site, "r2", "r3")
    site.mark_done(first)
    prune(site.layout, ["r2", "r3"])
    assert [copy.directory for copy in read_copies(site.layout)] == [second.directory]
    assert not first.directory.exists()
