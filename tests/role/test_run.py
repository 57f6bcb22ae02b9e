"""Which run of Ansible this is, whether another is over, and how a run gets its site."""

import multiprocessing
import os
import subprocess
import sys

import pytest

from aroundtheworld_controller.runs import ownership, run
from aroundtheworld_controller.variables import BadInputError


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def about(process):
    return {**run.this_process(), "id": process, "began": run._began(process)}


def test_all_tasks_of_a_run_are_one_run_and_each_host_is_its_own():
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        there = pool.starmap(run.owner, [("shop", "web1", "deploy"), ("shop", "web1", "rollback")])
    mine = run.owner("shop", "web1", "deploy")
    assert {owner["run"] for owner in there} == {mine["run"]}
    assert mine["process"]["id"] == os.getpid()
    assert run.owner("shop", "web2", "deploy")["run"] != mine["run"]
    assert " on " in mine["who"]


@pytest.mark.parametrize("of", ["_began", "_place", "_machine"])
def test_the_same_number_at_another_time_or_place_is_another_run(of, monkeypatch):
    mine = run.owner("shop", "web1", "deploy")
    monkeypatch.setattr(run, of, lambda *_: "another")
    assert run.owner("shop", "web1", "deploy")["run"] != mine["run"]


def test_a_process_that_runs_is_not_over_and_one_that_ended_is(sleeper):
    process = about(sleeper.pid)
    assert run.is_here(process)
    assert not run.is_over(process)
    sleeper.kill()
    sleeper.wait()
    assert run.is_over(process)


def test_another_process_of_the_same_id_is_another_run(sleeper):
    assert run.is_over({**about(sleeper.pid), "began": "1"})


def test_a_process_that_the_kernel_hides_is_not_over(sleeper, monkeypatch):
    process = about(sleeper.pid)

    def kill(_process, _signal):
        raise PermissionError

    monkeypatch.setattr(run, "_began", lambda _process: "")
    with monkeypatch.context() as patch:
        patch.setattr(run.os, "kill", kill)
        assert not run.is_over(process)


def test_nothing_is_known_of_a_process_of_another_place(sleeper):
    process = {**about(sleeper.pid), "place": "elsewhere", "machine": "another"}
    sleeper.kill()
    sleeper.wait()
    assert not run.is_here(process)
    assert not run.is_over(process)
    assert not run.is_over({})


def test_what_ran_before_the_controller_was_restarted_is_over(monkeypatch):
    monkeypatch.setattr(run, "_machine", lambda: "0123 desk")
    process = {**run.this_process(), "place": "before"}
    monkeypatch.setattr(run, "_is_plain", lambda: True)
    assert run.is_over(process)
    # In a container, it may run in the one beside it.
    monkeypatch.setattr(run, "_is_plain", lambda: False)
    assert not run.is_over(process)
    monkeypatch.setattr(run, "_is_plain", lambda: True)
    monkeypatch.setattr(run, "_machine", lambda: "")
    assert not run.is_over({**process, "machine": ""})


# --- Getting the site -----------------------------------------------------------------------------


class Host:
    """Answers as the module does; the record in `holders` has the site, one for each call."""

    def __init__(self, *holders):
        self.holders = list(holders)
        self.calls = []

    def __call__(self, instead_of):
        self.calls.append(instead_of)
        holder = self.holders.pop(0)
        if "followed" in holder or "user" in holder:
            return holder
        return {"refused": "bob has been at it. Nothing was changed; wait.", "holder": holder}


FREE = {"followed": {}}
ALIVE = {"run": "2", "who": "bob", "since": "then", "process": {}}


@pytest.fixture
def lines(monkeypatch):
    shown = []
    monkeypatch.setattr(ownership.display, "display", shown.append)
    return shown


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

        def pause(self, seconds):
            assert seconds > 0
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr(ownership, "monotonic", lambda: clock.now)
    return clock


def get(host, clock, wait=0.0):
    return ownership.with_site(host, "web1", wait, clock.pause)


def test_without_a_wait_the_refusal_comes_at_once(lines, clock):
    with pytest.raises(BadInputError, match="web1: bob has been at it"):
        get(Host(ALIVE), clock)
    assert (lines, clock.now) == ([], 0.0)


def test_a_wait_says_once_for_whom_and_ends(lines, clock):
    assert get(Host(ALIVE, ALIVE, ALIVE, FREE), clock, wait=60) == FREE
    assert lines == ["web1: waiting for at most 60 s, because bob has been at it."]
    host = Host(*[ALIVE] * 99)
    clock.now = 0.0
    with pytest.raises(BadInputError, match="bob has been at it"):
        get(host, clock, wait=10)
    assert clock.now == 10
    assert len(host.calls) == 5


def test_a_run_that_is_over_is_followed_at_once(lines, clock, monkeypatch):
    monkeypatch.setattr(ownership, "is_over", lambda process: process == {"id": 7})
    dead = {**ALIVE, "process": {"id": 7}}
    host = Host(dead, {"followed": {**dead, "doing": "deploy"}})
    get(host, clock)
    assert host.calls == ["", "2"]
    assert lines == ["web1: follows a run that was cut off, deploy by bob since then"]
    # Where the host does not let it be followed, that is not tried for ever.
    with pytest.raises(BadInputError):
        get(Host(dead, dead), clock)


def test_who_is_not_root_hears_what_to_set_before_anything_else(lines, clock):
    with pytest.raises(BadInputError) as caught:
        get(Host({"user": "ada"}), clock, wait=60)
    assert str(caught.value).startswith("This needs root on web1: the play is 'ada' there.")
    assert "become: true" in str(caught.value)
    assert "--ask-become-pass" in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        {"module_stderr": "/bin/sh: 1: sudo: not found\n", "msg": "deserialization failed"},
        {"module_stderr": "sudo: a password is required\n", "msg": "deserialization failed"},
        {"msg": "Missing sudo password"},
        {"module_stderr": "Sorry, user ada is not allowed to execute as root: sudo not permitted"},
    ],
)
def test_who_cannot_become_root_hears_why_and_what_to_set(lines, clock, words):
    with pytest.raises(BadInputError) as caught:
        ownership.with_site(lambda _: {"failed": True, **words}, "web1", 60, clock.pause)
    assert str(caught.value).startswith("This needs root on web1, and becoming it failed: ")
    assert "--ask-become-pass" in str(caught.value)


def test_another_failure_is_its_own(lines, clock):
    failed = {"failed": True, "msg": "The site cannot be locked: No space left on device"}
    assert ownership.with_site(lambda _: failed, "web1", 60, clock.pause) == failed
