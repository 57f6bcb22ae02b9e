"""What a new process must prove before it gets visitors."""

import pytest

from tests.role.rollout.fake_host import EVERY_WORKER_ON_FIRST, FIRST, SECOND


def test_a_release_whose_first_process_is_not_ready_never_reaches_a_worker(host, run):
    run()
    before = host.snapshot()
    host.broken.add("aroundtheworld-handover@10004.service")
    with pytest.raises(run.failed) as caught:
        run(SECOND)
    assert "aroundtheworld-handover@10004.service of pool admin is not ready" in str(caught.value)
    assert "(the journal of aroundtheworld-handover@10004.service)" in str(caught.value)
    assert f"is back on release {FIRST}" in str(caught.value)
    assert not [call for call in host.calls if call.startswith("restart ")]
    assert host.snapshot() == before
    assert run()["steps"] == []


def test_a_release_that_answers_with_errors_never_takes_a_connection(host, run, monkeypatch):
    run()
    before = host.snapshot()
    host.sick.add(SECOND)
    monkeypatch.setattr(host, "accept", lambda control: pytest.fail("it takes connections"))
    with pytest.raises(run.failed, match="it answers / with status 500"):
        run(SECOND)
    assert host.snapshot() == before


def test_a_release_that_answers_every_visitor_404_is_not_rolled_out(host, run):
    run()
    host.statuses[SECOND] = 404
    with pytest.raises(
        run.failed, match=r"with status 404, requested as .*; allowed: 2xx, 3xx\. If that answer"
    ):
        run(SECOND)
    assert host.releases() == EVERY_WORKER_ON_FIRST


def test_a_release_that_served_with_404_until_now_is_gone_back_to(host, run, monkeypatch):
    """By the rule from before, it was right; so is it for going back, and then only."""
    run()
    host.statuses[FIRST] = 404
    original = host._restart

    def restart(name):
        original(name)
        if "@10002" in name and host.running[name][0]["release"] == SECOND:
            host.running[name][0]["responses"] = {"5xx": 100}

    monkeypatch.setattr(host, "_restart", restart)
    with pytest.raises(run.failed, match=r"are errors(.|\n)*is back on release"):
        run(SECOND)
    assert host.releases() == EVERY_WORKER_ON_FIRST
    assert {check.statuses for release, check in host.checks if release == SECOND} == {
        ("2xx", "3xx")
    }


def test_a_stand_in_that_fails_before_it_has_visitors_is_killed(host, run):
    run()
    host.sick.add(SECOND)
    with pytest.raises(run.failed, match="with status 500"):
        run(SECOND)
    assert "kill aroundtheworld-handover@10004.service" in host.calls


def test_no_stand_in_of_a_batch_stays_when_one_of_them_fails(host, run):
    run()
    host.broken.add("aroundtheworld-handover@10003.service")
    accepted = []
    original = host.accept
    host.accept = lambda control: accepted.append(control.parent.name) or original(control)
    with pytest.raises(run.failed, match=r"aroundtheworld-handover@10003\.service of pool public"):
        run(SECOND)
    both = "aroundtheworld-handover@10002.service aroundtheworld-handover@10003.service"
    assert f"kill {both}" in host.calls
    assert "handover-10002" not in accepted
    assert host.releases() == EVERY_WORKER_ON_FIRST


def test_a_worker_that_still_runs_the_old_release_does_not_pass(host, run, monkeypatch):
    run()
    monkeypatch.setattr(host, "_restart", lambda name: None)
    with pytest.raises(run.failed, match=f"it runs release {FIRST}, not {SECOND}"):
        run(SECOND)
    assert host.releases() == EVERY_WORKER_ON_FIRST
