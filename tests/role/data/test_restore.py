"""A backup is chosen, and laid beside the site as a whole or not at all."""

import json

import pytest
from ansible.module_utils.aroundtheworld.data import beside
from ansible.module_utils.aroundtheworld.data.beside import lay_beside, problem_with, remove_half
from ansible.module_utils.aroundtheworld.data.chosen import choose, home_of
from ansible.module_utils.aroundtheworld.systemd import HostError

from aroundtheworld_controller.data.brought import to_read
from aroundtheworld_controller.data.password import FILE
from aroundtheworld_controller.data.restores import moment_of
from aroundtheworld_controller.rules import check_variables
from aroundtheworld_controller.variables import BadInputError
from tests.render import APP
from tests.role.refusals import DEFAULTS, problems_with

HOME = DEFAULTS["aroundtheworld_home"]


def snapshot(identity, day, host="www1", site="shop"):
    return {
        "id": identity * 16,
        "time": f"2026-11-{day}T03:15:09.123456789Z",
        "hostname": host,
        "tags": ["aroundtheworld", f"site={site}"],
        "paths": ["/etc/shop", "/srv/shop/backup/staging", "/srv/shop/shared"],
    }


ALL = [
    snapshot("aaa1", "20"),
    snapshot("bbb2", "21"),
    snapshot("ccc3", "22", "www2"),
    snapshot("ddd4", "23", site="shop2"),
    {**snapshot("eee5", "24"), "tags": None},
]


@pytest.mark.parametrize(
    ("wanted", "host", "identity"),
    [
        ("", "www1", "bbb2"),
        ("", "www2", "ccc3"),
        ("2026-11-21T03:15:10+00:00", "www1", "bbb2"),
        ("2026-11-21T03:15:00+00:00", "www1", "aaa1"),
        ("2026-11-21T04:15:00+01:00", "www1", "aaa1"),
        ("ccc3ccc3", "www1", "ccc3"),
    ],
)
def test_the_last_is_this_hosts_and_one_by_its_id_is_any_hosts(wanted, host, identity):
    assert choose(ALL, "shop", host, wanted)["id"] == identity * 16


def test_a_host_without_backups_takes_those_of_the_only_host_that_has_some():
    assert choose(ALL[:2], "shop", "bare", "")["id"] == "bbb2" * 16


@pytest.mark.parametrize(
    ("snapshots", "wanted", "host", "why"),
    [
        (ALL, "", "bare", "but there are some of www1, www2. Say which one by its id"),
        (
            ALL,
            "ddd4",
            "www1",
            "'ddd4' is no backup of the site shop; its tags are aroundtheworld, ",
        ),
        (ALL, "eee5", "www1", "its tags are nothing"),
        (ALL, "0000", "www1", "there is no backup '0000'; the last are: aaa1aaa1 of 2026-11-20T"),
        ([*ALL, ALL[0]], "aaa1", "www1", "is the beginning of 2 ids"),
        (ALL, "2026-11-01T00:00:00+00:00", "www1", "the oldest is aaa1aaa1 of 2026-11-20T03:15:09"),
        (ALL[3:], "", "www1", "There is no backup of the site shop in this repository"),
    ],
)
def test_what_is_not_there_or_not_clear_is_a_sentence(snapshots, wanted, host, why):
    with pytest.raises(HostError) as caught:
        choose(snapshots, "shop", host, wanted)
    assert why in str(caught.value)


def test_a_backup_says_where_its_site_was():
    assert str(home_of(ALL[0])) == "/srv/shop"
    with pytest.raises(HostError, match="does not say where its site was"):
        home_of({**ALL[0], "paths": ["/srv"]})


class Repository:
    """Restores what is in a snapshot, or fails halfway."""

    def __init__(self, fails=False):
        self.fails = fails

    def restore_bytes(self, snapshot):
        return 5000

    def restore(self, snapshot, target, paths):
        for path in ("srv/shop/shared/ada.jpg", "srv/shop/backup/staging/databases/shop.sqlite"):
            (target / path).parent.mkdir(parents=True)
            (target / path).write_text(path)
        if self.fails:
            raise HostError("a pack is damaged")
        (target / "srv/shop/backup/staging/manifest.json").write_text("{}")


@pytest.mark.parametrize("made", [True, False])
def test_databases_and_files_are_in_the_directory_for_root_alone(tmp_path, made):
    target = tmp_path / "yesterday"
    if made:
        target.mkdir()
    lay_beside(Repository(), ALL[0], target)
    files = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert files == {"shared/ada.jpg", "databases/shop.sqlite", "manifest.json"}
    assert target.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in tmp_path.iterdir()] == ["yesterday"]


def test_a_backup_that_cannot_be_read_leaves_nothing(tmp_path):
    with pytest.raises(HostError, match="a pack is damaged"):
        lay_beside(Repository(fails=True), ALL[0], tmp_path / "yesterday")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_restored_without_room(tmp_path, monkeypatch):
    monkeypatch.setattr(beside, "spare", lambda directory: 4000)
    with pytest.raises(HostError, match=r"aaa1aaa1 has 5\.0 kB, and 4\.0 kB may be used"):
        lay_beside(Repository(), ALL[0], tmp_path / "yesterday")


def test_what_a_killed_run_left_goes_and_nothing_else(tmp_path):
    (tmp_path / ".yesterday.abcd1234").mkdir()
    (tmp_path / ".yesterday.mine").mkdir()
    remove_half(tmp_path / "yesterday")
    assert [path.name for path in tmp_path.iterdir()] == [".yesterday.mine"]


def test_a_directory_with_something_in_it_is_left_alone(tmp_path):
    assert problem_with(tmp_path / "new") == problem_with(tmp_path) == ""
    assert "no directory" in problem_with(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    assert problem_with(tmp_path) == "it is not empty"
    assert problem_with(tmp_path / "file") == "it is no directory"
    (tmp_path / "link").symlink_to("/nowhere")
    assert problem_with(tmp_path / "link") == "it is no directory"


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("backup", "yesterday", "or a time, as in '2026-11-26T03:15'"),
        ("backup", "abc", "the beginning of a backup's id"),
        ("backup", "18:30", "or a time"),
        ("restore_to", "yesterday", "an absolute path on the host, of a"),
        ("restore_to", "/", "an absolute path"),
        ("restore_to", f"{HOME}/shared/x", f"not in {HOME}"),
        ("restore_to", "/var/backups/aroundtheworld/x", "not in /var/backups/aroundtheworld"),
    ],
)
def test_a_mistake_is_named(name, value, why):
    (problem,) = problems_with({f"aroundtheworld_{name}": value})
    assert problem.startswith(f"aroundtheworld_{name}: {value!r} is not allowed")
    assert why in problem


def test_a_time_reaches_the_host_with_its_offset():
    assert moment_of("2026-11-26T03:15+01:00") == "2026-11-26T03:15:00+01:00"
    assert moment_of("2026-11-26T03:15")[16:] != ""
    assert moment_of("8e5b80f3") == "8e5b80f3"
    assert moment_of("20261126") == "20261126"  # an id may look like a day
    assert moment_of("") == ""


def test_the_password_is_not_made_for_a_restore(tmp_path):
    variables = check_variables({**DEFAULTS, **APP})
    with pytest.raises(BadInputError, match="bring your copy back"):
        to_read(variables, [], str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / FILE).write_text("a very long password\n")
    (tmp_path / FILE).chmod(0o600)
    known = json.loads(to_read(variables, [], str(tmp_path)))
    assert known["password"] == "a very long password"
    assert known["settings"]["repository"] == "/var/backups/aroundtheworld"
