"""Jobs: a rollout sets their timers, starts none of them, and leaves alone what runs."""

import re

import pytest

from tests.role.rollout.fake_host import EVERY_WORKER_ON_FIRST, FIRST, SECOND, CutOffError

TIMER, SERVICE = (f"aroundtheworld-job-nightly.{kind}" for kind in ("timer", "service"))
AT = ("03:00",)


def of_job(host):
    """Return what systemd was told to do with units of the job."""
    return [call for call in host.calls if "-job-" in call]


def release_of_job(host):
    """Return the release with which the job would begin now."""
    found = re.search(r"AROUNDTHEWORLD_RELEASE=(.*)", (host.units / SERVICE).read_text())
    return found[1] if found else None


def test_its_timer_waits_now_and_after_a_boot_and_it_is_not_started(host, run):
    assert f"start {TIMER}, because its times changed" in run(at=AT)["steps"]
    assert host.timers == {TIMER}
    assert (host.units / "timers.target.wants" / TIMER).is_symlink()
    assert of_job(host) == [f"enable {TIMER}", f"start {TIMER}"]
    assert SERVICE not in host.running
    assert run(at=AT)["steps"] == []


def test_it_gets_the_release_when_all_workers_run_it_and_its_timer_waits_on(host, run):
    run(at=AT)
    seen = []
    original = host._restart

    def restart(name):
        seen.append(release_of_job(host))
        original(name)

    host._restart = restart
    run(SECOND, at=AT)
    assert seen == [FIRST] * 4
    assert release_of_job(host) == SECOND
    assert of_job(host) == []
    assert host.timers == {TIMER}
    assert host.read[host.units / SERVICE] == (host.units / SERVICE).read_text()


def test_other_times_change_its_timer_only_which_makes_up_for_nothing(host, run):
    run(at=AT)
    host.stamp(TIMER).write_text("when it last ran")
    result = run(at=("04:00",))
    assert result["replace"] == []
    assert [step.partition(" ")[0] for step in result["steps"]] == ["write", "start"]
    assert of_job(host) == [f"stop {TIMER}", f"enable {TIMER}", f"start {TIMER}"]
    assert host.stamp(TIMER).read_text() == ""
    assert host.restarts() == [f"stop {TIMER}", f"start {TIMER}"]


def test_a_timer_that_somebody_stopped_makes_up_for_what_it_missed(host, run):
    run(at=AT)
    host.stamp(TIMER).write_text("when it last ran")
    host._stop(TIMER)
    assert run(at=AT)["steps"] == [f"start {TIMER}, because it does not run"]
    assert host.timers == {TIMER}
    assert host.stamp(TIMER).read_text() == "when it last ran"
    host._disable(TIMER)
    assert run(at=AT)["steps"] == [f"start {TIMER}, because it would not start at boot"]
    assert run(at=AT)["steps"] == []


def test_a_run_under_way_is_left_alone_and_keeps_its_release_on_the_host(host, run):
    run(at=AT)
    status = {"release": FIRST, "config": "-"}
    host.running[SERVICE] = (status, 1.0)
    run(SECOND, at=AT, keep_releases=1)
    third = "333333333333"
    (host.home / "releases" / third).mkdir()
    (host.home / "releases" / third / "venv").symlink_to("../../environments/e")
    run(third, at=AT, keep_releases=1)
    assert host.running[SERVICE] == (status, 1.0)
    assert not [call for call in host.calls if SERVICE in call]
    assert (host.home / "releases" / FIRST).is_dir()
    del host.running[SERVICE]
    run(SECOND, at=AT, keep_releases=1)
    assert not (host.home / "releases" / FIRST).exists()


def test_a_rollout_that_fails_leaves_it_as_it_was(host, run):
    run(at=AT)
    before = host.snapshot()[0]
    host.sick.add(SECOND)
    with pytest.raises(run.failed, match="status 500"):
        run(SECOND, at=("04:00",))
    assert release_of_job(host) == FIRST
    assert host.snapshot()[0] == before
    assert host.timers == {TIMER}
    assert of_job(host) == []


