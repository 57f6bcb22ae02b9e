"""A backup takes the place of a site's data, or everything is as it was, wherever that ends.

SQLite, files and renames are real; a file stands for a PostgreSQL database.
"""

import contextlib
import getpass
import json
import os
import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.data import (
    as_worker,
    copying,
    exchange,
    mounts,
    postgresql,
    postgresql_restore,
    putting,
    restoring,
    staged,
    workspace,
)
from ansible.module_utils.aroundtheworld.data.exchange import BEFORE, Exchange
from ansible.module_utils.aroundtheworld.data.journal import read_journal, restore_cut_off
from ansible.module_utils.aroundtheworld.data.restoring import Request, Restore, examine
from ansible.module_utils.aroundtheworld.data.settings import Settings
from ansible.module_utils.aroundtheworld.data.undo_copies import record_path
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.maintenance import switch as switches
from ansible.module_utils.aroundtheworld.maintenance.standstill import Standstill
from ansible.module_utils.aroundtheworld.maintenance.switch import Closing, Switch
from ansible.module_utils.aroundtheworld.systemd import HostError

from tests.matrix import chosen
from tests.role_files import load_python

USER = getpass.getuser()
CLOSING = Closing("all", ["public"], "restored", "", "60", "<page>", "{}", "ada")
REQUEST = Request("ada", CLOSING, ["cookie_secret"])
WORKER = "shop@10001.service"


class KilledError(BaseException):
    """The process is gone."""


class Budget:
    """Lets so many steps through; then all of them fail, or a single one."""

    def __init__(self, monkeypatch):
        self.left, self.error = None, KilledError
        for name in ("rename", "replace", "unlink", "mkdir", "rmdir"):
            self._wrap(monkeypatch, Path, name)
        self._wrap(monkeypatch, shutil, "rmtree")
        self._wrap(monkeypatch, os, "chown")

    def _wrap(self, monkeypatch, owner, name):
        real = getattr(owner, name)

        def call(*arguments, **options):
            self.step()
            return real(*arguments, **options)

        monkeypatch.setattr(owner, name, call)

    def step(self):
        if self.left is None:
            return
        if self.left == 0:
            if self.error is not KilledError:
                self.left = None
            raise self.error(28, "No space left on device")
        self.left -= 1


class Systemd:
    """A worker of the site."""

    def __init__(self, budget):
        self.budget, self.active, self.enabled = budget, {WORKER}, {WORKER}

    def call(self, verb, *words, check=True):
        if verb == "list-units":
            return "".join(f"{name} loaded active running\n" for name in self.active & {*words})
        self.budget.step()
        changes = {
            "stop": self.active.difference_update,
            "start": self.active.update,
            "disable": self.enabled.difference_update,
            "enable": self.enabled.update,
        }
        if verb in changes:
            changes[verb](word for word in words if word == WORKER)
        return ""

    def show(self, names, more=()):
        states = {True: "active", False: "inactive"}
        return {
            name: {
                "ActiveState": states[name in self.active],
                "UnitFileState": "enabled" if name in self.enabled else "disabled",
            }
            for name in names
        }


def database(path, word, journal="wal"):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as made:
        made.execute(f"pragma journal_mode = {journal}")
        made.execute("create table t (word text)")
        made.execute("insert into t values (?)", [word])


