"""Rollouts that are cut off, and what else befalls a host; visitors are served all the while."""

import json
import re
import time
from pathlib import Path

import pytest
import yaml

from tests.matrix import chosen

HOME = "/var/lib/tornado/aroundtheworld"
# For a run that a test ends, so that it is not done before, however slow the machine is.
LONG_WATCH = "-earoundtheworld_canary_seconds=60"


def activity(unit, *states):
    """Return a condition of the shell: the unit is in any of the states."""
    return f"[[ '{' '.join(states)}' == *$(systemctl show --value -p ActiveState {unit})* ]]"


# At which a run is cut off: a condition of the host's shell.
PHASES = {
    "the release is being written": f"compgen -G '{HOME}/releases/.new-*'",
    "the release is being prepared": activity("aroundtheworld-prepare", "activating"),
    "the first stand-in starts": activity("aroundtheworld-handover@10004", "activating", "active"),
    "a worker restarts": activity("aroundtheworld@10001", "deactivating", "activating"),
    "the canary is watched": activity("aroundtheworld-handover@10001", "deactivating"),
    "the last stand-in finishes": activity("aroundtheworld-handover@10003", "deactivating"),
}


@pytest.mark.parametrize("phase", chosen(list(PHASES), count=1))
def test_a_run_that_was_killed_is_completed_by_the_next(
    phase, load, app, play, ansible_playbook, site
):
    deploy = [app(), "-earoundtheworld_canary_seconds=1"]
    with load() as ledger:
        cut_off = play(*deploy)
        site.wait_until(PHASES[phase], cut_off)
        # The controller's death alone would not stop what already runs on the host.
        cut_off.kill()
        site.kill_module()
        again = ansible_playbook(*deploy)
        after = ansible_playbook(*deploy)
    assert again.returncode == 0
    assert (after.returncode, after.changed) == (0, 0)
    assert len(ledger.failed()) == 0
    site.runs(site.last_change["to"])


# A release whose workers wait for a file to go, so that a run takes as long as a test likes.
HOLD = f"{HOME}/shared/hold"
FACTORY = "async def make_app() -> Application:\n"
WAITS = f"    while os.path.exists({HOLD!r}):\n        await asyncio.sleep(0.05)\n"
VARIABLES = Path(__file__).parents[1] / "group_vars" / "aroundtheworld.yml"


@pytest.fixture
def held(host, app):
    """Return arguments that deploy such a release, whose workers wait until the test lets go."""
    pools = yaml.safe_load(VARIABLES.read_text())["aroundtheworld_pools"]
    patient = [{**pool, "start_timeout": 300} for pool in pools]
    variables = {"aroundtheworld_pools": patient, "aroundtheworld_canary_seconds": 1}
    host.check_output(f"touch {HOLD}")
    yield [app({FACTORY: FACTORY + WAITS}), f"-e{json.dumps(variables)}"]
    host.check_output(f"rm -f {HOLD}")


@pytest.fixture
def let_go(host):
    """Return a function that lets the workers of `held` start."""
    return lambda: host.check_output(f"rm {HOLD}")


def test_a_run_whose_controller_died_goes_on_and_holds_its_lock(
    load, held, let_go, play, ansible_playbook, site
):
    deploy = held
    with load() as ledger:
        headless = play(*deploy)
        site.wait_until(PHASES["the first stand-in starts"], headless)
        headless.kill()
        second = ansible_playbook(*deploy)
        let_go()
        site.wait_until_unlocked()
        again = ansible_playbook(*deploy)
        after = ansible_playbook(*deploy)
    assert second.returncode != 0
    _names_the_lock(second.output)
    assert again.returncode == 0
    assert (after.returncode, after.changed) == (0, 0)
    assert len(ledger.failed()) == 0
    site.runs(site.last_change["to"])


@pytest.mark.measures
def test_of_two_runs_at_once_one_stops(
    load, app, held, let_go, play, ansible_playbook, site, at_most, tmp_path
):
    with load() as ledger:
        first = play(*held, "--diff")
        site.wait_until(PHASES["the first stand-in starts"], first)
        begun = time.monotonic()
        second = ansible_playbook(app())
        took = time.monotonic() - begun
        startup = _startup(ansible_playbook, tmp_path)
        let_go()
        returncode, output = first.wait()
    assert second.returncode != 0
    assert second.changed == 0
    _names_the_lock(second.output)
    assert returncode == 0
    # Who waits for the first run sees what it is doing.
    assert re.search(r"^\S+ +\d+\.\d s  replace 10001$", output, re.MULTILINE)
    at_most(took - startup, 2.0)
    assert len(ledger.failed()) == 0
    site.runs(site.last_change["to"])


