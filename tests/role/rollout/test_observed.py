"""What makes a rollout replace a worker or read a file, and what does not."""

import contextlib
import os
import time

import pytest
from ansible.module_utils.aroundtheworld.rollout import observed
from ansible.module_utils.aroundtheworld.rollout.observed import Moment
from ansible.module_utils.aroundtheworld.rollout.phases import Phases

from tests.role.rollout.fake_host import EVERY_WORKER_ON_FIRST, FEWER, SECOND, replacement_calls


def test_a_second_run_does_nothing(host, run):
    run()
    result = run()
    assert (result["changed"], result["steps"], result["orphans"]) == (False, [], [])
    assert host.calls == []


def test_only_workers_that_do_not_run_the_release_are_restarted(host, run):
    run()
    status, started = host.running["aroundtheworld@10002.service"]
    host.running["aroundtheworld@10002.service"] = (status | {"release": SECOND}, started)
    result = run()
    assert host.restarts() == ["start aroundtheworld-prepare.service", *replacement_calls(10002)]
    assert f"because it runs release {SECOND}" in result["steps"][-1]


def test_a_worker_that_does_not_run_is_started(host, run):
    run()
    host._stop("aroundtheworld@10003.service")
    result = run()
    assert host.restarts()[-1] == "start aroundtheworld@10003.service"
    assert "because it is not running" in result["steps"][-1]
    assert host.releases() == EVERY_WORKER_ON_FIRST


def test_a_worker_that_does_not_answer_is_restarted(host, run):
    run()
    host.running["aroundtheworld@10003.service"] = ({}, time.monotonic())
    result = run()
    assert host.restarts()[1:] == replacement_calls(10003)
    assert "because it does not answer on its control socket" in result["steps"][-1]


def test_a_secret_with_another_content_restarts_all_workers(host, run):
    run()
    (host.secrets / "cookie_secret").write_bytes(b"other\r\n\xff")
    result = run()
    assert host.restarts()[1:] == replacement_calls(10004, 10001, (10002, 10003))
    assert "because its settings changed" in result["steps"][-1]
    assert run()["steps"] == []


def test_a_secret_that_was_written_again_with_the_same_content_restarts_nothing(host, run):
    run()
    path = host.secrets / "cookie_secret"
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    assert run()["steps"] == []


def test_check_mode_makes_no_key(host, run):
    run(check=True)
    assert not (host.secrets.parent / "settings.key").exists()


@pytest.mark.parametrize(
    ("setting", "other"),
    [("--drain-timeout 300", "--drain-timeout 301"), ("CPUWeight=20", "CPUWeight=21")],
    ids=["of the workers", "of the slice"],
)
def test_a_setting_of_one_pool_restarts_its_workers_only(host, run, setting, other):
    run()
    run(change=lambda text: text.replace(setting, other))
    assert host.restarts() == ["start aroundtheworld-prepare.service", *replacement_calls(10004)]


def test_a_unit_that_somebody_edited_is_put_right_and_its_worker_restarted(host, run):
    run()
    path = host.units / "aroundtheworld@10001.service.d" / "pool.conf"
    path.write_text(path.read_text().replace("WatchdogSec=30", "WatchdogSec=0"))
    run()
    assert "WatchdogSec=30" in path.read_text()
    assert host.restarts()[1:] == replacement_calls(10001)
    assert run()["steps"] == []


def test_a_unit_that_was_written_after_its_worker_started_restarts_it(host, run):
    run()
    name = "aroundtheworld@10001.service"
    host.running[name] = (host.running[name][0], host.running[name][1] - 60)
    result = run()
    assert "because its unit files were edited" in result["steps"][-1]
    assert host.restarts()[1:] == replacement_calls(10001)


@pytest.mark.parametrize("file", ["aroundtheworld-prepare.service", "aroundtheworld-admin.slice"])
def test_a_file_that_was_written_but_not_read_by_systemd_is_read(host, run, file):
    run()
    host.read[host.units / file] = "what it was before"
    result = run()
    assert result["changed"]
    assert host.calls == ["daemon-reload"]
    assert run()["steps"] == []


