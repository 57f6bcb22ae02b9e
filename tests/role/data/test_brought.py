"""What the controller brings to a host: the program, and a password that it made or was told."""

import json
import subprocess
import sys

import pytest

from aroundtheworld_controller.data.brought import VARIABLES, brought
from aroundtheworld_controller.data.password import FILE, make_password, password_file
from aroundtheworld_controller.data.program import BEGIN, program
from aroundtheworld_controller.rules import check_variables
from aroundtheworld_controller.variables import BadInputError
from tests.render import APP
from tests.role.refusals import DEFAULTS


def test_the_program_runs_where_there_is_nothing_but_python(tmp_path):
    path = tmp_path / "shop-backup"
    path.write_bytes(program())
    task = {"shared": str(tmp_path), "target": str(tmp_path), "databases": []}
    command = [sys.executable, "-I", "-S", "-B", str(path)]
    done = subprocess.run(
        [*command, "copy"], input=json.dumps(task), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {key: [] for key in ("problems", "notes", "left_out", "wal")}
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr[:6]) == (2, "usage:")


def test_the_same_files_are_the_same_program():
    first = program()
    program.cache_clear()
    assert program() == first
    assert first.startswith(BEGIN)
    assert len(first) < 100_000


@pytest.fixture
def bring(tmp_path):
    """Returns a function that returns what a host gets, and what the operator is told."""

    def run(check_mode=False, **more):
        variables = check_variables({**DEFAULTS, **APP, **more})
        chosen = {name: variables[name] for name in VARIABLES}
        text, news = brought(chosen, ["User=x"], str(tmp_path), check_mode=check_mode)
        return json.loads(text), news

    return run


def test_a_password_is_made_once_and_told_once(bring, tmp_path):
    first, news = bring()
    path = tmp_path / FILE
    assert path.read_text() == first["password"] + "\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert str(path) in news
    assert "keep a copy in another place" in news
    assert first["password"] not in news
    second, news = bring()
    assert (second, news) == (first, "")
    assert [each.name for each in tmp_path.iterdir()] == [FILE]


def test_hosts_that_ask_at_once_get_the_same_password(tmp_path):
    first, made = make_password(tmp_path / FILE)
    assert made
    assert make_password(tmp_path / FILE) == (first, False)


def test_a_dry_run_makes_no_password(bring, tmp_path):
    _, news = bring(check_mode=True)
    assert "would be made" in news
    assert list(tmp_path.iterdir()) == []


def test_a_password_from_the_vault_is_kept_nowhere_here(bring, tmp_path):
    wanted, news = bring(aroundtheworld_backup_password="from the vault, long")
    assert (wanted["password"], news) == ("from the vault, long", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        ("a long enough password\n", 0o644, "chmod 0600"),
        ("short\n", 0o600, "it must be one line of 16"),
        ("", 0o600, "is no password"),
    ],
)
def test_a_file_that_is_no_password_of_ours_is_refused(bring, tmp_path, text, mode, why):
    (tmp_path / FILE).write_text(text)
    (tmp_path / FILE).chmod(mode)
    with pytest.raises(BadInputError, match=why):
        bring()


@pytest.mark.parametrize("inventory", [None, "", "/nothing/here"])
def test_without_an_inventory_in_a_file_a_password_is_asked_for(inventory):
    with pytest.raises(BadInputError, match="aroundtheworld_backup_password: is missing"):
        password_file(inventory)


def test_the_host_knows_how_a_process_of_the_site_is_run(bring):
    wanted, _ = bring(aroundtheworld_backup_on_failure="tell '$HOME'")
    assert wanted["settings"]["process"] == ["User=x"]
    assert wanted["on_failure"] == "tell $$HOME"
