"""Backups: what is in them, what keeps them from being made, and that nobody notices them."""

import threading
import time

import pytest

from tests.waiting import until

HOME = "/var/lib/tornado/aroundtheworld"
SHARED = f"{HOME}/shared"
STAGING = f"{HOME}/backup/staging"
REPOSITORY = "/var/backups/aroundtheworld"
SERVICE = "aroundtheworld-backup.service"
PASSWORD = "v3ry-secret"


def test_no_visitor_notices_a_backup_and_it_has_every_write_from_before(
    site, back_up, visited, http
):
    before, over, failures = [site.write() for _ in range(5)], threading.Event(), []

    def write():
        while not over.is_set():
            try:
                site.write()
            except Exception as failure:
                failures.append(failure)
            time.sleep(0.05)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with visited(http, "/", "/api/ping", "/quiz") as outcomes:
            assert back_up().returncode == 0
    finally:
        over.set()
        writer.join()
    assert failures == []
    assert set(outcomes) == {"200"}, outcomes
    assert sum(outcomes.values()) > 50
    assert set(before) <= set(site.restored("select id from rounds"))
    assert site.restored("pragma integrity_check") == ["ok"]


def test_a_backup_has_all_that_a_run_does_not_make_again(site, host):
    host.check_output(f"install -o tornado -m 0600 /dev/null {SHARED}/photo.jpg")
    site.back_up()
    files = site.files()
    release = host.check_output(f"readlink -f {HOME}/current")
    environment = host.check_output(f"readlink -f {HOME}/current/venv")
    assert {
        f"{SHARED}/photo.jpg",
        f"{STAGING}/manifest.json",
        f"{STAGING}/databases/game.sqlite",
        f"{STAGING}/databases/stock.pgdump",
        f"{HOME}/deploys.jsonl",
        f"{release}/app/aroundtheworld/app.py",
        f"{environment}/bin/python",
        "/etc/aroundtheworld/secrets/cookie_secret",
        "/etc/aroundtheworld/aroundtheworld.json",
    } <= files
    assert not [path for path in files if path.startswith(f"{SHARED}/aroundtheworld.db")]
    assert not [path for path in files if path.startswith("/etc/aroundtheworld/backup")]
    (*_, last) = site.snapshots()
    assert last["tags"] == ["aroundtheworld", "site=aroundtheworld"]
    assert not host.file(STAGING).exists
    assert host.file(REPOSITORY).mode == 0o700


def test_what_the_list_does_not_name_is_named(site, host, back_up):
    loose, link = f"{SHARED}/loose.db", f"{SHARED}/link"
    host.check_output(f"runuser -u tornado -- sqlite3 {loose} 'create table t (x)'")
    host.check_output(f"ln -s /etc/shadow {link}")
    try:
        output = back_up().output
        files = site.files()
    finally:
        host.check_output(f"rm {loose} {link}")
    assert f"{loose} is a SQLite database that aroundtheworld_databases does not name" in output
    assert f"{link} is a link to /etc/shadow" in output
    assert {loose, link} <= files
    assert "/etc/shadow" not in files


@pytest.mark.once
@pytest.mark.parametrize(
    ("breaking", "mending", "sentence"),
    [
        (
            f"mv {REPOSITORY} {REPOSITORY}.away",
            f"mv {REPOSITORY}.away {REPOSITORY}",
            "Bring it back",
        ),
        (f"chmod 0755 {REPOSITORY}", f"chmod 0700 {REPOSITORY}", "chmod 0700"),
        (
            f"mv {SHARED}/aroundtheworld.db {SHARED}/x",
            f"mv {SHARED}/x {SHARED}/aroundtheworld.db",
            "there is no copy of 'game': there is no file",
        ),
        (
            f"mkdir {SHARED}/nas && echo 'nas:/x {SHARED}/nas nfs noauto 0 0' >>/etc/fstab",
            f"rmdir {SHARED}/nas && sed -i /nas:/d /etc/fstab",
            f"{SHARED}/nas is not mounted",
        ),
        ("systemctl stop postgresql", "systemctl start postgresql", "no copy of 'stock'"),
    ],
    ids=["repository gone", "readable by others", "no database", "not mounted", "no server"],
)
def test_what_keeps_a_backup_from_being_made_is_a_sentence(
    site, host, back_up, http, breaking, mending, sentence
):
    site.back_up()
    before = site.snapshots()
    host.check_output(breaking)
    try:
        host.run("rm -f /run/told")
        began = time.monotonic()
        run = back_up()
        assert time.monotonic() - began < 60
    finally:
        host.check_output(mending)
    assert run.returncode != 0
    assert sentence in run.output
    assert "Traceback" not in run.output
    assert site.snapshots() == before
    if "chmod" not in sentence:  # which the run finds before the service does
        told = until(lambda: host.run("cat /run/told").stdout, bool, 10)
        assert sentence in told
        assert sentence in site.state()["failed"]["cause"]
    assert not host.file(STAGING).exists
    site.back_up()
    assert site.state()["failed"] == {}


