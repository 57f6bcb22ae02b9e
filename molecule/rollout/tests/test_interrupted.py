"""A rollout that something ends in the middle: done or reverted, and the log says so."""

import signal

import pytest

from tests.matrix import chosen

from .test_disturbed import LONG_WATCH, PHASES

UNITS = "/etc/systemd/system"


def on_one_release(site, former):
    """Assert that the site is whole, and return the last change."""
    change = site.last_change
    assert change["from"] == former
    assert change["outcome"] in ("done", "reverted"), change
    site.runs(change["to"] if change["outcome"] == "done" else former)
    return change


SIGNALS = [
    ("TERM", "a worker restarts"),
    ("INT", "the release is being prepared"),
    ("HUP", "the canary is watched"),
]


@pytest.mark.parametrize(("sent", "phase"), chosen(SIGNALS, count=1))
def test_a_module_that_is_asked_to_end_reverts(
    sent, phase, load, app, play, ansible_playbook, site
):
    former = site.current
    deploy = [app(), "-earoundtheworld_canary_seconds=2"]
    with load() as ledger:
        ended = play(*deploy, LONG_WATCH)
        site.wait_until(PHASES[phase], ended)
        site.kill_module(f"SIG{sent}")
        returncode, output = ended.wait()
        change = on_one_release(site, former)
        again = ansible_playbook(*deploy)
    assert returncode != 0
    assert f"the module was asked to end (SIG{sent})" in " ".join(output.split())
    assert change["outcome"] == "reverted"
    assert f"(SIG{sent})" in change["cause"]
    assert again.returncode == 0
    assert len(ledger.failed()) == 0
    site.runs(site.last_change["to"])


# How a controller goes away: the signal, whether it has a terminal on the host, and when.
DEPARTURES = [
    (signal.SIGINT, True, "the first stand-in starts"),
    (signal.SIGKILL, True, "a worker restarts"),
    (signal.SIGINT, False, "the canary is watched"),
    (signal.SIGKILL, False, "the first stand-in starts"),
]


@pytest.mark.parametrize(("number", "terminal", "phase"), chosen(DEPARTURES, count=1))
def test_a_controller_that_goes_away_leaves_one_release(
    number, terminal, phase, load, app, play, ansible_playbook, site
):
    former = site.current
    deploy = [app(), "-earoundtheworld_canary_seconds=2"]
    if terminal:  # Ansible has a terminal on the host, whose end is a signal there
        deploy.append("-eansible_pipelining=false")
    with load() as ledger:
        leaves = play(*deploy)
        site.wait_until(PHASES[phase], leaves)
        leaves.kill(number)
        site.wait_until_unlocked()
        change = on_one_release(site, former)
        again = ansible_playbook(*deploy)
        after = ansible_playbook(*deploy)
    assert change["cause"] if change["outcome"] == "reverted" else not change["cause"]
    assert again.returncode == 0
    assert (after.returncode, after.changed) == (0, 0)
    assert len(ledger.failed()) == 0
    site.runs(site.last_change["to"])


@pytest.mark.parametrize("kilobytes", chosen([4, 12], count=1))
def test_a_full_disk_under_the_units_is_no_half_rollout(
    kilobytes, load, app, ansible_playbook, site, host
):
    former = site.current
    before = host.check_output(f"cd {UNITS} && find . -type f -exec sha256sum {{}} + | sort")
    # A small file system with what is there already, and so little room for more.
    host.check_output(
        f"mkdir /mnt/units && mount -t tmpfs -o size=64m,mode=755 units /mnt/units"
        f" && cp -a {UNITS}/. /mnt/units/ && mount -o remount,size="
        f"$(($(du -s --block-size=1K /mnt/units | cut -f1) + {kilobytes}))k /mnt/units"
        f" && mount --bind /mnt/units {UNITS}"
    )
    try:
        with load() as ledger:
            run = ansible_playbook(app())
        after = host.check_output(f"cd {UNITS} && find . -type f -exec sha256sum {{}} + | sort")
    finally:
        host.check_output(f"umount --lazy {UNITS} /mnt/units && rmdir /mnt/units")
        host.check_output("systemctl daemon-reload")
    assert run.returncode != 0
    assert "No space left on device" in run.output
    assert after == before
    assert len(ledger.failed()) == 0
    assert on_one_release(site, former)["outcome"] == "reverted"
    assert ansible_playbook(app()).returncode == 0
