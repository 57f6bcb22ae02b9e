"""Which cases of a matrix a run takes."""

import pytest

from tests import matrix

CASES = list("abcdefg")


@pytest.fixture
def at(monkeypatch):
    """Return a function that returns what is chosen at a commit."""
    monkeypatch.delenv("MATRIX", raising=False)

    def choose(commit, **options):
        monkeypatch.setattr(matrix, "commit", lambda: f"{commit:040x}")
        return matrix.chosen(CASES, **options)

    return choose


@pytest.mark.parametrize(("count", "least"), [(None, 2), (1, 1), (2, 2), (7, 7), (9, 7)])
def test_a_commit_takes_some_cases_and_all_commits_together_take_all(at, count, least):
    choices = [at(commit, count=count) for commit in range(21)]
    assert min(map(len, choices)) == least
    assert {case for choice in choices for case in choice} == set(CASES)
    assert choices == [at(commit, count=count) for commit in range(21)]


def test_of_one_case_there_is_one(at):
    assert {len(at(commit, count=1)) for commit in range(10)} == {1}


def test_a_test_in_turn_runs_at_some_commits_and_on_request(at, monkeypatch):
    skipped = []
    for commit in range(3):
        at(commit)
        skipped.append([matrix.in_turn(number).args[0] for number in range(3)])
    assert sorted(skipped) == [[False, True, True], [True, False, True], [True, True, False]]
    monkeypatch.setenv("MATRIX", "all")
    assert matrix.in_turn(2).args == (False,)


def test_all_are_taken_on_request(at, monkeypatch):
    monkeypatch.setenv("MATRIX", "all")
    assert at(5, count=1) == CASES
    assert "all" in matrix.about()


def test_the_report_names_the_commit(at):
    at(255)
    assert matrix.about().startswith("cases of a matrix: those of commit 000000000000 ")