@pytest.mark.once
def test_another_password_is_told(site, back_up):
    site.have_one()
    run = back_up("-e", "aroundtheworld_backup_password=another-long-password")
    assert run.returncode != 0
    assert "was made with another password than this" in run.output
    assert "another-long-password" not in run.output
    assert back_up().returncode == 0


@pytest.mark.once
def test_while_a_backup_is_made_others_read_who_it_is_and_no_secret(
    site, host, ansible_playbook, back_up
):
    with site.in_the_middle():
        assert "aroundtheworld" in host.check_output("ls /run/aroundtheworld-locks")
        run = back_up()
        processes = host.check_output("ps -ewwo args")
        units = host.check_output("systemctl show 'aroundtheworld*' '*backup*'")
    assert run.returncode != 0
    assert "has been changing this site" in run.output
    assert ": backup, at this moment: copying the databases" in run.output
    journal = host.check_output("journalctl --no-pager --output=cat")
    backup_password = host.check_output("cat /etc/aroundtheworld/backup/password")
    for text in (processes, units, journal, run.output):
        assert PASSWORD not in text
        assert backup_password not in text


@pytest.mark.once
def test_what_a_killed_backup_left_goes_with_it(site, host, back_up):
    site.back_up()
    before = len(site.snapshots())
    with site.in_the_middle():
        host.check_output(f"systemctl kill --signal=KILL {SERVICE}")
        until(
            lambda: host.run(f"systemctl is-failed {SERVICE}").stdout.strip() == "failed", bool, 30
        )
    assert not host.file(STAGING).exists
    assert "ended from outside (signal)" in site.state()["failed"]["cause"]
    assert len(site.snapshots()) == before
    # No run has to wait for it.
    assert back_up().returncode == 0
    assert len(site.snapshots()) >= before


@pytest.mark.once
@pytest.mark.parametrize("which", ["last", "time"])
def test_a_backup_is_laid_beside_the_site(site, host, ansible_playbook, which):
    host.check_output(f"echo then | install -o tornado -m 0600 /dev/stdin {SHARED}/word.txt")
    row = site.write()
    site.back_up()
    moment = host.check_output("date --utc +%Y-%m-%dT%H:%M:%SZ")
    host.check_output(f"echo now >{SHARED}/word.txt")
    if which == "time":
        site.back_up()
    chosen = ["-e", f"aroundtheworld_backup={moment}"] if which == "time" else []
    try:
        to = "aroundtheworld_restore_to=/root/beside"
        assert ansible_playbook("--tags", "restore", "-e", to, *chosen).returncode == 0
        assert host.check_output("cat /root/beside/shared/word.txt") == "then"
        query = f"select id from rounds where id = {row}"
        game = f"sqlite3 /root/beside/databases/game.sqlite '{query}'"
        assert host.check_output(game) == row
        assert host.run("pg_restore --list /root/beside/databases/stock.pgdump").rc == 0
        assert host.check_output(f"cat {SHARED}/word.txt") == "now"
        again = ansible_playbook("--tags", "restore", "-e", to)
        assert "it is not empty" in again.output
    finally:
        host.run(f"rm -rf /root/beside {SHARED}/word.txt")


def test_the_timer_has_a_next_time_and_a_second_run_changes_nothing(host, ansible_playbook):
    assert "aroundtheworld-backup.timer" in host.check_output("systemctl list-timers --no-pager")
    run = ansible_playbook()
    assert (run.returncode, run.changed) == (0, 0)


def test_status_and_metrics_say_how_the_last_one_went(site, host, ansible_playbook):
    site.back_up()
    run = ansible_playbook("--tags", "status")
    assert run.returncode == 0
    assert f"backup: {site.state()['last']['id']} of " in run.output
    metrics = host.check_output("python3 -c %s", FETCH)
    for name in ("last_timestamp_seconds", "last_bytes", "due_timestamp_seconds", "failed"):
        assert f'aroundtheworld_backup_{name}{{site="aroundtheworld"}}' in metrics


FETCH = (
    "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9145/metrics').read().decode())"
)


def test_a_dry_run_makes_no_backup(site, back_up):
    site.have_one()
    before = site.snapshots()
    run = back_up("--check", "--diff")
    assert run.returncode == 0
    assert site.snapshots() == before