class World:
    """A host with a site, and a repository with a backup of it from another host's home."""

    def __init__(self, root, monkeypatch):
        self.root, self.budget = root, Budget(monkeypatch)
        self.layout = SiteLayout(root / "srv" / "shop", "shop", root)
        self.server = root / "server"
        databases = [
            {"name": "shop", "kind": "sqlite", "place": str(self.layout.shared / "shop.db")},
            {"name": "stock", "kind": "postgresql", "place": "url"},
        ]
        self.settings = Settings("shop", str(self.layout.home), USER, "", "", {}, databases, [])
        self.tree, self.systemd, self.phases = root / "tree", Systemd(self.budget), []
        self.snapshot = {
            "id": "8e5b80f3" * 8,
            "time": "2026-11-26T03:15:00Z",
            "hostname": "www1",
            "tags": ["aroundtheworld", "site=shop"],
            "paths": [f"{self.layout.home}/backup/staging"],
        }
        self.fill_repository()
        self.fill_host()

    def fill_repository(self):
        home = Path(self.tree, *self.layout.home.parts[1:])
        copies, shared = home / "backup" / "staging" / "databases", home / "shared"
        secrets = self.tree / "etc" / "shop" / "secrets"
        for directory in (copies, shared / "photos", secrets, home / "releases" / "r0"):
            directory.mkdir(parents=True)
        database(copies / "shop.sqlite", "then", "delete")
        (copies / "stock.pgdump").write_text("then")
        (shared / "photos" / "ada.jpg").write_text("then")
        (secrets / "cookie_secret").write_text("then")
        (home / "deploys.jsonl").write_text("")
        manifest = {
            "user": USER, "release": "r0", "environment": "e0", "home": str(self.layout.home),
            "databases": self.settings.databases, "owners": {"users": {}, "groups": {}},
            "wal": ["shop"], "migrated": ["r0"],
        }  # fmt: skip
        (copies.parent / "manifest.json").write_text(json.dumps(manifest))

    def fill_host(self):
        layout = self.layout
        for path in (layout.home, self.root / "etc"):
            if path.exists():
                shutil.rmtree(path)
        for directory in (layout.shared / "photos", layout.secrets, layout.release("r1")):
            directory.mkdir(parents=True)
        layout.current.symlink_to("releases/r1")
        (layout.release("r1") / ".migrated").touch()
        database(layout.shared / "shop.db", "now")
        (layout.shared / "photos" / "eve.jpg").write_text("now")
        (layout.secrets / "cookie_secret").write_text("now")
        self.server.write_text("now")
        self.systemd.active, self.systemd.enabled = {WORKER}, {WORKER}

    def restorer(self):
        standstill = Standstill(self.layout, self.systemd)
        return Restore(self.settings, self.root / "program", standstill, self.phases.append)

    def restore(self):
        return self.restorer().restore(self, self.snapshot, REQUEST)

    # --- As a repository

    def check(self):
        return "4711"

    def snapshots(self):
        return [self.snapshot]

    def file_text(self, snapshot, path):
        return Path(self.tree, *path.parts[1:]).read_text()

    def restore_bytes(self, snapshot):
        return 5000

    def write(self, snapshot, target, paths):
        self.budget.step()
        shutil.copytree(self.tree, target, dirs_exist_ok=True)

    # --- What there is

    def data(self):
        layout = self.layout
        with contextlib.closing(sqlite3.connect(layout.shared / "shop.db")) as made:
            words = [row[0] for row in made.execute("select word from t")]
        photos = sorted(path.name for path in (layout.shared / "photos").iterdir())
        secret = (layout.secrets / "cookie_secret").read_text()
        migrated = [path.parent.name for path in layout.releases.glob("*/.migrated")]
        return [*words, *photos, secret, self.server.read_text(), *migrated]

    def serves(self):
        return (
            self.systemd.active == self.systemd.enabled == {WORKER}
            and Switch(self.layout.home).closing() is None
            and not self.layout.standstill.exists()
        )


NOW = ["now", "eve.jpg", "now", "now", "r1"]
THEN = ["then", "ada.jpg", "then", "then", "r0"]


