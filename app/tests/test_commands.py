from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

APP = Path(__file__).parent.parent
SECRET = "x" * 32


def test_a_command_that_cannot_be_done_ends_with_a_sentence_and_status_1():
    done = subprocess.run(
        [sys.executable, "-m", "aroundtheworld", "migrate"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(APP)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("DATABASE_URL is not set. ")
    assert len(done.stderr.splitlines()) == 1


def test_from_nothing_to_a_working_admin(run, tmp_path):
    url = f"sqlite:///{tmp_path / 'game.db'}"
    before = run("check", DATABASE_URL=url, COOKIE_SECRET=SECRET)
    assert before.returncode == 1
    assert "run `python -m aroundtheworld migrate`" in before.stdout
    would = run("migrate", "--check", DATABASE_URL=url).stdout.splitlines()
    assert re.fullmatch(r"From revision none to \d{4}:", would[0])
    assert would[1] == "  0001: Players, places and rounds."
    assert "673 rows of the world were added" in run("migrate", DATABASE_URL=url).stdout
    assert "already: nothing to do" in run("migrate", "--check", DATABASE_URL=url).stdout
    assert run("check", DATABASE_URL=url, COOKIE_SECRET=SECRET).returncode == 0
    added = run("create-admin", "Ada", stdin="a long password\n", DATABASE_URL=url)
    assert added.stdout == "The administrator ada was added.\n"
    again = run("create-admin", "ada", stdin="another password\n", DATABASE_URL=url)
    assert "with a new password" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "stdin", "environ", "sentence"),
    [
        (["migrate"], "", {}, "DATABASE_URL is not set"),
        (["check"], "", {"DATABASE_URL": "sqlite://"}, "Neither COOKIE_SECRET_FILE nor"),
        (["create-admin", "a b"], "", {}, "'a b' cannot be a name; allowed are 2 to 30"),
        (
            ["create-admin", "ada"],
            "short\n",
            {"DATABASE_URL": "sqlite://"},
            "The password has 5 characters; 12 to 200",
        ),
        (
            ["create-admin", "ada"],
            "a long password\n",
            {"DATABASE_URL": "sqlite://"},
            "Was it migrated?",
        ),
        (
            ["check"],
            "",
            {"DATABASE_URL": "sqlite:////nowhere/game.db", "COOKIE_SECRET": SECRET},
            "The database cannot be read: unable to open database file",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(run, arguments, stdin, environ, sentence):
    done = run(*arguments, stdin=stdin, **environ)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_simulating_fills_a_migrated_database(run, database_url):
    done = run("simulate", "--players", "3", DATABASE_URL=database_url)
    assert done.stdout.startswith("3 players and ")
    assert done.stderr == ""


@pytest.mark.parametrize("players", ["0", "-1", "x"])
def test_simulating_refuses_what_is_not_a_number_of_players(run, players):
    done = run("simulate", f"--players={players}", DATABASE_URL="sqlite://")
    assert done.returncode == 2
    assert f"must be a whole number from 1, not '{players}'" in done.stderr
