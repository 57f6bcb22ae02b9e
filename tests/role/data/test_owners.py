"""Files belong to those who are meant by name, whatever numbers another host had."""

import grp
import os
import pwd
from types import SimpleNamespace

import pytest
from ansible.module_utils.aroundtheworld.data import owners
from ansible.module_utils.aroundtheworld.data.owners import Owners, names_below

HERE = {"tornado": (2001, 2002), "ada": (2003, 2004)}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Files whose owners are what their names say, and who they are given to."""
    given = {}
    for name in ("998", "1000", "1001", "0", "4711"):
        (tmp_path / name).touch()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "998").touch(mode=0o755)
    (tmp_path / "deep" / "998").chmod(0o4755)
    (tmp_path / "link").symlink_to("/etc/shadow")

    def entries(directory):
        for path, about in real(directory):
            number = int(path.name) if path.name.isdigit() else 998
            yield path, SimpleNamespace(st_uid=number, st_gid=number, st_mode=about.st_mode)

    real = owners._entries
    monkeypatch.setattr(owners, "_entries", entries)

    def user(name):
        return SimpleNamespace(pw_uid=HERE[name][0], pw_gid=HERE[name][1])

    monkeypatch.setattr(pwd, "getpwnam", user)
    monkeypatch.setattr(grp, "getgrnam", lambda name: SimpleNamespace(gr_gid=HERE[name][1]))

    def chown(path, uid, gid, *, follow_symlinks):
        assert not follow_symlinks
        given[str(path.relative_to(tmp_path))] = (uid, gid)

    monkeypatch.setattr(os, "chown", chown)
    return SimpleNamespace(directory=tmp_path, given=given)


def test_owners_follow_by_name_and_strangers_files_are_roots(tree):
    known = {"998": "site", "1000": "ada", "1001": "bob"}
    made = Owners({"users": known, "groups": known}, "site", (998, 998), "tornado")
    made.give(tree.directory)
    site = HERE["tornado"]
    assert tree.given == {
        **dict.fromkeys((".", "998", "deep", "deep/998", "link"), site),
        "1000": HERE["ada"],
        "1001": (0, 0),
    }
    (note,) = made.notes()
    assert note.startswith("This host does not have bob, ")
    assert (tree.directory / "deep" / "998").stat().st_mode & 0o7777 == 0o4755


def test_a_backup_without_names_keeps_numbers_but_for_the_sites_user(tree):
    made = Owners({}, "site", (998, 998), "tornado")
    made.give(tree.directory)
    assert {*tree.given.values()} == {HERE["tornado"]}
    assert "998" in tree.given
    (note,) = made.notes()
    assert "without the names of owners" in note


def test_the_names_of_all_owners_are_in_a_backup(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "link").symlink_to("/nowhere")
    found = names_below(tmp_path)
    assert found["users"] == {str(os.getuid()): pwd.getpwuid(os.getuid()).pw_name}
    assert set(found["groups"]) == {str(os.getgid())}
