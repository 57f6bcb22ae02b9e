"""A session in the process of a sticky worker ends once: nobody gets a stand-in meanwhile."""

import pytest

from tests.role.rollout.fake_host import EVERY_WORKER_ON_FIRST, FIRST, SECOND, replacement_calls


def test_its_stand_in_proves_itself_and_takes_no_connection(host, run):
    run(FIRST, kinds=("sticky", "runner"))
    checked = len(host.checks)
    run(SECOND, kinds=("sticky", "runner"))
    assert host.accepted == ["aroundtheworld-handover@10004.service"]
    assert [release for release, _ in host.checks[checked:]] == [SECOND] * 8
    assert host.restarts()[5:9] == replacement_calls(10001)
    assert host.releases() == dict.fromkeys(EVERY_WORKER_ON_FIRST, SECOND)
    assert run(SECOND, kinds=("sticky", "runner"))["steps"] == []


def test_a_release_that_cannot_serve_touches_no_sticky_worker(host, run):
    run(FIRST, kinds=("sticky", "runner"), ports=((10001, 10002), ()))
    host.sick.add(SECOND)
    before = dict(host.running)
    with pytest.raises(run.failed, match="status 500"):
        run(SECOND, kinds=("sticky", "runner"), ports=((10001, 10002), ()))
    assert dict(host.running) == before


def test_a_sticky_command_is_restarted_behind_its_socket(host, run):
    run(FIRST, kinds=("runner", "sticky command"))
    run(SECOND, kinds=("runner", "sticky command"))
    assert host.restarts()[1:3] == [
        "stop aroundtheworld@10004.service",
        "start aroundtheworld@10004.service",
    ]
    assert "aroundtheworld@10004.socket" in host.listening
    assert host.releases()[10004] == SECOND
