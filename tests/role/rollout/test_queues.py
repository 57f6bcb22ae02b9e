"""Pools without ports: their workers are exchanged one for one, and have to stay up."""

import re

import pytest

from tests.role.rollout.fake_host import EVERY_WORKER_ON_FIRST, FIRST, SECOND, CutOffError


def of_queue(host):
    """Return what was started and stopped of the queue."""
    return [call for call in host.restarts() if "@mail-" in call]


def units(*numbers):
    """Return the names of these workers."""
    return " ".join(f"aroundtheworld@mail-{number}.service" for number in numbers)


def queue_on(release, count=3):
    """Return what the workers of the queue run."""
    return {f"mail-{number + 1}": release for number in range(count)}


def test_its_workers_start_with_the_others_and_at_boot(host, run):
    run(queue=2)
    assert host.queue() == queue_on(FIRST, 2)
    assert host.releases() == EVERY_WORKER_ON_FIRST
    links = {path.name for path in (host.units / "multi-user.target.wants").iterdir()}
    assert {"aroundtheworld@mail-1.service", "aroundtheworld@mail-2.service"} <= links
    assert not [name for name in host.listening if "mail" in name]
    assert run(queue=2)["steps"] == []


def test_they_are_exchanged_before_what_gives_them_work_the_first_alone(host, run):
    run(queue=3)
    result = run(SECOND, queue=3)
    assert [worker["worker"] for worker in result["replace"]][:4] == [
        *("mail-1", "mail-2", "mail-3", "10004"),
    ]
    assert of_queue(host) == [
        *(f"stop {units(1)}", f"start {units(1)}"),
        *(f"stop {units(2, 3)}", f"start {units(2, 3)}"),
    ]
    # After the import of the app, and the migration.
    assert host.restarts()[1:5] == of_queue(host)
    assert host.queue() == queue_on(SECOND)
    assert host.releases() == dict.fromkeys(EVERY_WORKER_ON_FIRST, SECOND)
    assert not list(host.units.glob("*handover@mail*"))
    assert run(SECOND, queue=3)["steps"] == []


def test_a_release_that_has_proved_itself_is_brought_to_all_of_them_at_once(host, run):
    run(queue=3)
    run(SECOND, queue=3)
    run(FIRST, queue=3, verb="rollback")
    assert of_queue(host) == [f"stop {units(1, 2, 3)}", f"start {units(1, 2, 3)}"]
    assert host.queue() == queue_on(FIRST)


def test_changed_settings_reach_them(host, run):
    run(queue=2)
    (host.secrets / "cookie_secret").write_text("another")
    result = run(queue=2)
    assert {worker["why"] for worker in result["replace"]} == {"its settings changed"}
    assert of_queue(host)[0] == f"stop {units(1)}"


def test_one_that_ends_by_itself_takes_the_whole_rollout_back(host, run):
    run(queue=3)
    host.unsteady.add(SECOND)
    with pytest.raises(run.failed) as failure:
        run(SECOND, queue=3)
    message = str(failure.value)
    assert f"{units(1)} of pool mail does not stay up: its command has ended" in message
    assert f"(the journal of {units(1)})" in message
    assert "Every worker that was touched is back on release 111111111111." in message
    assert host.queue() == queue_on(FIRST)
    assert host.releases() == EVERY_WORKER_ON_FIRST
    assert not any("@1000" in call for call in host.restarts())  # no visitor came to it
    assert units(2) not in " ".join(host.restarts())
    assert run(FIRST, queue=3)["steps"] == []


def test_one_that_does_not_even_start_takes_the_rollout_back(host, run):
    run(queue=1)
    original = host._start

    def start(name):
        if not ("@mail-" in name and SECOND in host._text(name)):
            original(name)

    host._start = start
    with pytest.raises(run.failed, match="does not stay up: its command has ended"):
        run(SECOND, queue=1)
    assert host.queue() == queue_on(FIRST, 1)


def test_one_that_ends_while_the_others_are_replaced_takes_the_rollout_back(host, run):
    run(queue=1)
    original = host.problem

    def problem(*arguments):  # the first worker that serves is checked
        host.unsteady.add(SECOND)
        return original(*arguments)

    host.problem = problem
    with pytest.raises(run.failed, match="does not stay up: its command has ended, and systemd"):
        run(SECOND, queue=1)
    assert host.queue() == queue_on(FIRST, 1)
    assert host.releases() == EVERY_WORKER_ON_FIRST


def test_a_first_deployment_whose_queue_fails_leaves_nothing_running(host, run):
    host.unsteady.add(FIRST)
    with pytest.raises(run.failed, match="Nothing was deployed here before"):
        run(queue=2)
    assert host.running == {}
    assert host.listening == {}
    assert not list(host.units.glob("*.wants/*"))


def test_a_queue_that_there_was_not_before_goes_again_when_the_rollout_fails(host, run):
    run()
    host.unsteady.add(SECOND)
    with pytest.raises(run.failed, match="does not stay up"):
        run(SECOND, queue=2)
    assert host.queue() == {}
    assert host.releases() == EVERY_WORKER_ON_FIRST
    assert not any("mail" in path.name for path in host.units.rglob("*"))
    assert run()["steps"] == []


@pytest.mark.parametrize(("before", "after"), [(3, 1), (2, 0)])
def test_workers_that_are_not_asked_for_any_more_end_and_leave_nothing(host, run, before, after):
    run(queue=before)
    orphans = run(queue=after)["orphans"]
    gone = set(range(after, before))
    assert {name for name in orphans if "@" in name} == {units(number + 1) for number in gone}
    assert ("aroundtheworld-mail.slice" in orphans) is (after == 0)
    run(queue=after, remove_orphans=True)
    assert host.queue() == queue_on(FIRST, after)
    left = {path.name for path in host.units.rglob("*") if "mail" in path.name}
    assert len(left) == (3 if after else 0)  # its slice, its drop-in and its link
    assert run(queue=after)["orphans"] == []
    assert run(queue=after)["steps"] == []


@pytest.mark.parametrize("step", range(8))
def test_a_run_that_was_cut_off_anywhere_is_completed_by_the_next(host, run, step):
    run(queue=3)
    run(SECOND, queue=3)
    calls = len(host.calls)
    run(FIRST, queue=3)
    assert calls > step
    host.cut_off_at = step
    with pytest.raises(CutOffError):
        run(SECOND, queue=3)
    host.cut_off_at = None
    run(SECOND, queue=3)
    assert host.queue() == queue_on(SECOND)
    assert run(SECOND, queue=3)["steps"] == []


def test_there_are_never_more_of_them_than_asked_for(host, run):
    most, original = 0, host._start

    def start(name):
        nonlocal most
        original(name)
        most = max(most, len(host.queue()))
        assert not list(host.units.glob("*handover@mail*"))

    host._start = start
    run(queue=3)
    run(SECOND, queue=3)
    assert most == 3


def test_systemd_reads_their_units_before_anything_changes(host, run):
    run(queue=1)

    def verify(directory, names):
        assert "aroundtheworld@mail-1.service" in names
        assert not any(re.search("handover@mail|mail-1.socket", name) for name in names)
        path = directory / "aroundtheworld@mail-1.service.d/pool.conf"
        return f"{path}:12: Unknown key name 'Slic' in section 'Service', ignoring."

    host.verify = verify
    with pytest.raises(run.failed, match="aroundtheworld_pools: the unit of pool 'mail' has"):
        run(SECOND, queue=1)
    assert host.queue() == queue_on(FIRST, 1)
