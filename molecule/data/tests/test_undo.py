"""A migration that destroys something is undone, and none has pages wait for a lock."""

import json
import re
import secrets
import shlex
import shutil
from pathlib import Path

import pytest

from tests.waiting import until

pytestmark = pytest.mark.once

CHECKOUT = Path(__file__).resolve().parents[3]
HOME = "/var/lib/tornado/aroundtheworld"
GAME = f"{HOME}/shared/aroundtheworld.db"
# What a release of this test has beside the game: what its migration does to both databases, and
# whether it can run on them as they are.
MODULE = """# {token}
import os
import sqlite3
import subprocess
import sys

import sqlalchemy as sa

DESTROYS = {destroys}


def on_server(statement):
    with open(os.environ["STOCK_URL_FILE"]) as file:
        url = sa.make_url(file.read().strip())
    who = {{"PGHOST": url.host, "PGUSER": url.username, "PGDATABASE": url.database}}
    return subprocess.run(
        ["psql", "--no-psqlrc", "--tuples-only", "--set=ON_ERROR_STOP=1", "--command", statement],
        env={{**os.environ, **who, "PGPASSWORD": url.password}},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def migrate():
    if DESTROYS:
        on_server("alter table keepsakes drop column words")
        with sqlite3.connect(os.environ["DATABASE_URL"].removeprefix("sqlite:///")) as database:
            database.execute("alter table keepsakes drop column words")


def check():
    count = on_server("select count(*) from information_schema.columns where column_name = 'words'")
    if int(count) != (not DESTROYS):
        sys.exit("the column with the words is missing")


globals()[sys.argv[1]]()
"""
ROWS = ["1|a ticket", "2|a shell"]
KEEPSAKES = (
    "create table keepsakes (id integer primary key, words text);"
    "insert into keepsakes values (1, 'a ticket'), (2, 'a shell');"
)
FORGET = "drop table if exists keepsakes"


class Keepsakes:
    """A table in both databases."""

    def __init__(self, host):
        self.host = host

    def in_game(self, statement):
        command = shlex.join(["sqlite3", GAME, statement])
        return self.host.check_output(f"runuser -u tornado -- {command}").split("\n")

    def on_server(self, statement):
        return self.as_postgres(f"set role stock; {statement}")

    def as_postgres(self, statement):
        command = ["psql", "--quiet", "--no-align", "--tuples-only", "--dbname=stock"]
        command += ["--command", statement]
        return self.host.check_output(f"runuser -u postgres -- {shlex.join(command)}").split("\n")

    def both(self, statement):
        return [self.in_game(statement), self.on_server(statement)]


@pytest.fixture
def keepsakes(host):
    keepsakes = Keepsakes(host)
    keepsakes.both(FORGET)
    keepsakes.both(KEEPSAKES)
    yield keepsakes
    keepsakes.both(FORGET)


@pytest.fixture
def release(tmp_path, ansible_playbook):
    """Returns a function that deploys the game with a module; afterwards it is as it was."""
    settings = {
        "aroundtheworld_migrate_command": "python -m aroundtheworld.keepsakes migrate",
        "aroundtheworld_schema_check_command": "python -m aroundtheworld.keepsakes check",
        "aroundtheworld_migrate_lock_timeout": 2,
    }
    token = secrets.token_hex(4)

    def run(*words, destroys=None):
        if destroys is None:
            return ansible_playbook(*words, "-e", json.dumps(settings))
        app = tmp_path / f"app-{destroys}"
        if not app.exists():
            ignored = shutil.ignore_patterns("tests", "__pycache__", ".*")
            shutil.copytree(CHECKOUT / "app", app, ignore=ignored)
        # Another release each time: one that was here before does not migrate again.
        module = MODULE.format(destroys=destroys, token=token)
        (app / "aroundtheworld/keepsakes.py").write_text(module)
        more = {"aroundtheworld_app_dir": str(app)}
        return ansible_playbook(*words, "-e", json.dumps(settings | more))

    yield run
    assert ansible_playbook().returncode == 0


def test_a_migration_that_destroys_a_column_is_undone(
    host, site, keepsakes, release, worker_statuses
):
    assert release(destroys=False).returncode == 0
    former = host.check_output(f"readlink {HOME}/current")
    written = site.write()
    assert release(destroys=True).returncode == 0
    assert keepsakes.both("select * from keepsakes") == [["1", "2"], ["1", "2"]]
    present = host.check_output(f"readlink {HOME}/current")

    refused = release("--tags", "rollback")
    assert refused.returncode != 0
    assert "the column with the words is missing" in refused.output
    with_data = f"-e aroundtheworld_with_data=true -e aroundtheworld_release={Path(former).name}"
    assert f"--tags rollback {with_data}" in refused.output
    assert host.check_output(f"readlink {HOME}/current") == present
    lost = site.write()

    undone = release("--tags", "rollback", "-e", "aroundtheworld_with_data=true")
    assert undone.returncode == 0
    assert re.search(r"loses the changes of \d+ minute", undone.output)
    assert re.search(r"changes of the last \d+ minutes? .* are gone", undone.output)
    assert host.check_output(f"readlink {HOME}/current") == former
    assert {status["release"] for status in worker_statuses().values()} == {Path(former).name}
    assert keepsakes.both("select * from keepsakes order by id") == [ROWS, ROWS]
    rounds = keepsakes.in_game("select id from rounds")
    assert written in rounds
    assert lost not in rounds
    site.write()
    assert not host.file(f"{HOME}/maintenance.html").exists
    assert host.file(GAME).user == "tornado"

    # What was there before the undo is still there.
    again = f"aroundtheworld_release={Path(present).name}"
    redone = release("--tags", "rollback", "-e", "aroundtheworld_with_data=true", "-e", again)
    assert redone.returncode == 0
    assert keepsakes.both("select * from keepsakes") == [["1", "2"], ["1", "2"]]
    assert lost in keepsakes.in_game("select id from rounds")


def test_a_migration_gives_up_on_a_lock_before_pages_wait(host, keepsakes, release, visited, http):
    hold = "begin; lock table keepsakes in access share mode; select pg_sleep(600)"
    host.check_output(
        "systemd-run --quiet --collect --unit=holder --property=User=postgres "
        f"psql --dbname=stock --command={shlex.quote(hold)}"
    )
    try:
        held = "select count(*) from pg_locks where relation = 'keepsakes'::regclass"
        until(lambda: keepsakes.on_server(held), lambda found: found != ["0"], 10)
        with visited(http, "/") as outcomes:
            run = release(destroys=True)
    finally:
        end = "select pg_terminate_backend(pid) from pg_stat_activity where query ~ 'pg_sleep'"
        keepsakes.as_postgres(f"{end} and pid <> pg_backend_pid()")
    assert run.returncode != 0
    assert "for 2 s (aroundtheworld_migrate_lock_timeout) for a lock" in run.output
    assert set(outcomes) == {"200"}
    assert keepsakes.both("select * from keepsakes order by id") == [ROWS, ROWS]


def test_data_do_not_go_back_in_a_deployment(ansible_playbook):
    run = ansible_playbook("-e", "aroundtheworld_with_data=true")
    assert run.returncode != 0
    assert "aroundtheworld_with_data: true is not allowed in a deployment" in run.output
