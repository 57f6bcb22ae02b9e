"""What belongs to somebody else is refused, with the reason, before anything is changed."""

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
def test_what_belongs_to_others_is_refused(whose, ansible_playbook, neighbours_are_well, sentences):
    variables, reasons = OTHERS[whose]
    run = ansible_playbook(*(f"-earoundtheworld_{key}={text}" for key, text in variables.items()))
    assert (run.returncode, run.changed) == (2, 0)
    missing = [reason for reason in reasons if reason not in sentences(run.output)]
    assert missing == []
    neighbours_are_well()


def test_whoever_was_refused_still_logs_in(log_in):
    assert log_in("deploy", "id --name --user") == "deploy\n"
