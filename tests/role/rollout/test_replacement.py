"""Which workers are replaced together, in which order, and what the log and the lock say of it."""

import contextlib
import os
import re
from pathlib import Path

import pytest
from ansible.module_utils.aroundtheworld import lock
from ansible.module_utils.aroundtheworld.changelog import last_good

from tests.role.conftest import OWNER
from tests.role.rollout.fake_host import (
    EVERY_WORKER_ON_FIRST,
    FIRST,
    SECOND,
    replacement_calls,
)


def test_a_bare_host_gets_all_workers(host, run):
    result = run()
    assert result["changed"]
    assert host.releases() == EVERY_WORKER_ON_FIRST
    assert host.listening["aroundtheworld@10001.socket"] == "127.0.0.1:10001"
    assert host.prepared == [FIRST]
    assert (host.home / "current").readlink() == Path("releases") / FIRST
    assert sorted(path.name for path in host.units.glob("*.wants/*")) == sorted(
        f"aroundtheworld@{port}.{kind}"
        for port in EVERY_WORKER_ON_FIRST
        for kind in ("service", "socket")
    )


def test_another_release_comes_to_blocking_workers_first_then_to_one_public_one(host, run):
    run()
    result = run(SECOND)
    assert host.restarts() == [
        "start aroundtheworld-prepare.service",
        *replacement_calls(10004, 10001, (10002, 10003)),
    ]
    assert set(host.releases().values()) == {SECOND}
    assert host.prepared == [FIRST, SECOND]
    assert (
        f"replace aroundtheworld@10001.service (public), because it runs release {FIRST}"
        in result["steps"]
    )


@pytest.mark.parametrize("back", [False, True], ids=["to a release", "back"])
def test_a_stand_in_takes_nothing_of_its_workers_memory(host, run, monkeypatch, back):
    def start(name):
        if "-handover@" in name:
            used.append(re.search(r"^Slice=(.*)$", host._text(name), re.M)[1])
        original(name)

    run()
    original, used = host._start, []
    monkeypatch.setattr(host, "_start", start)
    if back:
        host.broken.add("aroundtheworld-handover@10003.service")
    with pytest.raises(run.failed) if back else contextlib.nullcontext():
        run(SECOND)
    assert set(used) == {f"aroundtheworld-{pool}.handover.slice" for pool in ("admin", "public")}
    assert len(used) == (6 if back else 4)


def test_a_new_address_replaces_sockets_one_at_a_time(host, run):
    run()
    result = run(address="[::1]")
    assert result["steps"][-1].endswith("because nothing listens on [::1]:10003")
    pairs = [f"aroundtheworld@{port}" for port in (10004, 10001, 10002, 10003)]
    assert host.restarts()[1:] == [
        call
        for name in pairs
        for call in (f"stop {name}.service {name}.socket", f"start {name}.socket {name}.service")
    ]


def test_a_new_worker_joins_without_a_restart_of_the_others(host, run):
    run()
    run(ports=((10001, 10002, 10003, 10005), (10004,)))
    assert host.restarts() == [
        "start aroundtheworld-prepare.service",
        "restart aroundtheworld@10005.socket",
        "start aroundtheworld@10005.service",
    ]


def test_as_many_at_once_as_there_are_processors(host, run, monkeypatch):
    ports = ((10001, 10002, 10003, 10005, 10006), (10004,))
    for processors, batches in (
        (1, (10004, 10001, 10002, 10003, 10005, 10006)),
        (3, (10004, 10001, (10002, 10003, 10005), 10006)),
    ):
        monkeypatch.setattr(os, "cpu_count", lambda processors=processors: processors)
        run(FIRST, ports=ports)
        run(SECOND, ports=ports)
        assert host.restarts()[1:] == replacement_calls(*batches)


def test_going_back_replaces_runners_of_all_pools_at_once_and_commands_alone(host, run):
    run()
    run(SECOND)
    run(FIRST, verb="rollback")
    assert host.restarts()[1:] == replacement_calls((10004, 10001), (10002, 10003))
    assert host.releases() == EVERY_WORKER_ON_FIRST
    run(SECOND, kinds=("takes", "runner"))
    run(FIRST, kinds=("takes", "runner"), verb="rollback")
    assert host.restarts()[1:] == replacement_calls(10001, 10002, 10003, 10004)


@pytest.mark.parametrize("why", ["a canary", "it was reverted"])
def test_going_back_tries_one_worker_first_where_a_release_has_to_prove_itself(host, run, why):
    run()
    if why == "it was reverted":
        host.broken.add("aroundtheworld-handover@10003.service")
    with pytest.raises(run.failed) if host.broken else contextlib.nullcontext():
        run(SECOND)
    host.broken.clear()
    back = {"a canary": FIRST, "it was reverted": SECOND}[why]
    run(back, verb="rollback", canary_seconds=int(why == "a canary"))
    assert host.restarts()[1:] == replacement_calls(10004, 10001, (10002, 10003))


def test_a_second_change_meets_the_story_of_the_first(host, run):
    run()
    before = host.snapshot()
    mine = {**OWNER, "site": "aroundtheworld"}
    lock.release(mine)
    other = {**mine, "run": "2"}
    lock.take(other)
    with pytest.raises(run.failed) as caught:
        run(SECOND)
    assert "ada on desk has been changing this site since" in str(caught.value)
    assert host.snapshot() == before
    lock.release(other)
    assert run(SECOND)["changed"]


def test_the_lock_tells_each_phase_when_it_begins(host, run, monkeypatch):
    run()
    stories = {}

    def start(name):
        record = lock.read_record("aroundtheworld")
        stories[name] = record["phases"][-1][0]
        assert f"at this moment: {stories[name]}." in lock.state(record)
        original(name)

    original = host._start
    monkeypatch.setattr(host, "_start", start)
    run(SECOND)
    assert stories["aroundtheworld-prepare.service"] == "prepare"
    assert stories["aroundtheworld-handover@10002.service"] == "replace 10002, 10003"
    assert lock.read_record("aroundtheworld")["phases"] == []


def test_every_change_is_logged_with_its_phases(host, run):
    run(who="ada on desk")
    run(SECOND, who="ada on desk", verb="deploy")
    entry = host.log()[-1]
    phases = [phase["name"] for phase in entry["phases"]]
    assert phases == [
        "prepare",
        *(f"replace {which}" for which in ("10004", "10001", "10002, 10003")),
    ]
    assert (entry["who"], entry["from"], entry["to"]) == ("ada on desk", FIRST, SECOND)
    assert last_good(host.home, SECOND) == [FIRST]


def test_a_rollback_is_not_undone_by_the_next(host, run):
    run()
    run(SECOND)
    run(FIRST, verb="rollback")
    assert last_good(host.home, FIRST) == []


def test_old_releases_go_but_never_the_current_or_the_one_before(host, run):
    for name in ("000000000001", "000000000002", "000000000003"):
        (host.home / "releases" / name).mkdir()
    run()
    run(SECOND, keep_releases=1)
    assert {path.name for path in (host.home / "releases").iterdir()} == {FIRST, SECOND}
    assert (host.home / "environments" / "e").is_dir()
