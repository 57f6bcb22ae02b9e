"""The sabotages of the scenario rollout: what they take away is there, and tests that notice."""

import pytest

from tests.role_files import CHECKOUT, load_file

SCENARIO = CHECKOUT / "molecule" / "rollout"
sabotage = load_file("test_sabotage_script", SCENARIO / "sabotage.py")


@pytest.mark.parametrize("name", sabotage.SABOTAGES)
def test_a_sabotage_has_something_to_take_away(name):
    change = sabotage.SABOTAGES[name]
    text = (CHECKOUT / sabotage.ROLE / change.file).read_text()
    assert change.old != change.new
    assert text.count(change.old) == 1
    assert any(change.tests in file.read_text() for file in SCENARIO.glob("tests/test_*.py"))


def test_a_run_without_names_takes_one_of_them(monkeypatch):
    monkeypatch.delenv("MATRIX", raising=False)
    assert len(sabotage.chosen_names([])) == 1
    monkeypatch.setenv("MATRIX", "all")
    assert sabotage.chosen_names([]) == list(sabotage.SABOTAGES)
    assert sabotage.chosen_names(["drain"]) == ["drain"]


def test_an_unknown_sabotage_is_refused():
    with pytest.raises(SystemExit, match=r"'brake' .* max_fails, socket, drain, gate"):
        sabotage.chosen_names(["brake"])


def test_the_copy_has_what_git_knows_and_links_as_links(tmp_path):
    sabotage.copy_checkout(tmp_path)
    assert (tmp_path / "playbooks" / "roles").is_symlink()
    assert (tmp_path / "playbooks" / "roles" / "aroundtheworld" / "tasks" / "main.yml").is_file()