@pytest.fixture
def world(tmp_path, monkeypatch):
    made = World(tmp_path, monkeypatch)
    # The repository is one with its world; only this method has a name of its own there.
    repository = SimpleNamespace(
        check=made.check, snapshots=made.snapshots, file_text=made.file_text,
        restore_bytes=made.restore_bytes, restore=made.write,
    )  # fmt: skip
    real = made.restorer
    made.restore = lambda: real().restore(repository, made.snapshot, REQUEST)
    made.repository = repository
    secrets = tmp_path / "etc" / "shop" / "secrets"
    assert secrets.is_dir()
    monkeypatch.setattr(Settings, "layout", made.layout)
    staged_secret = Path(made.layout.restoring, "tree", "etc", "shop", "secrets")
    monkeypatch.setattr(staged.Staged, "secret", lambda self, name: staged_secret / name)
    monkeypatch.setattr(staged, "missing_mounts", lambda place: [])
    monkeypatch.setattr(staged, "mounts_below", lambda place: [])
    monkeypatch.setattr(switches, "PATIENCE", 0)
    files = {made.layout.units / "shop@.service", made.layout.drop_in(WORKER)}
    monkeypatch.setattr(belongings, "files", lambda site, root: files)

    def run(settings, program, subcommand, task, writes, priority):
        made.budget.step()
        return {"copy": copying.copy_all, "put": putting.put_all}[subcommand](task)

    for module in (as_worker, restoring):
        monkeypatch.setattr(module, "run_as_worker", run)
    for module in (copying, putting):
        monkeypatch.setattr(module, "credential", lambda entry: "url")
    monkeypatch.setattr(postgresql, "connection", lambda url: {})
    monkeypatch.setattr(postgresql, "database_bytes", lambda variables: 10)
    monkeypatch.setattr(
        postgresql, "dump", lambda variables, target: shutil.copy(made.server, target)
    )
    monkeypatch.setattr(postgresql_restore, "problem_with", lambda variables, dump: "")

    def put(variables, dump):
        made.budget.step()
        made.server.write_text(dump.read_text())
        made.budget.step()
        return []

    monkeypatch.setattr(postgresql_restore, "put", put)
    return made


def test_data_and_secrets_are_those_of_the_backup_and_the_site_stands_still(world):
    undo = record_path(world.layout)
    undo.parent.mkdir(parents=True, exist_ok=True)
    undo.write_text("{}")  # of one that was cut off
    outcome = world.restore()
    assert not undo.exists()
    assert world.data() == THEN
    assert (outcome.release, outcome.environment, outcome.notes) == ("r0", "e0", [])
    assert world.systemd.active == set()
    assert Switch(world.layout.home).closing() == CLOSING
    assert world.layout.release("r0").is_dir()  # to go back to
    assert not world.layout.restoring.exists()
    replaced = world.layout.replaced
    assert (replaced / "shared" / "photos" / "eve.jpg").exists()
    assert (replaced / "databases" / "stock.pgdump").read_text() == "now"
    assert (replaced / "secrets" / "cookie_secret").read_text() == "now"
    assert restore_cut_off(world.layout) == ""
    (entry,) = map(json.loads, world.layout.log.read_text().splitlines())
    assert (entry["verb"], entry["outcome"]) == ("restore", "done")
    assert entry["cause"] == "backup 8e5b80f3 of 2026-11-26T03:15:00+00:00 from www1"
    # A second one, with the first one's former data in the way.
    assert world.restore().notes == []
    assert world.data() == THEN


@pytest.mark.parametrize("how", ["killed", "failed"])
def test_wherever_it_ends_everything_is_as_it_was_and_the_next_one_restores(world, how):
    world.budget.error = KilledError if how == "killed" else OSError
    restored = 0
    for cut in chosen(range(400)):
        world.budget.left = None
        world.fill_host()
        world.budget.left = cut
        try:
            world.restore()
            restored += 1
        except KilledError:
            world.budget.left = None
            assert restore_cut_off(world.layout) or world.data() in (NOW, THEN)
            world.restorer().take_back_cut_off()
        except (OSError, HostError):
            assert how == "failed"
        spare, world.budget.left = world.budget.left, None
        if read_journal(world.layout).get("phase") == "done":
            assert world.data() == THEN, cut
        else:
            assert world.data() == NOW, cut
            assert world.serves(), cut
        assert restore_cut_off(world.layout) == ""
        world.restore()
        assert world.data() == THEN
        if restored and spare:
            break
    assert cut > 40