@pytest.mark.parametrize("before", [(), ("02:00",)])
def test_a_failure_after_its_times_were_set_takes_them_back(host, run, before, monkeypatch):
    run(at=before)
    units, timers = host.snapshot()[0], set(host.timers)
    monkeypatch.setattr(
        "ansible.module_utils.aroundtheworld.rollout.rollout.link_atomically",
        lambda *_: (_ for _ in ()).throw(OSError("no room")),
    )
    with pytest.raises(run.failed, match="no room"):
        run(SECOND, at=AT)
    monkeypatch.undo()
    assert (host.snapshot()[0], host.timers) == (units, timers)
    assert host.stamp(TIMER).exists() is bool(before)
    assert host.releases() == EVERY_WORKER_ON_FIRST


def test_a_first_deployment_that_fails_leaves_no_timer(host, run, monkeypatch):
    monkeypatch.setattr(
        "ansible.module_utils.aroundtheworld.rollout.rollout.link_atomically",
        lambda *_: (_ for _ in ()).throw(OSError("no room")),
    )
    with pytest.raises(run.failed, match="Nothing was deployed here before"):
        run(at=AT)
    assert host.timers == set()
    assert not list(host.units.glob("*.wants/*"))
    assert not host.stamp(TIMER).exists()


def test_a_job_that_is_not_asked_for_any_more_leaves_nothing(host, run):
    run(at=AT)
    orphans = run()["orphans"]
    assert orphans == sorted([TIMER, SERVICE, "aroundtheworld-nightly.slice"])
    run(remove_orphans=True)
    assert [call.partition(" ")[2] for call in host.calls if call.startswith("stop")] == [
        TIMER,
        SERVICE,
        "aroundtheworld-nightly.slice",
    ]
    assert host.timers == set()
    assert not host.stamp(TIMER).exists()
    assert not [path for path in host.units.rglob("*") if "nightly" in path.name]
    assert run()["orphans"] == []


@pytest.mark.parametrize("step", range(5))
def test_a_run_that_was_cut_off_anywhere_is_completed_by_the_next(host, run, step):
    run(at=AT)
    host.stamp(TIMER).write_text("when it last ran")
    host.cut_off_at = step
    try:
        run(at=("04:00",))
    except CutOffError:
        assert step < 4
    host.cut_off_at = None
    run(at=("04:00",))
    assert host.timers == {TIMER}
    assert host.stamp(TIMER).read_text() == ""  # nothing of the former times is made up for
    assert "OnCalendar=04:00\n" in (host.units / TIMER).read_text()
    assert run(at=("04:00",))["steps"] == []


@pytest.mark.parametrize(
    ("time", "says"),
    [("2020-01-01", "it never comes"), ("03:00 Mars/Olympus", "Failed to parse calendar")],
)
def test_systemd_judges_new_times_before_anything_changes(host, run, time, says):
    host.never[time] = says
    with pytest.raises(run.failed) as failure:
        run(at=("03:00", time))
    message = str(failure.value)
    assert f"aroundtheworld_pools: at of pool 'nightly' has {time!r}; systemd: {says}" in message
    assert host.calls == []


def test_a_time_that_has_come_is_no_reason_to_refuse_another_release(host, run):
    run(at=("2027-01-01",))
    host.never["2027-01-01"] = "it never comes"
    run(SECOND, at=("2027-01-01",))
    assert release_of_job(host) == SECOND


def test_a_directive_of_its_pool_is_named_with_the_pool(host, run):
    host.verify = lambda directory, names: f"{directory}/{SERVICE}:7: Unknown key 'Slic', ignoring."
    with pytest.raises(run.failed, match="aroundtheworld_pools: the unit of pool 'nightly' has"):
        run(at=AT)
