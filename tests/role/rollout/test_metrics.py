"""The metrics' endpoint."""

import contextlib
import os
import time

import pytest

from tests.role.rollout.fake_host import CutOffError

METRICS = "aroundtheworld-metrics.socket"


def test_metrics_get_their_socket_and_no_process_until_somebody_asks(host, run):
    run(metrics=9145)
    assert host.listening[METRICS] == "127.0.0.1:9145"
    assert (host.units / "sockets.target.wants" / METRICS).is_symlink()
    assert "aroundtheworld-metrics.service" not in host.running
    assert run(metrics=9145)["steps"] == []


def test_metrics_are_added_without_touching_a_worker(host, run):
    run()
    run(metrics=9145)
    assert host.restarts() == [
        f"stop aroundtheworld-metrics.service {METRICS}",
        f"start {METRICS}",
    ]
    assert host.listening[METRICS] == "127.0.0.1:9145"


@pytest.mark.parametrize("what", ["stopped", "elsewhere", "older than its file", "disabled"])
def test_metrics_that_are_not_as_they_should_be_are_mended(host, run, what):
    run(metrics=9145)
    host._start("aroundtheworld-metrics.service")
    if what == "stopped":
        host._stop(METRICS)
    elif what == "elsewhere":
        host.listening[METRICS] = "127.0.0.1:9999"
    elif what == "disabled":
        host._disable(METRICS)
    else:
        moment = time.time() - 1000
        for path in host.units.glob("*-metrics.*"):
            os.utime(path, (moment, moment))
        host.running["aroundtheworld-metrics.service"] = ({}, time.monotonic() - 2000)
    assert run(metrics=9145)["changed"]
    assert host.listening[METRICS] == "127.0.0.1:9145"
    assert "aroundtheworld-metrics.service" not in host.running or what == "disabled"
    assert run(metrics=9145)["steps"] == []


def test_metrics_that_nobody_has_asked_for_since_a_change_are_as_they_should_be(host, run):
    run(metrics=9145)
    host._start("aroundtheworld-metrics.service")
    assert run(metrics=9147)["changed"]
    assert run(metrics=9147)["steps"] == []


@pytest.mark.parametrize("step", range(6))
def test_metrics_that_a_run_was_cut_off_from_are_completed(host, run, step):
    run()
    host.calls.clear()
    host.cut_off_at = step
    with contextlib.suppress(CutOffError):
        run(metrics=9146)
    host.cut_off_at = None
    run(metrics=9146)
    assert host.listening[METRICS] == "127.0.0.1:9146"
    assert run(metrics=9146)["steps"] == []


def test_metrics_that_are_switched_off_leave_nothing_behind(host, run):
    run(metrics=9145)
    host._start("aroundtheworld-metrics.service")
    result = run()
    assert set(result["orphans"]) == {METRICS, "aroundtheworld-metrics.service"}
    run(remove_orphans=True)
    assert METRICS not in host.listening
    assert "aroundtheworld-metrics.service" not in host.running
    assert list(host.units.rglob("*-metrics*")) == []
    assert run()["orphans"] == []
