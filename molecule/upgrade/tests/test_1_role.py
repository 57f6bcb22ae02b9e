"""The role from the version before: the present one takes its site over, and loses nothing.

Each worker is exchanged once, because a release has a copy of the role's runner, and this version
has another one; the endpoint of the metrics, because its units are others. Nothing else of the host
starts anew.
"""

import re

import pytest

# Workers and metrics, and what begins and ends with a login.
REPLACED = r"aroundtheworld@\d+\.service|aroundtheworld-metrics\.(socket|service)"
PASSING = re.compile(rf"{REPLACED}|(session-|user@|user-runtime-dir@|ssh@|sshd@).*\.service")


@pytest.fixture(scope="module")
def upgraded(host, player, visitors, rows, kept, invocations, worker_statuses, ansible_playbook):
    """Deploy with the present role and game while visitors read and write."""
    before = {
        "round": player.play(),
        "kept": kept(),
        "invocations": invocations(),
        "workers": worker_statuses(),
    }
    with visitors() as visits:
        run = ansible_playbook()
    assert run.returncode == 0
    return before, visits


def test_no_visitor_notices(upgraded):
    _, visits = upgraded
    assert set(visits.outcomes) == {"200"}, visits.outcomes
    assert sum(visits.outcomes.values()) > 100
    assert visits.failures == []


def test_every_row_is_there_and_the_session_is_still_good(upgraded, rows, player):
    before, visits = upgraded
    assert {before["round"], *visits.rounds} <= rows()
    assert player.sees(before["round"])


def test_secrets_user_and_log_of_changes_are_the_same(upgraded, kept):
    before, _ = upgraded
    assert kept() == before["kept"]


def test_nothing_restarts_that_need_not(upgraded, invocations, worker_statuses):
    before, _ = upgraded
    now = invocations()
    others = {unit for unit in before["invocations"] if not PASSING.fullmatch(unit)}
    assert {"nginx.service", "aroundtheworld@10001.socket", "ssh.service"} <= others
    assert {unit for unit in others if now.get(unit) != before["invocations"][unit]} == set()
    workers = worker_statuses()
    assert workers.keys() == before["workers"].keys()
    for port, worker in workers.items():
        assert worker["release"] != before["workers"][port]["release"]
        assert worker["state"] == "ready"


def test_the_next_run_has_nothing_to_do(upgraded, ansible_playbook):
    run = ansible_playbook()
    assert (run.returncode, run.changed) == (0, 0)
