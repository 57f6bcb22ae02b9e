"""Backups, drills and restores show no password and no secret to anybody who should not see it."""

import json
import shlex

import pytest

from tests.waiting import until

pytestmark = pytest.mark.once

DATABASE = "v3ry-secret/&?"
# PostgreSQL's programs get the password in their own environment, as the site's user.
CLIENTS = ("pg_dump", "pg_restore", "psql")
# Where none is left, not even in a file that only root can read.
PLACES = (
    "/etc/systemd /usr/local /run /tmp /var/tmp /var/log /var/lib/tornado/aroundtheworld/backup"
)
WATCH = """
import json, pathlib, time
values = [value.encode() for value in json.loads(pathlib.Path("/root/values").read_text())]
found, looks, begun, next_files = set(), 0, time.time(), 0
def has(text):
    return any(value in text for value in values)
def look_at_processes():
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "comm").read_text().strip()
            if has((process / "cmdline").read_bytes()):
                found.add("arguments of " + name)
            if process.stat().st_uid and has((process / "environ").read_bytes()):
                found.add("environment of " + name)
        except OSError:
            pass
def look_at_files():
    for top in ("/tmp", "/var/tmp", "/run"):
        for path in pathlib.Path(top).rglob("*"):
            try:
                about = path.lstat()
                if about.st_ctime < begun or "/run/credentials/" in str(path):
                    continue
                others = about.st_uid or about.st_mode & 0o077
                if path.is_file() and not path.is_symlink() and others and has(path.read_bytes()):
                    found.add("file " + str(path))
            except OSError:
                pass
while not pathlib.Path("/root/over").exists():
    looks += 1
    look_at_processes()
    if time.time() > next_files:
        look_at_files()
        next_files = time.time() + 2
    time.sleep(0.03)
pathlib.Path("/root/found").write_text(json.dumps([looks, sorted(found)]))
"""


@pytest.fixture
def values(host):
    """All that is secret of the site, each text as it might be shown."""
    known = [DATABASE, "v3ry-secret%2F", "s3cret-key-of-the-shop"]
    for path in ("/etc/aroundtheworld/backup/password", "/etc/aroundtheworld/secrets/*"):
        texts = host.check_output(f"for each in {path}; do cat $each; echo; done").splitlines()
        known += [text for text in texts if text]
    assert len(known) >= 6
    return known


def test_no_password_is_in_arguments_environments_files_journal_and_output(
    site, host, back_up, ansible_playbook, values
):
    host.check_output("rm -f /root/over /root/found; umask 077; touch /root/values")
    host.check_output(f"printf %s {shlex.quote(json.dumps(values))} >/root/values")
    watch = f"systemd-run --quiet --collect --unit=watch python3 -c {shlex.quote(WATCH)}"
    host.check_output(watch)
    try:
        runs = [
            back_up("-vv", "--diff"),
            ansible_playbook("--tags", "drill", "-vv", "--diff"),
            ansible_playbook(
                *("--tags", "restore", "-vv", "--diff", "-e", "aroundtheworld_restore_to=/root/it")
            ),
            ansible_playbook("--tags", "restore", "-vv", "--diff"),
        ]
        host.check_output("touch /root/over")
        looks, found = json.loads(until(lambda: host.run("cat /root/found").stdout, bool, 90))
        lines = shlex.quote("\n".join(values))
        host.check_output(f"umask 077; printf '%s\\n' {lines} >/root/lines")
        grep = "grep --fixed-strings --text --file=/root/lines"
        recursive = "--recursive --files-with-matches --devices=skip --exclude-dir=credentials"
        files = host.run(f"{grep} {recursive} {PLACES}").stdout.split()
        journal = host.run(f"journalctl --no-pager --output=export | {grep} --count").stdout
    finally:
        host.run("touch /root/over; rm -rf /root/it /root/values /root/lines /root/found")
    assert [run.returncode for run in runs] == [0] * 4
    assert looks > 20
    # These show that the watch sees what there is.
    expected = {f"environment of {client}" for client in CLIENTS}
    assert expected & set(found)
    assert set(found) - expected == set()
    assert files == []
    assert journal.strip() == "0"
    units = host.check_output("systemctl show 'aroundtheworld*'")
    for text in (units, *(run.output for run in runs)):
        assert not [value for value in values if value in text]
