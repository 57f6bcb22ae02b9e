"""A former version of the project comes from the history, or it is said how to get that."""

import subprocess

import pytest

from tests.former import CHECKOUT, OPERATORS, NoHistoryError, last_release, write_former


def test_the_last_line_of_the_releases_is_the_last_release():
    text = "# a comment\n0.1.0 2026-11-26 aaaa\n0.2.0 2026-12-01 bbbb\n"
    assert last_release(text) == ("0.2.0", "bbbb")
    version, commit = last_release((CHECKOUT / "RELEASES").read_text())
    assert f"## {version} - " in (CHECKOUT / "CHANGELOG.md").read_text()
    assert len(commit) == 40


def test_what_an_operator_had_is_there_again(tmp_path):
    _, commit = last_release((CHECKOUT / "RELEASES").read_text())
    write_former(commit, tmp_path, OPERATORS)
    assert {path.name for path in tmp_path.iterdir()} == {*OPERATORS}
    assert (tmp_path / "roles/aroundtheworld/tasks/main.yml").is_file()


def test_a_clone_without_the_history_says_what_to_do(tmp_path):
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    with pytest.raises(NoHistoryError, match=r"the commit 0123, .*--unshallow"):
        write_former("0123", tmp_path, OPERATORS, tmp_path)
