"""What belongs to somebody else is refused, with the reason, before anything is changed."""

import json

import pytest

OTHERS = {
    "people": (
        {"user": "deploy", "home": "/home/ada/site", "site": "system"},
        ["aroundtheworld_user: 'deploy'", "aroundtheworld_home: '/home/ada/site'",
         "aroundtheworld_site: 'system'"],
    ),
    "services": (
        {"user": "courier", "home": "/etc/ssh", "site": "machine"},
        ["aroundtheworld_user: 'courier'", "aroundtheworld_home: '/etc/ssh'",
         "aroundtheworld_site: 'machine'"],
    ),
    "the system": (
        {"user": "www-data", "home": "/usr/lib", "site": "user"},
        ["aroundtheworld_user: 'www-data'", "aroundtheworld_home: '/usr/lib'",
         "aroundtheworld_site: 'user'"],
    ),
    "the operator": (
        {"user": "grace", "home": "/var/lib", "site": "init"},
        ["aroundtheworld_user: 'grace'", "aroundtheworld_home: '/var/lib'",
         "aroundtheworld_site: 'init'"],
    ),
}  # fmt: skip


@pytest.mark.once
@pytest.mark.parametrize("whose", OTHERS)
def test_what_belongs_to_others_is_refused(
    whose, ansible_playbook, neighbours_are_well, sentences, log_in
):
    variables, reasons = OTHERS[whose]
    run = ansible_playbook(*(f"-earoundtheworld_{key}={text}" for key, text in variables.items()))
    assert (run.returncode, run.changed) == (2, 0)
    missing = [reason for reason in reasons if reason not in sentences(run.output)]
    assert missing == []
    neighbours_are_well()
    assert log_in("deploy", "id --name --user") == "deploy\n"


@pytest.mark.once
def test_a_login_that_may_not_become_root_is_refused(ansible_playbook, sentences):
    run = ansible_playbook("-eansible_user=ada")
    assert (run.returncode, run.changed) == (2, 0)
    assert "Incorrect sudo password" in sentences(run.output)


@pytest.mark.once
def test_a_play_that_is_not_root_learns_what_to_set(ansible_playbook, sentences):
    run = ansible_playbook("-eansible_become=false")
    assert (run.returncode, run.changed) == (2, 0)
    assert "This needs root on" in sentences(run.output)
    assert "become: true" in sentences(run.output)


# A second site, for which everything is right but its home.
ANOTHER = {
    "aroundtheworld_site": "shop",
    "aroundtheworld_user": "_shop",
    "aroundtheworld_home": "/srv/shop",
    "aroundtheworld_http_port": 8082,
    "aroundtheworld_metrics_port": 0,
    "aroundtheworld_pools": [{"name": "public", "ports": [10101], "paths": ["/"]}],
}
MOUNTS = {
    "little room": ("size=12m", "MiB left on /srv/shop, and this deployment needs "),
    "few inodes": ("size=300m,nr_inodes=300", "has inodes for 299 files and directories left on"),
    "nothing may run": ("noexec", "is on a file system that is mounted with 'noexec'"),
    "read-only": ("ro", "is on a file system that is mounted with 'ro'"),
}


@pytest.mark.once
@pytest.mark.parametrize("why", MOUNTS)
def test_a_file_system_that_is_not_fit_is_refused(why, host, ansible_playbook, sentences):
    options, reason = MOUNTS[why]
    host.check_output(f"mkdir /srv/shop && mount -t tmpfs -o mode=755,{options} tmpfs /srv/shop")
    try:
        run = ansible_playbook("-e", json.dumps(ANOTHER))
        assert (run.returncode, run.changed) == (2, 0)
        assert reason in sentences(run.output)
        assert host.check_output("ls -A /srv/shop") == ""
        assert not host.user("_shop").exists
    finally:
        host.check_output("umount /srv/shop && rmdir /srv/shop")
