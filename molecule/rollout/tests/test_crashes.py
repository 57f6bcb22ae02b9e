"""Workers that cannot start, or keep crashing: nothing spins, and nothing ends as failed."""

import json
import time

import pytest

WORKER = "aroundtheworld@10003"
CRASHES = "/run/aroundtheworld/10003/crashes"
# A site beside the site that all other tests are about.
ANOTHER = {
    "aroundtheworld_site": "another",
    "aroundtheworld_user": "another",
    "aroundtheworld_server_names": ["another.example.org"],
    "aroundtheworld_pools": [{"name": "public", "ports": [10011, 10012], "paths": ["/"]}],
}
FACTORY = "async def make_app() -> Application:\n"
LOADED = "systemctl list-units --all --plain --no-legend 'another@*'"
ENABLED = "ls /etc/systemd/system/*.wants | grep another || true"


@pytest.fixture
def another(ansible_playbook, tmp_path):
    """Return the arguments by which a play is about another site."""
    file = tmp_path / "another.json"
    file.write_text(json.dumps(ANOTHER))
    yield [f"-e@{file}"]
    removed = ansible_playbook("--tags=remove", f"-e@{file}", "-earoundtheworld_remove_data=true")
    assert removed.returncode == 0


def test_a_first_deployment_whose_app_cannot_be_made_leaves_nothing_running(
    app, another, ansible_playbook, site, host
):
    bad = app({FACTORY: FACTORY + "    raise LookupError('no compass on board')\n"})
    run = ansible_playbook(bad, *another)
    assert run.returncode != 0
    assert "LookupError: no compass on board" in run.output
    assert "raise LookupError('no compass on board')" in run.output
    assert "everything that was started is stopped again" in run.output
    assert host.check_output(LOADED) == ""
    assert host.check_output(ENABLED) == ""
    assert ansible_playbook(app(), *another).returncode == 0
    assert host.check_output(f"{LOADED} | grep -c ' active '") == "4"
    assert ansible_playbook(app(), *another, "--check").returncode == 0
    site.runs(site.current)


def state(host):
    """Return the worker's state, and how often systemd started it again."""
    command = f"systemctl show --property=ActiveState,SubState,NRestarts {WORKER}"
    return dict(line.split("=") for line in host.check_output(command).splitlines())


def test_a_worker_that_keeps_crashing_comes_back_later_each_time(
    site, host, load, ansible_playbook
):
    host.check_output(f"systemctl restart {WORKER}")
    assert not host.file(CRASHES).exists
    waited = []
    with load(20) as ledger:
        for crash in range(1, 5):
            site.wait_until(f"systemctl is-active {WORKER}")
            begun = time.monotonic()
            host.check_output(f"systemctl kill --signal=KILL {WORKER}")
            site.wait_until(f"[[ $(cat {CRASHES}) == '{crash} '* ]]")
            site.wait_until(f"systemctl is-active {WORKER}")
            waited.append(time.monotonic() - begun)
        # Longer than it may take to start.
        host.check_output(f"echo 20 $(date +%s) >{CRASHES}")
        host.check_output(f"systemctl kill --signal=KILL {WORKER}")
        waits_until = time.monotonic() + 25
        status = ansible_playbook("--tags", "status")
        time.sleep(max(0.0, waits_until - time.monotonic()))
        about = state(host)
        journal = host.check_output(f"journalctl --unit={WORKER} --since=-24s --output=cat")
        begun = time.monotonic()
        host.check_output(f"systemctl restart {WORKER}")
        deliberate = time.monotonic() - begun
    print(waited, about, deliberate)
    # Two and four seconds after the crash, whose time is known to the second.
    assert waited[2] > 1
    assert waited[3] > 3
    assert (about["ActiveState"], about["SubState"]) == ("activating", "start-pre")
    assert len(journal.splitlines()) < 10
    assert status.returncode == 2
    assert f"{WORKER} crashed {about['NRestarts']} times" in " ".join(status.output.split())
    assert deliberate < 10
    assert not host.file(CRASHES).exists
    assert len(ledger.of("get", "get fresh").failed()) == 0
    assert ansible_playbook().returncode == 0
    site.runs(site.current)