@pytest.mark.parametrize("start", ["bare", "deployed"])
@pytest.mark.parametrize("more", [{}, {"remove_orphans": True}])
def test_check_mode_changes_nothing(host, run, start, more):
    if start == "deployed":
        run()
    before = host.snapshot()
    result = run(SECOND, ports=FEWER, check=True, **more)
    assert result["changed"] is (start == "deployed" or not more)
    assert host.calls == []
    assert host.snapshot() == before


def test_check_mode_says_what_the_run_does(host, run):
    result = run(check=True)
    assert result["steps"] == run()["steps"]
    assert "+AROUNDTHEWORLD_POOL" not in result["diff"]["prepared"]
    assert "+Environment=AROUNDTHEWORLD_POOL=public" in result["diff"]["prepared"]


# --- When a service last read its unit files ------------------------------------------------------


def started(since_boot):
    """Returns what systemd says of a service that started so many seconds after the boot."""
    return {"ExecMainStartTimestampMonotonic": str(int(since_boot * 1e6))}


# At 10,000 s of the day the host has run for 1,000 s, so it booted at 9,000 s.
NOON = Moment(of_day=10_000.0, since_boot=1_000.0)


@pytest.mark.parametrize(
    ("service", "written", "expected"),
    [
        (started(500), [9_499.0], False),
        (started(500), [9_501.0], True),
        (started(500), [9_000.0, 9_501.0], True),
        (started(500), [8_000.0], False),  # before the boot
        (started(500), [10_000.0], True),  # right now
        (started(500), [10_001.0], False),  # the clock was set back since: that proves nothing
        (started(500), [], False),
        (started(0), [9_501.0], False),  # it never ran
        ({}, [9_501.0], False),
    ],
)
def test_a_service_may_predate_files_that_were_written_after_it_started(service, written, expected):
    assert NOON.may_predate(service, written) is expected


def test_a_host_that_is_busy_between_two_clocks_does_not_make_a_service_older(monkeypatch):
    """The process may be held up between the clocks; a service started right after its files."""

    class Clock:
        passed = 0.0

        def time(self):
            self.passed += 0.5
            return 9_000.0 + self.passed

        def monotonic(self):
            self.passed += 0.5
            return self.passed

    monkeypatch.setattr(observed, "time", Clock())
    assert not Moment.now().may_predate(started(0.1), [9_000.0])


def test_a_service_of_this_moment_is_placed_right_by_the_real_clocks(tmp_path):
    path = tmp_path / "unit"

    def write():
        path.write_text("")
        time.sleep(0.05)  # the kernel's time of files is a few milliseconds coarse

    write()
    service = started(time.clock_gettime(time.CLOCK_MONOTONIC))
    assert not Moment.now().may_predate(service, [path.stat().st_mtime])
    time.sleep(0.05)
    write()
    assert Moment.now().may_predate(service, [path.stat().st_mtime])


def test_a_slice_that_was_written_after_its_worker_started_restarts_its_pool(host, run):
    run()
    past = time.time() - 1000
    for path in host.units.rglob("*"):
        os.utime(path, (past, past), follow_symlinks=False)
    os.utime(host.units / "aroundtheworld-admin.slice", (past + 500, past + 500))
    for name in list(host.running):
        host.running[name] = (host.running[name][0], time.monotonic() - 900)
    assert host.restarts() != []
    assert "(admin), because its unit files were edited" in run()["steps"][-1]
    assert host.restarts()[1:] == replacement_calls(10004)


# --- The phases -----------------------------------------------------------------------------------


def test_a_phase_is_reported_when_it_begins_and_noted_when_it_fails():
    reported = []
    phases = Phases(reported.append)
    with contextlib.suppress(KeyError), phases.phase("outer"), phases.phase("inner"):
        assert (reported, phases.done) == (["outer", "inner"], [])
        raise KeyError
    assert [phase["name"] for phase in phases.done] == ["inner", "outer"]
    assert phases.failed == "inner"


def test_a_phase_that_cannot_be_reported_is_carried_out():
    def report(name):
        raise OSError(28, "No space left on device")

    phases = Phases(report)
    with phases.phase("prepare"):
        pass
    assert ([phase["name"] for phase in phases.done], phases.failed) == (["prepare"], "")