def _names_the_lock(output):
    since = r"has been changing this site since \d{4}-\d\d-\d\dT[\d:+]+"
    doing = r"deploy of release \w{12}, at this moment: (replace|watch) 1000\d\."
    assert re.search(rf"\w+ on \S+ {since}: {doing}", " ".join(output.split())), output


PING = """
- name: Do nothing
  hosts: aroundtheworld
  gather_facts: false
  tasks:
    - name: The host answers
      ansible.builtin.ping:
"""


def _startup(ansible_playbook, directory):
    """Return how many seconds Ansible takes for a play that does nothing."""
    playbook = directory / "ping.yml"
    playbook.write_text(PING)
    begun = time.monotonic()
    assert ansible_playbook(playbook=str(playbook)).returncode == 0
    return time.monotonic() - begun


def test_a_host_that_reboots_in_the_middle_comes_back_and_is_completed(
    load, app, play, ansible_playbook, site, reboot
):
    deploy = [app(), "-earoundtheworld_canary_seconds=1"]
    cut_off = play(*deploy, LONG_WATCH)
    site.wait_until(PHASES["the canary is watched"], cut_off)
    reboot()
    cut_off.kill()
    with load() as ledger:
        again = ansible_playbook(*deploy)
        after = ansible_playbook(*deploy)
    assert again.returncode == 0
    assert (after.returncode, after.changed) == (0, 0)
    assert len(ledger.failed()) == 0
    site.runs(site.last_change["to"])


def test_a_full_disk_leaves_nothing_half_written(load, app, ansible_playbook, site, host):
    release, before = site.current, sorted(site.releases)
    # A small file system with what is there already, and little room for more.
    host.check_output(
        f"mkdir /mnt/small && mount -t tmpfs -o size=$(du -sk {HOME}/releases | cut -f1)k,mode=755"
        f" small /mnt/small && cp -a {HOME}/releases/. /mnt/small/"
        f" && mount --bind /mnt/small {HOME}/releases"
    )
    try:
        host.check_output("head -c 100M /dev/zero >/mnt/small/.ballast || true")
        with load() as ledger:
            run = ansible_playbook(app())
            host.check_output("systemctl kill --signal=KILL aroundtheworld@10002")
            site.wait_until(activity("aroundtheworld@10002", "active"))
        listed = sorted(entry for entry in site.releases if entry != ".ballast")
    finally:
        # The worker that has started meanwhile holds it.
        host.check_output(f"umount --lazy {HOME}/releases /mnt/small && rmdir /mnt/small")
        host.check_output("systemctl restart aroundtheworld@10002")
    assert run.returncode != 0
    assert "No space left on device" in run.output
    assert len(ledger.of("get", "get fresh", "admin").failed()) == 0
    assert listed == before
    site.runs(release)
    assert ansible_playbook(app()).returncode == 0


@pytest.mark.measures
def test_killed_workers_cost_no_get(load, site, host, measured):
    before = site.workers
    killed = {}
    # With so many slow ones, each worker dies with some in hand, which nginx takes for a fault.
    with load(220 if measured else 100, "--slow=100") as ledger:
        for port in [10001, 10002, 10003, *before]:
            host.check_output(f"systemctl kill --signal=KILL aroundtheworld@{port}")
            killed[port] = time.time()
            time.sleep(1)
    assert all(worker["pid"] != before[port]["pid"] for port, worker in site.workers.items())
    assert len(ledger.of("get", "get fresh").failed()) == 0
    # The admin pool's requests are never sent twice, so what was there is lost; further ones wait
    # for the next worker, and when too many do, are refused at once, as it is busy.
    for row in ledger.of("admin").failed().rows:
        assert row["outcome"] in ("502", "503"), row
        assert row["outcome"] == "503" or row["sent"] < killed[10004], row
    site.runs(site.current)
