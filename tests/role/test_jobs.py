"""How a site's jobs are, as `--tags status` shows it."""

import time

import pytest
from ansible.module_utils.aroundtheworld import jobs
from ansible.module_utils.aroundtheworld.jobs import BEGAN, ENDED, job_problems, observe_jobs
from ansible.module_utils.aroundtheworld.layout import SiteLayout

OWN = {
    *("shop-job-nightly.service", "shop-job-nightly.timer", "shop-nightly.slice"),
    *("shop@10001.service", "shop-maintenance.timer", "shop-prepare.service"),
}


class Systemd:
    """Knows the units of a job."""

    def __init__(self, service, timer="active", elapse=2e9):
        """Take what it says of them."""
        self.service, self.timer, self.elapse = service, timer, elapse

    def show(self, units, more=()):
        """Return properties."""
        assert sorted(units) == ["shop-job-nightly.service", "shop-job-nightly.timer"]
        assert {BEGAN, ENDED, "Result"} <= {*more}
        about = {"ActiveState": self.timer}
        return {unit: about if unit.endswith(".timer") else self.service for unit in units}

    def next_elapse(self, timers):
        """Return when the timer elapses."""
        assert timers == ["shop-job-nightly.timer"]
        return {timers[0]: self.elapse} if self.elapse else {}


def ended(result="success", state="inactive", seconds=60, ago=100):
    """Return what systemd says of a service that has run."""
    began = time.monotonic() - ago
    times = {BEGAN: str(int(began * 1e6)), ENDED: str(int((began + seconds) * 1e6))}
    return {"ActiveState": state, "Result": result, "ExecMainStatus": "3", **times}


@pytest.fixture
def observe(tmp_path, monkeypatch):
    """Return what observes the job that a systemd knows."""
    monkeypatch.setattr(jobs, "journal_lines", lambda matches, lines: "\x1b[2Jno disk")
    layout = SiteLayout(tmp_path, "shop", tmp_path)

    def observe(*arguments, **more):
        (job,) = observe_jobs(Systemd(*arguments, **more), layout, OWN)
        return job

    return observe


def test_a_site_without_jobs_asks_nothing(tmp_path):
    assert observe_jobs(None, SiteLayout(tmp_path, "shop", tmp_path), {"shop@10001.service"}) == []


def test_a_job_that_went_well(observe):
    job = observe(ended())
    assert (job.pool, job.running, job.scheduled, job.result) == ("nightly", False, True, "success")
    assert job.began == pytest.approx(time.time() - 100, abs=5)
    assert (job.seconds, job.next) == (60, 2e9)
    assert job.to_json()["next"] == "2033-05-18T03:33:20+00:00"
    assert [*job_problems([job], rollout=False)] == []


@pytest.mark.parametrize(
    ("result", "words"), [("exit-code", "failed (status 3)"), ("timeout", "failed (timeout)")]
)
def test_a_job_that_failed_is_a_problem_with_its_last_line(observe, result, words):
    job = observe(ended(result, "failed"))
    (problem,) = job_problems([job], rollout=False)
    assert problem.startswith(f"the job of pool nightly {words}: ")
    assert problem.endswith("no disk")
    assert "\x1b" not in problem
    assert job.to_json()["failed"] is True


def test_a_job_that_runs_has_no_result_yet(observe):
    job = observe(ended(state="activating", seconds=-900), elapse=None)
    assert (job.running, job.result, job.seconds, job.next) == (True, "", None, None)
    assert job.to_json()["next"] == ""
    assert [*job_problems([job], rollout=False)] == []


def test_a_job_that_never_ran_is_well_if_its_timer_runs(observe):
    service = {"ActiveState": "inactive", "Result": "success", BEGAN: "0", ENDED: "0"}
    job = observe(service)
    assert (job.result, job.began, job.seconds) == ("", None, None)
    assert [*job_problems([job], rollout=False)] == []
    off = observe(service, timer="inactive")
    assert [*job_problems([off], rollout=True)] == []
    (problem,) = job_problems([off], rollout=False)
    assert problem == "the job of pool nightly will not run again: its timer does not run"
