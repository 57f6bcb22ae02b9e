"""What is wrong with workers that run the new release, compared with others."""

import dataclasses

import pytest
from ansible.module_utils.aroundtheworld.rollout import judgement
from ansible.module_utils.aroundtheworld.worker_client import SILENT, WorkerStatus

from tests.role.rollout.fake_host import EVERY_WORKER_ON_FIRST, FIRST, SECOND


def test_the_canary_is_watched_and_given_up(host, run):
    run()
    host.crippled.add(SECOND)
    with pytest.raises(run.failed, match=r"as the canary, its event loop was blocked for 7\.5 s"):
        run(SECOND, canary_seconds=5)
    assert host.releases() == EVERY_WORKER_ON_FIRST
    touched = {call for call in host.restarts() if call.startswith("restart ")}
    assert touched == {
        "restart aroundtheworld@10004.service",
        "restart aroundtheworld@10001.service",
    }


def test_a_stand_in_that_is_blocked_speaks_against_the_canary(host, run, monkeypatch):
    run()
    original = host.read_status

    def read_status(control):
        if "handover-10001" in str(control) and original(control).state != "held":
            return WorkerStatus(state="draining", busy_seconds=3.5, busy_in="Slow.post")
        return original(control)

    monkeypatch.setattr(host, "read_status", read_status)
    with pytest.raises(run.failed, match=r"was blocked for 3\.5 s in Slow\.post"):
        run(SECOND, canary_seconds=5)


def test_a_worker_that_fails_more_often_after_the_canary_is_given_up(host, run, monkeypatch):
    run()
    original = host._restart

    def restart(name):
        original(name)
        if "@10002" in name and host.running[name][0]["release"] == SECOND:
            host.running[name][0]["responses"] = {"2xx": 90, "5xx": 10}

    monkeypatch.setattr(host, "_restart", restart)
    with pytest.raises(
        run.failed, match=r"10002\.service .* 10% of its 100 .*, where 0% are usual"
    ):
        run(SECOND)
    assert host.releases() == EVERY_WORKER_ON_FIRST


def test_errors_of_the_last_worker_are_seen_before_the_end(host, run, monkeypatch):
    run()

    def stop(name):
        if "handover@10003" in name and (
            worker := host.running.get("aroundtheworld@10003.service")
        ):
            worker[0]["responses"] = {"5xx": 100}
        original(name)

    original = host._stop
    monkeypatch.setattr(host, "_stop", stop)
    with pytest.raises(run.failed, match=r"10003\.service .* 100% of its 100 answers are errors"):
        run(SECOND)
    monkeypatch.undo()
    assert host.releases() == EVERY_WORKER_ON_FIRST


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_errors_that_the_release_before_has_too_are_not_the_new_ones(host, run, monkeypatch, when):
    def fail():
        for status, _ in host.running.values():
            status["responses"] = {"2xx": 100, "5xx": 100}

    def restart(name):
        original(name)
        fail()

    run()
    original = host._restart
    monkeypatch.setattr(host, "_restart", restart)
    if when == "before":
        fail()
    assert run(SECOND)["changed"]
    assert set(host.releases().values()) == {SECOND}


def test_a_canary_is_compared_over_the_time_of_the_watch():
    def status(good, bad=0, slow=0):
        return WorkerStatus(
            state="ready",
            responses={"2xx": good, "5xx": bad},
            loop_lag_max=0.01,
            latencies=((0.01, good), (2.0, slow)),
        )

    sibling = [(status(1000, 500, 500), status(1100, 500, 500))]
    assert judgement.canary_problem(status(0), status(100), sibling) == ""
    assert "10% of its 111 answers" in judgement.canary_problem(status(0), status(100, 11), sibling)
    assert judgement.canary_problem(status(0), status(30, 2), sibling) == ""  # may be chance
    few_slow = dataclasses.replace(status(80, 0, 20), responses={"2xx": 100})
    assert judgement.canary_problem(status(0), few_slow, sibling) == ""
    assert "took 2000 ms or more, of its siblings' 10 ms" in judgement.canary_problem(
        status(0), dataclasses.replace(status(70, 0, 30), responses={"2xx": 100}), sibling
    )
    assert judgement.canary_problem(status(0), status(5, 5), sibling) == ""  # too few to judge
    assert "any more" in judgement.canary_problem(status(0), SILENT, sibling)


@pytest.mark.parametrize(
    ("mine", "siblings", "bad"),
    [
        ((0, 20), (57, 3), True),  # a release that refuses everybody, at the first look
        ((60, 40), (285, 15), True),  # it refuses what every third visitor wants
        ((140, 60), (570, 30), True),
        ((18, 2), (59, 1), False),  # chance
        ((14, 6), (54, 6), False),
        ((50, 50), (140, 160), False),  # a robot asks all of them for what is not there
        ((180, 20), (570, 30), False),  # ten percent, where five are usual
        ((0, 19), (60, 0), False),  # too few to judge
        ((0, 100), (0, 0), False),  # nobody to compare with
    ],
)
def test_a_canary_that_refuses_more_than_its_siblings_is_given_up(mine, siblings, bad):
    nothing = WorkerStatus(state="ready", responses={})

    def status(good, refused):
        return dataclasses.replace(nothing, responses={"2xx": good, "4xx": refused})

    problem = judgement.canary_problem(nothing, status(*mine), [(nothing, status(*siblings))])
    assert ("refusals (status 4xx)" in problem) is bad


@pytest.mark.parametrize(
    ("before", "after", "bad"),
    [
        ({"2xx": 950, "4xx": 50}, {"2xx": 0, "4xx": 100}, True),
        ({"2xx": 950, "4xx": 50}, {"2xx": 60, "4xx": 40}, False),  # maybe a robot's visit
        ({"2xx": 400, "4xx": 600}, {"2xx": 0, "4xx": 100}, False),
        ({}, {"2xx": 0, "4xx": 100}, False),
    ],
)
def test_the_only_worker_of_a_pool_is_compared_with_before(
    host, run, monkeypatch, before, after, bad
):
    only = {"ports": ((10001,), (10004,))}
    run(**only)
    host.running["aroundtheworld@10001.service"][0]["responses"] = before
    original = host._restart

    def restart(name):
        original(name)
        if "@10001" in name and host.running[name][0]["release"] == SECOND:
            host.running[name][0]["responses"] = after

    monkeypatch.setattr(host, "_restart", restart)
    if bad:
        with pytest.raises(run.failed, match=r"100% of its 100 answers are refusals"):
            run(SECOND, **only)
    else:
        run(SECOND, **only)
    assert host.releases() == dict.fromkeys((10001, 10004), FIRST if bad else SECOND)
