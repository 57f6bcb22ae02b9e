"""Whatever fails, all workers run the release that they ran before."""

import contextlib
import os
import re
import signal

import pytest
from ansible.module_utils.aroundtheworld.rollout import unit_files
from ansible.module_utils.aroundtheworld.systemd import HostError

from tests.matrix import chosen
from tests.role.rollout.fake_host import EVERY_WORKER_ON_FIRST, FIRST, SECOND, replacement_calls


@pytest.mark.parametrize("port", [10001, 10002, 10003, 10004])
def test_going_back_is_reverted_as_a_whole(host, run, port):
    run()
    run(SECOND)
    files = host.snapshot()[0]
    host.broken.add(f"aroundtheworld-handover@{port}.service")
    with pytest.raises(run.failed, match=f"is back on release {SECOND}"):
        run(FIRST, verb="rollback")
    assert host.releases() == dict.fromkeys(EVERY_WORKER_ON_FIRST, SECOND)
    assert host._files() == files
    nothing_is_left_over(host)


def test_workers_that_were_replaced_before_one_fails_are_replaced_again(host, run):
    run()
    files = host.snapshot()[0]
    host.broken.add("aroundtheworld-handover@10002.service")
    with pytest.raises(run.failed, match=f"is back on release {FIRST}"):
        run(SECOND)
    assert host.releases() == EVERY_WORKER_ON_FIRST
    assert host._files() == files
    # The last to go back is the one that went first.
    assert host.restarts()[-5:-1] == replacement_calls(10004)
    assert [(entry["to"], entry["outcome"]) for entry in host.log()] == [
        (FIRST, "done"),
        (SECOND, "reverted"),
    ]
    assert "aroundtheworld-handover@10002.service" in host.log()[-1]["cause"]
    host.broken.clear()
    assert run()["steps"] == []


def test_a_worker_that_fails_behind_its_stand_in_is_taken_back(host, run, monkeypatch):
    run()
    original = host._restart

    def restart(name):
        host.broken = {name} if name == "aroundtheworld@10001.service" and not tried else set()
        tried.append(name) if host.broken else None
        original(name)

    tried = []
    monkeypatch.setattr(host, "_restart", restart)
    with pytest.raises(run.failed, match=r"aroundtheworld@10001\.service of pool public is not"):
        run(SECOND)
    assert host.releases() == EVERY_WORKER_ON_FIRST
    assert run()["steps"] == []


def raises(error):
    def disturb():
        raise error

    return disturb


def fills_the_disk(host, monkeypatch):
    """Have every write of a unit file fail from now on; names can still be given."""

    def fail(path, text, mode):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(unit_files, "write_atomically", fail)
    raise OSError(28, "No space left on device")


DISTURBANCES = {
    "an error of systemd": (raises(HostError("it failed")), "."),
    "an error of the system": (raises(OSError(28, "No space left on device")), "No space left"),
    "a bug": (raises(KeyError("busy_seconds")), "KeyError: 'busy_seconds'"),
    "TERM": (lambda: os.kill(os.getpid(), signal.SIGTERM), "asked to end \\(SIGTERM\\)"),
    "INT": (lambda: os.kill(os.getpid(), signal.SIGINT), "asked to end \\(SIGINT\\)"),
    "HUP": (lambda: os.kill(os.getpid(), signal.SIGHUP), "asked to end \\(SIGHUP\\)"),
}


def nothing_is_left_over(host):
    assert not [name for name in host.running if "handover" in name]
    assert not list(host.units.glob("*handover@*.d/pool.conf"))
    assert not list(host.units.glob(".*.before*"))
    assert host.read.items() <= host._files().items()
    assert host._files().keys() == {path for path in host.read if path.exists()}


# At which call of systemd, look at a worker, or file that is written.
EVENTS = [("call", number) for number in range(24)]


EVENTS += [("look", number) for number in (4, 5, 8, 11, 14, 17, 20, 24, 28)]


EVENTS += [("write", number) for number in range(10)]


CASES = [
    (event, disturbance)
    for number, event in enumerate(EVENTS)
    for place, disturbance in enumerate(DISTURBANCES)
    if place % 3 == number % 3 or disturbance == "a bug"
]


