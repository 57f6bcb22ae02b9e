"""A host that reboots comes back as it was."""

import pytest


@pytest.fixture
def open_afterwards(ansible_playbook):
    """Have the site open again, whatever the test finds."""
    yield
    assert ansible_playbook("--tags", "maintenance_off").returncode == 0


@pytest.mark.usefixtures("open_afterwards")
def test_everything_is_back_after_a_reboot(host, site, ansible_playbook, reboot):
    release, before = site.release(), site.pids()
    assert ansible_playbook("--tags", "maintenance_on").returncode == 0
    reboot()
    assert site.ask("/").status == 503
    assert site.ask("/admin").status == 303
    assert site.pids().keys() == before.keys()
    assert set(site.releases().values()) == {release}
    assert ansible_playbook().changed == 0

    assert ansible_playbook("--tags", "maintenance_off").changed == 1
    assert site.ports("/", requests=60) == {10001, 10002, 10003}
    assert host.check_output("systemctl --failed --no-legend") == ""
