"""What is no longer as it should be is mended, and nothing else is touched."""

import secrets

import pytest

from tests.waiting import until

HOME = "/var/lib/tornado/aroundtheworld"


def restarted(before, after):
    """Return the ports whose worker is another process now, or is or was none."""
    return {port for port in before | after if before.get(port) != after.get(port)}


def test_a_worker_that_was_killed_comes_back_by_itself(host, site):
    before = site.pids()
    host.check_output("kill -KILL %s", str(before[10002]))
    until(site.pids, lambda pids: pids[10002] not in (0, before[10002]))
    until(site.workers, lambda statuses: statuses.get(10002, {}).get("state") == "ready")
    assert restarted(before, site.pids()) == {10002}
    assert site.ports("/", requests=60) == {10001, 10002, 10003}


@pytest.mark.usefixtures("as_converged")
def test_what_was_edited_removed_or_stopped_is_mended(host, site, ansible_playbook):
    before, release = site.pids(), site.release()
    dropin = "/etc/systemd/system/aroundtheworld@10003.service.d/pool.conf"
    for harm in (
        f"sed -i s/WatchdogSec=.*/WatchdogSec=7/ {dropin}",
        "systemctl daemon-reload",
        "systemctl restart aroundtheworld@10003",
        "systemctl disable --now --quiet aroundtheworld@10001.socket aroundtheworld@10001",
        f"rm {HOME}/current /etc/nginx/sites-enabled/aroundtheworld.conf",
        "systemctl stop nginx",
    ):
        host.check_output(harm)
    harmed = site.pids()
    assert restarted(before, harmed) == {10001, 10003}

    assert ansible_playbook().returncode == 0
    assert restarted(harmed, site.pids()) == {10001, 10003}
    watchdog = "systemctl show -P WatchdogUSec aroundtheworld@10003 aroundtheworld@10002"
    assert set(host.check_output(watchdog).split()) == {"30s"}
    assert host.service("aroundtheworld@10001.socket").is_enabled
    assert host.service("aroundtheworld@10001").is_enabled
    assert site.release() == release
    assert site.ports("/", requests=60) == {10001, 10002, 10003}


def test_a_changed_secret_reaches_every_worker_and_no_output(
    host, http, site, ansible_playbook, variables, visited
):
    before, secret = site.pids(), secrets.token_urlsafe(48)
    with visited(http, "/api/ping") as outcomes:
        run = ansible_playbook("--diff", "-vvv", variables(secrets={"cookie_secret": secret}))
    assert run.returncode == 0
    assert secret not in run.output
    assert outcomes.keys() == {"200"}
    assert restarted(before, site.pids()) == before.keys()
    for port in before:
        credential = f"/run/credentials/aroundtheworld@{port}.service/cookie_secret"
        assert host.file(credential).content_string == secret
    # A secret to be generated is there already.
    assert ansible_playbook().changed == 0
