"""A pool whose command systemd runs at times."""

import json
from pathlib import Path

import pytest
import yaml

from tests.waiting import until

pytestmark = pytest.mark.once

CHECKOUT = Path(__file__).resolve().parents[3]
VARIABLES = CHECKOUT / "inventory" / "guestbook-queue" / "group_vars" / "aroundtheworld.yml"
PUBLIC, _, QUICK = yaml.safe_load(VARIABLES.read_text())["aroundtheworld_pools"]
NIGHT = {**QUICK, "command": f"SECONDS_A_NIGHT=600 {QUICK['command']}"}
SERVICE, TIMER = (f"aroundtheworld-job-night.{kind}" for kind in ("service", "timer"))
SHARED = "/var/lib/tornado/aroundtheworld/shared"
STAMP = f"/var/lib/systemd/timers/stamp-{TIMER}"
PATIENCE = 30  # seconds for what takes two, on a busy machine


def shown(host, unit, *properties):
    """Return properties of a unit."""
    out = host.check_output("systemctl show -p %s %s", ",".join(properties), unit)
    return dict(line.split("=", 1) for line in out.splitlines())


def nights(host):
    """Return the words of each line in the job's own log."""
    return [line.split() for line in host.check_output(f"cat {SHARED}/nights.log").splitlines()]


def current(host):
    """Return the current release."""
    return host.check_output("readlink /var/lib/tornado/aroundtheworld/current").rpartition("/")[2]


@pytest.fixture
def job(host, have):
    """Have the public side and the job on the host, which has not run yet."""
    have("queue", pools=[PUBLIC, NIGHT])
    host.check_output(f"systemctl stop {SERVICE}")
    host.check_output(f"truncate --size=0 {SHARED}/nights.log")
    host.check_output(f"chown tornado: {SHARED}/nights.log")
    yield
    host.run(f"systemctl stop {SERVICE}; systemctl reset-failed {SERVICE}")


@pytest.mark.usefixtures("job")
def test_a_deployment_sets_its_timer_and_does_not_start_it(host, deploy):
    assert nights(host) == []
    assert host.service(TIMER).is_running
    assert host.service(TIMER).is_enabled
    assert shown(host, SERVICE, "ActiveState", "UnitFileState", "Slice") == {
        "ActiveState": "inactive",
        "UnitFileState": "static",
        "Slice": "aroundtheworld-night.slice",
    }
    score = host.check_output(
        "systemd-analyze security --no-pager %s | sed -n 's/.*exposure level.*: //p'", SERVICE
    )
    assert float(score.split()[0]) <= 1.5
    output = deploy("queue", "--tags", "status", pools=[PUBLIC, NIGHT]).output
    (row,) = (line.split() for line in output.splitlines() if line.startswith("night "))
    assert row[:2] == ["night", "waits"]
    # The time of the next run is the last one, whether or not another test has started the job.
    assert [word for word in row if ":" in word][-1] == "03:00"


@pytest.mark.usefixtures("job")
def test_its_timer_runs_it_with_what_the_workers_have(host, deploy, units):
    before = units.pids()
    often = [PUBLIC, {**QUICK, "at": ["*-02-03 04:05", "*:*:0/2"]}]
    assert deploy("queue", pools=often).returncode == 0
    assert units.pids() == before
    until(lambda: nights(host)[:2], lambda found: len(found) == 2, seconds=PATIENCE)
    release = current(host)
    assert nights(host)[:2] == [["began", release], ["ended", release]]
    entries, signature = host.check_output(f"cat {SHARED}/entries.json").splitlines()
    assert json.loads(entries) is not None
    assert len(signature) == 64  # by the secret
    assert deploy("queue", pools=often).changed == 0
    failing = {**often[1], "command": "python -c 'raise SystemExit(\"the disk is full\")'"}
    assert deploy("queue", pools=[PUBLIC, failing]).returncode == 0
    until(lambda: shown(host, SERVICE, "Result"), lambda found: found == {"Result": "exit-code"},
          seconds=PATIENCE)  # fmt: skip
    # Until it has other times, it fails again and again.
    host.check_output(f"systemctl stop {TIMER}")
    until(
        lambda: shown(host, SERVICE, "ActiveState"), lambda found: found["ActiveState"] == "failed"
    )
    run = deploy("queue", "--tags", "status", pools=[PUBLIC, failing])
    words = " ".join(run.output.split())
    assert run.failed == 1
    assert "the job of pool night failed (status 1): the disk is full" in words
    assert "the job of pool night will not run again" in words


@pytest.mark.usefixtures("job")
def test_a_run_under_way_outlives_a_deployment_with_its_own_release(host, deploy, units):
    timer = shown(host, TIMER, "ActiveEnterTimestampMonotonic")
    host.check_output(f"systemctl start --no-block {SERVICE}")
    first = current(host)
    until(lambda: nights(host), lambda found: found == [["began", first]], seconds=PATIENCE)
    pid, workers = shown(host, SERVICE, "MainPID"), units.pids()
    another = {**NIGHT, "command": f"{NIGHT['command']} again"}  # it looks at no argument
    run = deploy("queue", pools=[PUBLIC, another], release="seventh")
    assert run.returncode == 0, run.output
    second = current(host)
    assert second != first
    assert not {*units.pids().values()} & {*workers.values()}
    assert shown(host, SERVICE, "MainPID", "ActiveState") == {**pid, "ActiveState": "activating"}
    assert shown(host, TIMER, "ActiveEnterTimestampMonotonic") == timer
    assert host.file(f"/proc/{pid['MainPID']}/cwd").linked_to.endswith(f"/{first}/app")
    output = deploy("queue", "--tags", "status").output
    (row,) = (line.split() for line in output.splitlines() if line.startswith("night "))
    assert row[:2] == ["night", "runs"]
    assert nights(host) == [["began", first]]
    # The next run has the new release.
    host.check_output(f"systemctl stop {SERVICE}")
    host.check_output(f"systemctl start --no-block {SERVICE}")
    until(lambda: nights(host)[1:], lambda found: found == [["began", second]], seconds=PATIENCE)
    host.check_output(f"systemctl stop {SERVICE}")


@pytest.mark.usefixtures("job")
def test_a_time_that_never_comes_changes_nothing_and_without_the_pool_nothing_is_left(
    host, deploy, units
):
    before = units.pids()
    run = deploy("queue", pools=[PUBLIC, {**NIGHT, "at": "2020-01-01"}])
    assert (run.failed, run.changed) == (1, 0)
    assert "at of pool 'night' has '2020-01-01'; systemd: it never comes" in " ".join(
        run.output.split()
    )
    assert host.file(STAMP).exists
    assert deploy("queue", pools=[PUBLIC]).returncode == 0
    left = "find /etc/systemd /run/aroundtheworld /var/lib/systemd/timers -name '*night*'"
    assert host.check_output(left) == ""
    assert units.pids() == before
