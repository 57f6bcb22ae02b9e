"""What the site's user is given to do, and what it reports."""

import os
from types import SimpleNamespace

import pytest
from ansible.module_utils.aroundtheworld.data.as_worker import own_directory, refuse, sentences
from ansible.module_utils.aroundtheworld.systemd import HostError


def test_a_directory_for_copies_is_of_those_whose_the_data_is_and_of_nobody_else(
    tmp_path, monkeypatch
):
    shared, target, given_to = tmp_path / "shared", tmp_path / "databases", []
    shared.mkdir()
    monkeypatch.setattr(os, "chown", lambda *words: given_to.append(words))
    monkeypatch.setattr(
        type(shared), "stat", lambda path: SimpleNamespace(st_uid=997, st_gid=998, path=path)
    )
    owner = own_directory(target, shared)
    assert given_to == [(target, 997, 998)]
    assert owner.path == shared
    monkeypatch.undo()
    assert target.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_somebody_else_has_made_is_not_taken(tmp_path):
    (tmp_path / "databases").mkdir()
    with pytest.raises(FileExistsError):
        own_directory(tmp_path / "databases", tmp_path)


def test_what_it_reports_is_fit_to_be_shown():
    report = {"problems": ["a\x1b[2J", "b"], "notes": [7]}
    assert sentences(report, "notes") == ["7"]
    with pytest.raises(HostError, match=r"^a\?\[2J\nb$"):
        refuse(report)
    refuse({"notes": ["fine"]})
