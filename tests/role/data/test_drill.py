"""A drill finds what keeps a backup from being restored: with a real restic, and real databases."""

import itertools
import json
import os
import shutil
import sqlite3
import time
from pathlib import Path

import pytest
from ansible.module_utils.aroundtheworld.data import drill as drill_module
from ansible.module_utils.aroundtheworld.data import postgresql, program, state
from ansible.module_utils.aroundtheworld.data.checking import check_all, check_sqlite, scratch_name
from ansible.module_utils.aroundtheworld.data.copying import CopyError
from ansible.module_utils.aroundtheworld.data.drill import Drill
from ansible.module_utils.aroundtheworld.data.failures import BusyError
from ansible.module_utils.aroundtheworld.data.restic import Restic
from ansible.module_utils.aroundtheworld.data.settings import Settings
from ansible.module_utils.aroundtheworld.data.sums import sums
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.systemd import HostError

from tests.matrix import chosen
from tests.role.data.quick_key import quicken

PASSWORD = "a very long password"


class Shop:
    """A site with a real repository."""

    def __init__(self, root):
        self.root, self.layout = root, SiteLayout(root / "home", "shop", root)
        place = str(self.layout.shared / "shop.db")
        self.databases = [{"name": "shop", "kind": "sqlite", "place": place}]
        self.settings = Settings(
            *("shop", str(self.layout.home), "shop", str(root / "backups"), ""),
            keep={},
            databases=self.databases,
            process=[],
        )

    def make(self):
        for directory in (self.layout.shared, self.layout.backup_settings, self.layout.backup):
            directory.mkdir(parents=True)
        (self.layout.backup_settings / "password").write_text(f"{PASSWORD}\n")
        (self.layout.shared / "ada.jpg").write_bytes(os.urandom(200_000))
        self.restic.make()
        quicken(Path(self.settings.repository), PASSWORD)

    @property
    def restic(self):
        layout = self.layout
        password = layout.backup_settings / "password"
        return Restic(self.settings.repository, password, layout.backup / "cache")

    def back_up(self, **manifest):
        copies = self.layout.staging / "databases"
        copies.mkdir(parents=True)
        database(
            copies / "shop.sqlite", "create table ware (x)", "insert into ware values (1), (2)"
        )
        known = {"databases": self.databases, "copies": sums(copies), **manifest}
        (self.layout.staging / "manifest.json").write_text(json.dumps(known))
        paths = [self.layout.staging, self.layout.shared]
        made = self.restic.backup("shop", os.uname().nodename, paths, [], lambda: None)
        shutil.rmtree(self.layout.staging)
        last = {"time": "2026-11-27T03:15:00+00:00", "id": made.id[:8], "seconds": 1.0}
        state.change_state(self.layout, repository=self.settings.repository, last=last)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two sites that tests copy: without a backup, and with one."""
    roots = [tmp_path_factory.mktemp("shop") / name for name in ("bare", "whole")]
    Shop(roots[0]).make()
    shutil.copytree(roots[0], roots[1])
    Shop(roots[1]).back_up()
    return roots


def copied(root, place, monkeypatch):
    shutil.copytree(root, place)
    shop = Shop(place)
    if state.read_state(shop.layout)["last"]:
        state.change_state(shop.layout, repository=shop.settings.repository)
    monkeypatch.setattr(Settings, "layout", shop.layout)
    monkeypatch.setattr(drill_module, "run_as_worker", lambda *words: check_all(words[3]))
    shop.drill = Drill(shop.settings, place / "program")
    return shop


@pytest.fixture
def bare(made, tmp_path, monkeypatch):
    """A site without a backup; `back_up` makes one."""
    return copied(made[0], tmp_path / "host", monkeypatch)


@pytest.fixture
def host(made, tmp_path, monkeypatch):
    """A site with a backup."""
    return copied(made[1], tmp_path / "host", monkeypatch)


def packs(host):
    """The files with the content, the largest last."""
    files = (host.root / "backups" / "data").rglob("*")
    return sorted((each for each in files if each.is_file()), key=lambda each: each.stat().st_size)


def test_a_backup_that_can_be_restored_is_told_and_nothing_is_left(host):
    identity = state.read_state(host.layout)["last"]["id"]
    last = host.drill.make()["last"]
    assert last["id"] == identity
    assert (last["files"], last["notes"]) == ("restored", [])
    assert last["databases"] == [{"name": "shop", "how": "restored", "tables": 1, "rows": 2}]
    assert last["bytes"] > 200_000
    assert not host.layout.scratch.exists()
    assert state.read_drill(host.layout)["last"] == last
    assert state.read_state(host.layout)["last"]["id"] == identity


def damage(path):
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "room"),
    chosen([*itertools.product([damage, Path.unlink], ["enough", "too little"])], 2),
)
def test_a_damaged_pack_is_found_whether_or_not_there_is_room(host, harm, room, monkeypatch):
    if room == "too little":
        monkeypatch.setattr(drill_module, "spare", lambda directory: 100_000)
    harm(packs(host)[-1])
    began = time.monotonic()
    with pytest.raises(HostError, match=r"^The backup \w{8} of .* could not be restored: "):
        host.drill.make()
    assert time.monotonic() - began < 30  # restic 0.14 would try for most of a minute
    assert not host.layout.scratch.exists()


def test_without_room_for_all_of_it_everything_is_read_and_databases_are_restored(
    host, monkeypatch
):
    monkeypatch.setattr(drill_module, "spare", lambda directory: 100_000)
    last = host.drill.make()["last"]
    assert last["files"] == "read"
    assert "all of it takes 2" in last["notes"][0]
    assert last["databases"][0]["rows"] == 2


def test_a_drill_ends_before_it_takes_the_last_room(host, monkeypatch):
    monkeypatch.setattr(drill_module, "spare", lambda directory: -1)
    with pytest.raises(HostError, match="came to its end meanwhile"):
        host.drill.watch()


def test_a_copy_that_is_not_the_one_that_was_made_is_found(bare):
    bare.back_up(copies={"shop.sqlite": "0" * 64})
    with pytest.raises(HostError, match=r"damaged. Its copy shop.sqlite is not the one that was"):
        bare.drill.make()


def test_a_backup_of_an_older_role_has_no_sums_and_can_be_tried(bare):
    bare.back_up(copies={})
    assert bare.drill.make()["failed"] == {}


def test_a_copy_that_is_missing_is_found(bare):
    more = {"name": "other", "kind": "sqlite", "place": "/x"}
    bare.back_up(databases=[more])
    with pytest.raises(HostError, match=r"Its copy other.sqlite is missing. The copy of 'other'"):
        bare.drill.make()


@pytest.mark.parametrize("name", chosen(["../../../shop", ""], 1))
def test_a_manifest_that_no_role_wrote_moves_nothing(bare, name):
    bare.back_up(databases=[{"name": name, "kind": "sqlite", "place": "/x"}])
    with pytest.raises(HostError, match=r"has no manifest .it names a database"):
        bare.drill.make()


def test_a_link_in_the_way_to_the_databases_is_not_followed(host):
    elsewhere = host.root / "elsewhere"
    restore = host.drill.restic.restore

    def with_a_link(identity, target, *words):
        restore(identity, target, *words)
        (backup,) = Path(target).rglob("home/backup")
        backup.rename(elsewhere)
        backup.symlink_to(elsewhere)

    host.drill.restic.restore = with_a_link
    with pytest.raises(HostError, match="has a link in the way to its databases"):
        host.drill.make()
    assert (elsewhere / "staging" / "databases" / "shop.sqlite").exists()


def test_a_backup_that_is_gone_from_the_repository_is_missed(host):
    last = {"time": "2099-01-01T00:00:00+00:00", "id": "0badcafe"}
    state.change_state(host.layout, last=last)
    with pytest.raises(HostError, match=r"0badcafe of 2099-01-01\S+, is not in .*; the last there"):
        host.drill.make()


def test_another_repository_in_its_place_is_not_tried(host):
    state.change_state(host.layout, id="4711")
    with pytest.raises(HostError, match="is another than that of the last backup"):
        host.drill.make()


def test_without_a_backup_there_is_nothing_to_try(bare):
    with pytest.raises(HostError, match="There is no backup of the site shop"):
        bare.drill.make()


def test_what_a_killed_drill_left_goes_with_the_next_one(host):
    (host.layout.scratch / "restored" / "x").mkdir(parents=True)
    host.drill.make()
    assert not host.layout.scratch.exists()


def test_after_a_kill_servers_and_disk_are_tidy(host, monkeypatch):
    tasks = []
    monkeypatch.setattr(drill_module, "run_as_worker", lambda *words: tasks.append(words[3]))
    host.drill.tidy()
    assert tasks == []
    (host.layout.scratch / "databases").mkdir(parents=True)
    host.drill.tidy()
    assert tasks[0]["tidy"]
    assert not host.layout.scratch.exists()


def test_a_repository_that_somebody_has_for_himself_is_waited_for(host, monkeypatch):
    tries = []
    run = host.drill.restic._run

    def busy_once(arguments, *words, **options):
        if "restore" in arguments and not tries:
            tries.append(arguments)
            return 11, "", "already locked"
        return run(arguments, *words, **options)

    monkeypatch.setattr(host.drill.restic, "_run", busy_once)
    monkeypatch.setattr("ansible.module_utils.aroundtheworld.data.restic.PAUSE_SECONDS", 0.0)
    assert host.drill.make()["failed"] == {}
    assert tries
    assert issubclass(BusyError, HostError)


def test_a_drill_that_failed_is_written_down_beside_a_backup_that_went_well(
    host, monkeypatch, capsys
):
    monkeypatch.setattr(program, "read_settings", lambda site: host.settings)
    monkeypatch.setattr(program, "Drill", lambda settings, path: host.drill)
    monkeypatch.setattr(program.signal, "signal", lambda *_: None)
    assert program.main(["drill", "shop"], host.root) == 0
    out = capsys.readouterr().out
    assert "shop: restored, 1 tables with 2 rows\n" in out
    assert "can be restored: " in out
    damage(packs(host)[-1])
    assert program.main(["drill", "shop"], host.root) == 1
    assert "could not be restored" in state.read_drill(host.layout)["failed"]["cause"]
    assert state.read_state(host.layout)["failed"] == {}
    told = (host.layout.backup / "drill-failure").read_text()
    assert told.startswith('BACKUP_FAILURE="The drill failed. The backup ')
    status, problems = state.backup_status(host.layout, 0.0)
    assert status["drill"]["last"]["files"] == "restored"
    assert problems[0].startswith("the drill of 2")


# --- Databases ---


def database(path, *statements):
    with sqlite3.connect(path) as opened:
        for statement in statements:
            opened.execute(statement)
    opened.close()
    return path


def test_rows_of_tables_with_any_name_are_counted(tmp_path):
    path = database(
        tmp_path / "a b?.sqlite",
        'create table "a ""b"" c" (x)',
        'insert into "a ""b"" c" values (1), (2)',
        "create table empty (x)",
    )
    assert check_sqlite(path) == ({'a "b" c': 2, "empty": 0}, [])
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_an_index_that_does_not_fit_its_table_is_found(tmp_path):
    path = database(
        tmp_path / "x.sqlite",
        "create table t (x)",
        "create index i on t (x)",
        "insert into t values (1), (2)",
        "pragma writable_schema = on",
        "update sqlite_master set sql = 'create index i on t (-x)' where name = 'i'",
    )
    with pytest.raises(CopyError, match="SQLite finds it damaged: "):
        check_sqlite(path)


STOCK = {"name": "stock", "kind": "postgresql", "place": "url"}
NUMBERS = itertools.count()


class Stock:
    """A database whose owner is no superuser, with a dump of two rows, and what checks that."""

    def __init__(self, server, directory):
        self.server, self.name = server, f"tried_{next(NUMBERS)}"
        self.directory = directory
        server.run(f"create role {self.name} login")
        server.run(f"create database {self.name} owner {self.name} strategy file_copy")
        self.own("create table ware (name text primary key)", "insert into ware values (1), (2)")
        self.url = f"postgresql://{self.name}@/{self.name}?host={server.directory}"
        (directory / "url").write_text(self.url)
        self.dump = directory / "stock.pgdump"
        postgresql.dump(postgresql.connection(self.url), self.dump)

    def own(self, *statements):
        return self.server.run_in(self.name, f"set role {self.name}", *statements)

    def check(self, **more):
        task = {"source": str(self.directory), "scratch": "www1/shop", "databases": [STOCK]}
        return check_all({**task, **more})

    def databases(self):
        query = "select string_agg(datname, ' ') from pg_database where datname like 'drill%'"
        return self.server.run_in("postgres", query)


@pytest.fixture
def stock(postgres, tmp_path, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    made = Stock(postgres, tmp_path)
    yield made
    postgres.run(f"drop database {made.name} with (force)")
    postgres.run(f"drop role {made.name}")


def test_a_dump_is_restored_where_its_user_may_make_a_database(stock):
    stock.server.run(f"alter role {stock.name} createdb")
    report = stock.check()
    entry = {"name": "stock", "how": "restored", "tables": 1, "rows": 2}
    assert report == {"problems": [], "notes": [], "databases": [entry]}
    assert stock.databases() is None


def test_elsewhere_a_dump_is_read_to_its_end_and_that_is_told(stock):
    report = stock.check()
    entry = {"name": "stock", "how": "read", "tables": 1, "rows": 2}
    assert (report["problems"], report["databases"]) == ([], [entry])
    assert "the user of its URL may not create a database" in report["notes"][0]
    (stock.directory / "url").write_text("postgresql:///x?host=/nowhere")
    report = stock.check()
    assert report["databases"] == [entry]
    assert "stock: the dump was only read (psql failed: " in report["notes"][0]


@pytest.mark.parametrize("may_create", [True, False])
def test_a_dump_that_was_cut_off_is_found(stock, may_create):
    stock.server.run(f"alter role {stock.name} {'createdb' if may_create else 'nocreatedb'}")
    content = stock.dump.read_bytes()
    stock.dump.write_bytes(content[:-60])
    (problem,) = stock.check()["problems"]
    assert problem.startswith("The copy of 'stock' cannot be used: ")
    assert stock.databases() is None


def test_a_dump_that_cannot_be_restored_is_found_and_no_row_is_told(stock):
    stock.server.run(f"alter role {stock.name} createdb")
    stock.own("insert into ware values ('s3cret-a'), ('s3cret-b')")
    postgresql.dump(postgresql.connection(stock.url), stock.dump)
    stock.dump.write_bytes(stock.dump.read_bytes().replace(b"s3cret-b", b"s3cret-a"))
    (problem,) = stock.check()["problems"]
    assert "could not create unique index" in problem
    assert "s3cret" not in problem
    assert stock.databases() is None


def test_what_only_an_administrator_may_make_is_no_damage(stock):
    stock.server.run(f"alter role {stock.name} createdb")
    stock.server.run_in(stock.name, "create extension pageinspect")
    postgresql.dump(postgresql.connection(stock.url), stock.dump)
    report = stock.check()
    assert report["problems"] == []
    assert report["databases"][0]["how"] == "read"
    assert "permission denied to create extension" in report["notes"][0]


def test_a_scratch_database_of_a_drill_that_was_killed_is_removed(stock):
    stock.server.run(f"alter role {stock.name} createdb")
    name = scratch_name("www1/shop", STOCK)
    stock.server.run(f"create database {name} owner {stock.name}")
    assert stock.check(tidy=True) == {"problems": [], "notes": [], "databases": []}
    assert stock.databases() is None
    stock.server.run(f"create database {name} owner {stock.name}")
    assert stock.check()["databases"][0]["how"] == "restored"
    assert stock.databases() is None
    assert scratch_name("www2/shop", STOCK) != name