@pytest.mark.parametrize(("event", "disturbance"), chosen(CASES))
def test_whatever_disturbs_a_rollout_all_workers_run_one_release(host, run, event, disturbance):
    run()
    files = host.snapshot()[0]
    disturb, message = DISTURBANCES[disturbance]
    host.counts.clear()
    host.disturbed = (*event, disturb)
    reverted = False
    try:
        run(SECOND, canary_seconds=1)
    except run.failed as failure:
        reverted = re.search(message, str(failure))
    if reverted:
        assert host.releases() == EVERY_WORKER_ON_FIRST
        assert host._files() == files
        assert host.log()[-1]["outcome"] == "reverted"
        assert re.search(message, host.log()[-1]["cause"])
        assert run()["steps"] == []
    else:  # where a failure does not matter, or where there was none
        assert host.releases() == dict.fromkeys(EVERY_WORKER_ON_FIRST, SECOND)
        assert host.log()[-1]["outcome"] == "done"
    nothing_is_left_over(host)
    run(SECOND)
    assert host.releases() == dict.fromkeys(EVERY_WORKER_ON_FIRST, SECOND)
    assert run(SECOND)["steps"] == []


@pytest.mark.parametrize("delay", range(4))
@pytest.mark.parametrize("disturbance", ["a bug", "TERM"])
def test_a_restart_that_goes_on_after_the_module_was_interrupted_is_reverted_too(
    host, run, disturbance, delay
):
    run()
    files = host.snapshot()[0]
    disturb, message = DISTURBANCES[disturbance]

    def interrupt():
        host.delay = delay
        disturb()

    host.late = interrupt
    with pytest.raises(run.failed, match=message):
        run(SECOND)
    assert host.releases() == EVERY_WORKER_ON_FIRST
    assert host._files() == files
    nothing_is_left_over(host)
    assert run()["steps"] == []


def test_the_rollout_that_is_disturbed_is_seen_to_the_end(host, run):
    run()
    host.counts.clear()
    run(SECOND, canary_seconds=1)
    for kind in ("call", "write"):
        assert (kind, host.counts[kind]) in EVENTS


@pytest.mark.parametrize("disturbance", ["TERM", "a bug"])
def test_a_signal_does_not_break_the_revert(host, run, disturbance):
    run()
    files = host.snapshot()[0]
    disturb, message = DISTURBANCES[disturbance]

    def begin_the_revert():
        host.disturbed = ("call", host.counts["call"] + 3, DISTURBANCES["INT"][0])
        disturb()

    host.counts.clear()
    host.disturbed = ("call", 12, begin_the_revert)
    with pytest.raises(run.failed, match=message):
        run(SECOND)
    assert host.disturbed is None  # the signal came
    assert host.releases() == EVERY_WORKER_ON_FIRST
    assert host._files() == files


@pytest.mark.parametrize("number", range(9))
def test_a_disk_that_stays_full_does_not_keep_workers_from_going_back(
    host, run, monkeypatch, number
):
    run()
    files = host.snapshot()[0]
    host.counts.clear()
    host.disturbed = ("write", number, lambda: fills_the_disk(host, monkeypatch))
    with pytest.raises(run.failed, match="No space left on device"):
        run(SECOND)
    assert host.releases() == EVERY_WORKER_ON_FIRST
    assert host._files() == files
    nothing_is_left_over(host)


@pytest.mark.parametrize("number", range(9))
@pytest.mark.parametrize("disturbance", ["a bug", "TERM"])
def test_a_first_deployment_that_fails_leaves_nothing_running(host, run, number, disturbance):
    disturb, message = DISTURBANCES[disturbance]
    host.disturbed = ("call", number, disturb)
    with (
        pytest.raises(run.failed, match=message) if number < 5 else contextlib.suppress(run.failed)
    ):
        run(metrics=9145)
    if number < 5:
        assert (host.running, host.listening) == ({}, {})
        assert not list(host.units.glob("*.wants/*"))
        assert not (host.home / "current").is_symlink()
    run(metrics=9145)
    assert host.releases() == EVERY_WORKER_ON_FIRST


def test_a_worker_that_cannot_start_is_stopped_when_it_is_the_first(host, run):
    host.broken.add("aroundtheworld@10002.service")
    with pytest.raises(run.failed, match=r"\(the journal of aroundtheworld@10002") as failure:
        run()
    assert "everything that was started is stopped again" in str(failure.value)
    assert (host.running, host.listening) == ({}, {})
    assert not list(host.units.glob("*.wants/*"))
