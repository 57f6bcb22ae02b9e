"""What is no longer as it should be is mended, and nothing else is touched."""

import secrets

HOME = "/var/lib/tornado/aroundtheworld"


def restarted(before, after):
    """Return the ports of the workers that are other processes now."""
    return {port for port in before if before[port] != after[port]}


def test_a_worker_that_was_killed_comes_back_by_itself(host, site, until):
    before = site.pids()
    host.check_output("kill -KILL %s", str(before[10002]))
    until(site.pids, lambda pids: pids[10002] not in (0, before[10002]))
    until(site.workers, lambda said: said.get(10002, {}).get("state") == "ready")
    assert restarted(before, site.pids()) == {10002}
    assert site.ports("/", requests=60) == {10001, 10002, 10003}


def test_a_unit_that_was_edited_is_mended(host, site, ansible_playbook):
    before = site.pids()
    dropin = "/etc/systemd/system/aroundtheworld@10003.service.d/pool.conf"
    host.check_output(f"sed -i s/WatchdogSec=.*/WatchdogSec=7/ {dropin}")
    host.check_output("systemctl daemon-reload")
    host.check_output("systemctl restart aroundtheworld@10003")
    edited = site.pids()
    assert ansible_playbook().returncode == 0
    assert host.check_output("systemctl show -P WatchdogUSec aroundtheworld@10003") == "30s"
    assert restarted(edited, site.pids()) <= {10003}
    assert restarted(before, site.pids()) == {10003}


def test_what_was_removed_or_stopped_is_there_again(host, site, ansible_playbook):
    before, release = site.pids(), site.release()
    host.check_output(f"rm {HOME}/current /etc/nginx/sites-enabled/aroundtheworld.conf")
    host.check_output(
        "systemctl disable --now --quiet aroundtheworld@10001.socket aroundtheworld@10001"
    )
    host.check_output("systemctl stop nginx")
    assert ansible_playbook().returncode == 0
    assert site.release() == release
    assert restarted(before, site.pids()) == {10001}
    assert host.service("aroundtheworld@10001.socket").is_enabled
    assert site.ports("/", requests=60) == {10001, 10002, 10003}
    assert ansible_playbook().changed == 0


def test_a_changed_secret_reaches_every_worker_and_no_output(
    host, site, ansible_playbook, variables
):
    before, secret = site.pids(), secrets.token_urlsafe(48)
    with site.visited() as visits:
        run = ansible_playbook("--diff", "-vvv", variables(secrets={"cookie_secret": secret}))
    assert run.returncode == 0
    assert secret not in run.output
    assert visits.failures == []
    assert restarted(before, site.pids()) == before.keys()
    for port in before:
        credential = f"/run/credentials/aroundtheworld@{port}.service/cookie_secret"
        assert host.file(credential).content_string == secret
    # A secret to be generated is one that is there.
    assert ansible_playbook().changed == 0