def test_a_database_that_was_not_put_anywhere_is_not_taken_back(world, monkeypatch):
    def put(variables, dump):
        raise postgresql_restore.UnchangedError("somebody has a lock")

    monkeypatch.setattr(postgresql_restore, "put", put)
    with pytest.raises(HostError, match=r"'stock' cannot be put back: somebody has a lock\.$"):
        world.restore()
    assert world.data() == NOW
    assert world.serves()


def test_a_restore_that_cannot_be_taken_back_says_so(world, monkeypatch):
    def settle(self):
        monkeypatch.setattr(postgresql_restore, "put", put)
        raise OSError(28, "No space left on device")

    def put(variables, dump):
        raise postgresql.DumpError("the server is gone")

    monkeypatch.setattr(Exchange, "settle", settle)
    with pytest.raises(HostError, match="\nNor could it be taken back: "):
        world.restore()
    assert "--tags restore takes that back" in restore_cut_off(world.layout)
    monkeypatch.undo()


def test_what_a_backup_lacks_or_has_more_is_told(world):
    manifest = Path(world.tree, *world.layout.home.parts[1:], "backup/staging/manifest.json")
    about = json.loads(manifest.read_text())
    mine, other = about["databases"]
    later = {**mine, "name": "former", "place": f"{world.layout.home}/shared/former.db"}
    about["databases"] = [later, {**other, "name": "old"}]
    manifest.write_text(json.dumps(about))
    database(manifest.parent / "databases" / "former.sqlite", "then", "delete")
    database(manifest.parents[2] / "shared" / "shop.db", "as it lay there")
    notes = sorted(world.restore().notes)
    assert (world.layout.shared / "former.db").exists()
    assert [note.split(",")[0] for note in notes] == [
        "The backup has a copy of the database 'old'",
        "The backup has no copy of the database 'shop'",
        "The backup has no copy of the database 'stock'",
    ]
    assert world.server.read_text() == "now"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"python": "2.7.18"}, "its Python is 2.7.18"),
        ({"machine": "vax"}, "its machine is vax"),
        ({"home": "/elsewhere"}, "its home is /elsewhere"),
    ],
)
def test_a_bare_host_that_cannot_run_the_release_is_told(world, change, why):
    manifest = Path(world.tree, *world.layout.home.parts[1:], "backup/staging/manifest.json")
    fitting = {"python": staged.platform.python_version(), "machine": staged.platform.machine()}
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **fitting}))
    world.layout.current.unlink()
    found = examine(world.repository, world.settings, "")
    assert found.result["release"] == "r0"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **change}))
    with pytest.raises(HostError, match=f"{why}.*Deploy the site here first"):
        examine(world.repository, world.settings, "")
    world.layout.current.symlink_to("releases/r1")
    examine(world.repository, world.settings, "")  # which has a release of its own


def test_nothing_is_stopped_without_room(world, monkeypatch):
    monkeypatch.setattr(staged, "spare", lambda place: 4000)
    with pytest.raises(HostError, match=r"has 5\.0 kB, and 4\.0 kB may be used"):
        world.restore()
    assert world.data() == NOW
    assert world.serves()


def test_a_disk_that_is_not_mounted_is_not_taken_for_an_empty_directory(world, monkeypatch):
    monkeypatch.setattr(staged, "missing_mounts", lambda place: [place / "photos"])
    with pytest.raises(HostError, match="photos is not mounted"):
        world.restore()
    assert world.serves()


# --- The module ---


@pytest.fixture
def module(world, run_module, monkeypatch):
    """Returns a function that runs a step of the module."""
    loaded = load_python("library/aroundtheworld_replace.py")
    made = []

    def restic(repository, password, cache, variables):
        made.append((password.read_text(), password.stat().st_mode & 0o777, variables))
        return world.repository

    monkeypatch.setattr(workspace, "Restic", restic)
    monkeypatch.setattr(loaded, "Systemd", lambda module: world.systemd)
    settings = {**vars(world.settings), "site": "shop"}
    brought = {
        "settings": settings,
        "password": "geheim",
        "environment": {"AWS": "x"},
        "program": "",
    }

    def run(step, **more):
        arguments = {"closing": vars(CLOSING), "generated": ["cookie_secret"], "who": "ada"}
        return run_module(loaded, step=step, backup=json.dumps(brought), **arguments, **more)

    run.made = made
    return run


