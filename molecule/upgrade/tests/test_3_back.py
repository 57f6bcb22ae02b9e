"""The way back to a release of the version before stays open: with its runner, by this role."""

import pytest

HOSTS = ("debian13",)


@pytest.fixture(scope="module")
def back(host, player, visitors, ansible_playbook, worker_statuses):
    """Go back, and in the end forward again."""
    assert ansible_playbook().returncode == 0
    former, played = {worker["release"] for worker in worker_statuses().values()}, player.play()
    with visitors() as visits:
        run = ansible_playbook("--tags", "rollback")
    assert run.returncode == 0
    yield former, played, visits
    assert ansible_playbook().returncode == 0
    assert {worker["release"] for worker in worker_statuses().values()} == former


def test_no_visitor_notices_and_nothing_is_lost(back, worker_statuses, rows, player):
    former, played, visits = back
    assert former.isdisjoint(worker["release"] for worker in worker_statuses().values())
    assert set(visits.outcomes) == {"200"}, visits.outcomes
    assert visits.failures == []
    assert {played, *visits.rounds} <= rows()
    assert player.sees(played)


def test_all_is_well(back, ansible_playbook):
    status = ansible_playbook("--tags", "status")
    assert status.returncode == 0, status.output
