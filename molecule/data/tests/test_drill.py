"""Drills: the last backup is tried, and what keeps it from being restored is told."""

import json

import pytest

from tests.waiting import until

pytestmark = pytest.mark.once

HOME = "/var/lib/tornado/aroundtheworld"
SCRATCH = f"{HOME}/backup/drill"
STATE = f"{HOME}/backup/drill.json"
REPOSITORY = "/var/backups/aroundtheworld"
SERVICE = "aroundtheworld-backup-drill.service"
FETCH = (
    "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9145/metrics').read().decode())"
)
# A pack may hold what only an older backup has, so none is spared: another bit in each 4 KiB.
DAMAGE = f"""
import pathlib
for path in pathlib.Path("{REPOSITORY}/data").rglob("*"):
    if path.is_file():
        content = bytearray(path.read_bytes())
        for place in range(100, len(content), 4096):
            content[place] ^= 1
        path.chmod(0o600)
        path.write_bytes(content)
"""


@pytest.fixture
def backed_up(site):
    site.back_up()


@pytest.fixture
def damaged(site, host, backed_up):
    """The last backup cannot be read whole."""
    host.check_output(f"cp -a {REPOSITORY}/data /root/packs")
    host.check_output("python3 -c %s", DAMAGE)
    yield
    host.check_output(f"rm -r {REPOSITORY}/data && mv /root/packs {REPOSITORY}/data")
    host.check_output(f"systemctl start {SERVICE}")


def metric(host, name):
    lines = host.check_output("python3 -c %s", FETCH).splitlines()
    (value,) = [line.split()[-1] for line in lines if line.startswith(f"aroundtheworld_{name}{{")]
    return float(value)


@pytest.mark.usefixtures("backed_up")
def test_the_last_backup_is_tried_and_nothing_is_left(site, host, ansible_playbook):
    as_owner = "runuser -u postgres -- psql --quiet --tuples-only --command"
    host.check_output(f"{as_owner} 'alter role stock createdb'")
    try:
        run = ansible_playbook("--tags", "drill")
    finally:
        host.check_output(f"{as_owner} 'alter role stock nocreatedb'")
    assert run.returncode == 0
    assert "were restored and compared with their hashes" in run.output
    assert "database game was restored: " in run.output
    assert "database stock was restored: " in run.output
    left = f"{as_owner} \"select datname from pg_database where datname like 'drill%'\""
    assert host.check_output(left).strip() == ""
    assert not host.file(SCRATCH).exists
    status = ansible_playbook("--tags", "status")
    assert status.returncode == 0
    assert f"drill: of {site.state()['last']['id']} on " in status.output
    assert metric(host, "backup_drill_failed") == 0
    assert metric(host, "backup_drill_due_timestamp_seconds") > 0


@pytest.mark.usefixtures("backed_up")
def test_a_dump_is_read_where_its_user_may_make_no_database(host):
    host.check_output(f"systemctl start {SERVICE}")
    game, stock = json.loads(host.check_output(f"cat {STATE}"))["last"]["databases"]
    assert (game["how"], stock["how"]) == ("restored", "read")
    assert game["rows"] > 0


@pytest.mark.usefixtures("damaged")
def test_a_damaged_backup_is_found_and_told_everywhere(site, host, ansible_playbook):
    host.run("rm -f /run/told")
    run = ansible_playbook("--tags", "drill")
    assert run.returncode != 0
    assert "is damaged" in run.output
    assert "Traceback" not in run.output
    told = until(lambda: host.run("cat /run/told").stdout, bool, 10)
    assert told.startswith(f"The drill failed. The repository {REPOSITORY} is damaged: ")
    assert metric(host, "backup_drill_failed") == 1  # for which there is an alert
    assert metric(host, "backup_failed") == 0
    status = ansible_playbook("--tags", "status")
    assert status.returncode != 0
    assert "PROBLEM: the drill of " in status.output
    assert not host.file(SCRATCH).exists


@pytest.mark.usefixtures("backed_up")
def test_what_a_killed_drill_left_goes_with_it(host):
    # It waits at the databases: the process that checks them has begun, and stands still.
    hold = "until pkill -STOP -f 'backup check$'; do sleep 0.02; done"
    host.check_output(f"systemctl start --no-block {SERVICE}")
    host.check_output("timeout 60 sh -c %s", hold)
    assert host.file(SCRATCH).exists
    host.check_output(f"systemctl kill --signal=KILL {SERVICE}")
    until(lambda: host.run(f"systemctl is-failed {SERVICE}").stdout.strip() == "failed", bool, 60)
    assert not host.file(SCRATCH).exists
    assert host.run("pgrep -f 'backup check$'").rc != 0
    cause = host.check_output(f"cat {STATE}")
    assert "ended from outside (signal)" in cause
    host.check_output(f"systemctl start {SERVICE}")
    assert metric(host, "backup_drill_failed") == 0


def test_the_timer_has_a_next_time(host):
    assert "aroundtheworld-backup-drill.timer" in host.check_output("systemctl list-timers")