def test_the_steps_of_the_module_are_those_of_a_restore(world, module):
    about = module("examine")
    assert (about["changed"], about["release"]) == (False, "r0")
    assert about["backup"].startswith("8e5b80f3 of ")
    assert module.made == [("geheim\n", 0o600, {"AWS": "x"})]
    dry = module("replace", check=True)
    assert (dry["changed"], world.data(), world.serves()) == (True, NOW, True)
    assert "of the backup 8e5b80f3" in dry["diff"]["after"]
    assert module("replace")["changed"]
    assert world.data() == THEN
    assert Switch(world.layout.home).closing() == CLOSING
    module("finish", check=True)
    assert Switch(world.layout.home).closing() == CLOSING
    module("finish")
    assert Switch(world.layout.home).closing() is None


def test_the_module_takes_back_what_was_cut_off_even_without_a_backup(world, module, run_module):
    world.budget.left = 60
    with pytest.raises(KilledError):
        world.restore()
    world.budget.left = None
    assert restore_cut_off(world.layout)
    world.snapshot["tags"] = []
    with pytest.raises(run_module.failed, match="Nothing was restored: There is no backup of"):
        module("examine")
    assert world.data() == NOW
    assert world.serves()


# --- Mounts ---


def files(directory):
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("mounted", [[], ["."], ["photos"], [".", "photos"], ["a/deep", "photos"]])
@pytest.mark.parametrize("end", ["done", "back"])
def test_what_is_mounted_stays_and_what_is_in_it_is_exchanged(tmp_path, mounted, end):
    live, new, before = (tmp_path / name for name in ("live", "new", "replaced/before"))
    for directory, word in ((live, "now"), (new, "then")):
        for name in ("photos/x", f"photos/{word}", f"only-{word}/x", "a/deep/x", "word", f"{word}"):
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(word)
    (live / "link").symlink_to("/etc")
    was = files(live)
    wanted = files(new)
    paths = [live / name for name in mounted]
    inodes = {path: path.stat().st_ino for path in paths}
    made = Exchange(live, new, before, paths)
    assert sum(made.needed().values()) >= 0
    had = [str(place) for place in made.places() if os.path.lexists(place)]
    made.forward()
    now = {name: text for name, text in files(live).items() if BEFORE not in name}
    assert now == wanted
    if end == "done":
        made.settle()
        made.forget()
        assert not before.exists()
        assert files(live) == wanted
    else:
        (live / "word").write_text("another")
        for _ in range(2):
            made.back(had)
            assert {name: text for name, text in files(live).items() if BEFORE not in name} == was
        assert (live / "link").is_symlink()
    assert {path: path.stat().st_ino for path in paths} == inodes


def test_what_is_mounted_at_a_directory_and_below_it_is_known(tmp_path):
    table = tmp_path / "proc" / "1" / "mountinfo"
    table.parent.mkdir(parents=True)
    line = "36 35 98:0 / {} rw,noatime - ext4 /dev/root rw\n"
    places = ["/", "/srv/shop/shared", "/srv/shop/shared/a\\040b", "/srv/shop/shared2"]
    table.write_text("".join(map(line.format, places)))
    found = mounts.mounts_below(Path("/srv/shop/shared"), tmp_path)
    assert found == [Path("/srv/shop/shared"), Path("/srv/shop/shared/a b")]


def test_a_copy_to_another_disk_that_fails_is_told(tmp_path, monkeypatch):
    live, new = tmp_path / "live", tmp_path / "new"
    for directory in (live, new):
        directory.mkdir()
    (new / "x").write_text("then")
    done = SimpleNamespace(returncode=1, stderr="cp: No space left on device")
    monkeypatch.setattr(exchange.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(HostError, match="No space left"):
        Exchange(live, new, tmp_path / "before", [live]).forward()
