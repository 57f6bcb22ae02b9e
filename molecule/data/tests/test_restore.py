"""Restores: onto the same host, onto a bare one, and what keeps one from being made."""

import re
import shlex
import time

import httpx
import pytest

from tests.matrix import in_turn
from tests.waiting import until

HOME = "/var/lib/tornado/aroundtheworld"
SHARED = f"{HOME}/shared"
DATABASE = f"{SHARED}/aroundtheworld.db"
REPOSITORY = "/var/backups/aroundtheworld"
BACKUP = f"{HOME}/backup"
# Where a restore writes first is a disk with 4 MiB left; a backup has a virtual environment, too.
FILL_DISK = (
    f"cp -a {BACKUP} /root/kept; size=$(( $(du -sm {BACKUP} | cut -f1) + 4 ))m; "
    f"mount -t tmpfs -o size=$size,mode=0711 tmpfs {BACKUP} && cp -a /root/kept/. {BACKUP}"
)


@pytest.fixture
def restore(ansible_playbook):
    """Return a function that restores a backup as an operator does."""
    return lambda *words: ansible_playbook("--tags", "restore", *words)


class Data:
    """What is in the site's databases and files."""

    def __init__(self, host):
        self.host = host

    def game(self, statement):
        as_site = f"runuser -u tornado -- sqlite3 -cmd '.timeout 20000' {DATABASE}"
        return self.host.check_output(f"{as_site} {shlex.quote(statement)}").split()

    def stock(self, statement):
        as_owner = "runuser -u postgres -- psql --quiet --tuples-only --no-align --dbname=stock"
        own = f"set role stock; {statement}"
        return self.host.check_output(f"{as_owner} --command={shlex.quote(own)}").split()

    def then(self, site):
        """Make the data that a backup is to have, and return what it is."""
        self.stock("drop table if exists later")
        self.stock("create table if not exists goods (word text); delete from goods")
        self.stock("insert into goods values ('then')")
        write = f"echo then | install -o tornado -m 0640 /dev/stdin {SHARED}/word"
        self.host.check_output(f"rm -f {SHARED}/new; {write}")
        row = site.write()
        site.back_up()
        return row

    def now(self):
        """Destroy the data, with a log that no process has written into the database."""
        self.host.check_output("systemctl kill --signal=KILL 'aroundtheworld@*.service'")
        self.game("delete from round_questions; delete from rounds")
        self.stock("drop table goods; create table later (x int)")
        self.host.check_output(f"rm {SHARED}/word; echo new >{SHARED}/new; rm -rf {SHARED}/photos")

    def is_then(self, row):
        assert self.game(f"select id from rounds where id = {row}") == [row]
        assert self.stock("select word from goods") == ["then"]
        assert self.stock("select to_regclass('later') is null") == ["t"]
        assert self.host.check_output(f"cat {SHARED}/word") == "then"
        assert self.host.file(f"{SHARED}/word").user == "tornado"
        assert not self.host.file(f"{SHARED}/new").exists


@pytest.fixture
def data(host):
    return Data(host)


@pytest.fixture
def visitor(http):
    """A visitor who has logged in before the backup, and has a cookie."""
    with httpx.Client(base_url=http, timeout=60) as client:
        name = f"ada{time.time_ns()}"
        account = {"name": name, "password": "correct horse battery"}
        assert client.post("/api/players", json=account).status_code == 201
        client.player = name
        yield client


def answers(visitor):
    """What a visitor gets for a hundred requests, without the tokens that are new each time."""
    pages = ["/", "/quiz", "/leaderboard", "/travel", "/you", "/api", "/signup", "/nothing"]
    api = ["/api/countries", "/api/leaderboard", "/api/session", "/api/journey"]
    slugs = [country["slug"] for country in visitor.get("/api/countries").json()]
    countries = [
        f"{where}/{slug}" for slug in slugs[:44] for where in ("/countries", "/api/countries")
    ]
    found = {}
    for path in [*pages, *api, *countries]:
        response = visitor.get(path)
        text = re.sub(r'name="_xsrf" value="[^"]+"', "", response.text)
        found[path] = (response.status_code, text)
    assert len(found) >= 100
    return found


def test_rows_and_files_are_those_of_the_backup(site, data, host, http, restore, visitor):
    row = data.then(site)
    for _ in range(2):  # a second one after the first one must work as well
        data.now()
        run = restore()
        assert run.returncode == 0, run.output
        data.is_then(row)
        assert visitor.get("/api/session").json()["name"] == visitor.player
        assert host.file(f"{HOME}/backup/replaced/shared/new").exists
    site.write()
    assert not host.file(f"{HOME}/maintenance.html").exists
    assert not host.file(f"{HOME}/backup/standstill.json").exists
    units = host.check_output("systemctl list-unit-files --no-legend 'aroundtheworld@*'")
    assert "aroundtheworld@.service" in units
    links = host.check_output("ls /etc/systemd/system/*.wants")
    assert "aroundtheworld@10001.service" in links
    assert '"verb": "restore"' in host.check_output(f"cat {HOME}/deploys.jsonl")
    run = restore("--check", "--diff")
    assert (run.returncode, run.failed) == (0, 0)
    assert "and databases of the backup" in run.output


@pytest.mark.once
@pytest.mark.parametrize(
    ("breaking", "mending", "words", "sentence"),
    [
        ("true", "true", ["-e", "aroundtheworld_backup_password=another-long-password"],
         "was made with another password than this"),
        (f"cp -a {REPOSITORY} /root/whole; for f in $(find {REPOSITORY}/data -type f); do"
         " printf damaged | dd of=$f bs=1 seek=60 conv=notrunc status=none; done",
         f"rm -rf {REPOSITORY}; mv /root/whole {REPOSITORY}", [], "is damaged"),
        ("runuser -u postgres -- psql -q stock -c 'create table of_admin (x int)'",
         "runuser -u postgres -- psql -q stock -c 'drop table of_admin'", [],
         "its user owns not all of it (table public.of_admin of postgres)"),
        (FILL_DISK, f"umount -l {BACKUP}; rm -r /root/kept", [], f"may be used in {BACKUP}."),
    ],
    ids=["password", "damaged", "rights", "full"],
)  # fmt: skip
def test_what_keeps_a_restore_from_being_made_stops_nothing(
    site, data, host, restore, visited, http, breaking, mending, words, sentence
):
    site.have_one()
    before = site.write()
    host.check_output(breaking)
    try:
        began = time.monotonic()
        with visited(http, "/") as outcomes:
            run = restore(*words)
        assert time.monotonic() - began < 60
    finally:
        host.check_output(mending)
    assert run.returncode != 0
    assert sentence in " ".join(run.output.split())
    assert "Traceback" not in run.output
    assert "another-long-password" not in run.output
    assert set(outcomes) == {"200"}
    assert data.game(f"select id from rounds where id = {before}") == [before]
    assert not host.file(f"{HOME}/backup/restoring").exists
    assert not host.file(f"{HOME}/backup/standstill.json").exists


@in_turn(0)
def test_one_that_is_killed_in_the_middle_is_taken_back_and_made_by_the_next(
    site, data, host, http, restore, ansible_playbook
):
    row = data.then(site)
    data.now()
    hold = "begin; lock table later in access share mode; select pg_sleep(300)"
    host.check_output(
        "systemd-run --quiet --collect --unit=holder --property=User=postgres psql --dbname=stock "
        f"--command={shlex.quote(hold)}"
    )
    # The module has no name of its own among the processes: it is the parent of this one.
    worker = "pgrep -f 'systemd-run .*put$'"
    killer = (
        f"until grep -qs exchanging {HOME}/backup/restore.json && {worker}; do sleep 0.2; done; "
        f"kill -9 $(ps -o ppid= -p $({worker} | head -1))"
    )
    host.check_output(f"systemd-run --quiet --collect --unit=killer sh -c {shlex.quote(killer)}")
    try:
        assert restore().returncode != 0
    finally:
        host.run("systemctl stop killer.service holder.service")
        end = "select pg_terminate_backend(pid) from pg_stat_activity where query ~ 'pg_sleep'"
        end += " and pid <> pg_backend_pid()"
        host.run(f"runuser -u postgres -- psql --command={shlex.quote(end)}")
    # The site stands still, and says so to visitors and to whoever would change it.
    closed = httpx.get(http)
    assert (closed.status_code, "being restored" in closed.text) == (503, True)
    assert host.run("systemctl is-active 'aroundtheworld@*.service'").stdout.strip() == ""
    assert "--tags restore takes that back" in " ".join(ansible_playbook().output.split())
    assert "--tags restore takes that back" in " ".join(
        ansible_playbook("--tags", "backup").output.split()
    )
    # Not even the repository is needed to have the site as it was.
    host.check_output(f"mv {REPOSITORY} {REPOSITORY}.away")
    try:
        assert "is not there" in restore().output
    finally:
        host.check_output(f"mv {REPOSITORY}.away {REPOSITORY}")
    until(lambda: httpx.get(http).status_code, lambda status: status == 200, 60)
    assert data.stock("select count(*) from later") == ["0"]
    assert data.game(f"select id from rounds where id = {row}") == []
    assert host.file(f"{SHARED}/new").exists
    assert restore().returncode == 0
    data.is_then(row)


@in_turn(1)
def test_a_bare_host_serves_what_was_there(site, data, host, ansible_playbook, visitor):
    stray = f"{SHARED}/uploads/photos/stray.jpg"
    host.check_output(f"runuser -u tornado -- mkdir -p {SHARED}/uploads/photos")
    host.check_output(f"echo | install -o tornado /dev/stdin {stray}")
    row = data.then(site)
    before = answers(visitor)
    uid = host.check_output("id -u tornado")
    removed = ansible_playbook("--tags", "remove", "-e", "aroundtheworld_remove_data=true")
    assert removed.returncode == 0
    assert host.run("id tornado").rc != 0
    # Another user has the number by now, and nothing of the role is installed.
    host.check_output(f"useradd --uid {uid} neighbour")
    packages = "nginx nginx-common restic python3-venv logrotate python3-prometheus-client"
    host.check_output(f"apt-get -qq -y purge {packages} >/dev/null; rm -rf /var/lib/tornado")
    data.stock("drop table goods")
    try:
        run = ansible_playbook(
            "--tags", "restore", "-e", "aroundtheworld_app_dir=/nowhere/at/all"
        )  # fmt: skip
        assert run.returncode == 0, run.output
        assert f"The file {stray} belongs to no photo." in run.output
        data.is_then(row)
        assert visitor.get("/api/session").json()["name"] == visitor.player
        assert answers(visitor) == before
        assert host.check_output(f"find {SHARED} -user neighbour") == ""
        # The next deployment has nothing to do but for the timer of backups.
        assert ansible_playbook().returncode == 0
    finally:
        host.run(f"userdel neighbour; rm -rf {SHARED}/uploads")


@pytest.mark.once
@in_turn(2)
def test_what_is_mounted_is_filled_in_place(site, data, host, restore):
    photos = f"{SHARED}/photos"
    host.check_output(f"systemctl stop 'aroundtheworld@*.service'; mkdir -p {photos}")
    host.check_output(f"mount -t tmpfs -o size=20m tmpfs {photos}; chown tornado: {photos}")
    try:
        host.check_output(f"echo old | install -o tornado /dev/stdin {photos}/ada.jpg")
        row = data.then(site)
        host.check_output(f"rm {photos}/ada.jpg; echo new >{photos}/eve.jpg; rm {SHARED}/word")
        assert restore().returncode == 0
        data.is_then(row)
        assert host.check_output(f"cat {photos}/ada.jpg") == "old"
        assert host.file(f"{photos}/ada.jpg").user == "tornado"
        assert not host.file(f"{photos}/eve.jpg").exists
        assert host.file(f"{photos}/.aroundtheworld-before/eve.jpg").exists
        assert host.run(f"mountpoint {photos}").rc == 0
        site.back_up()
        assert not [path for path in site.files() if "aroundtheworld-before" in path]
    finally:
        host.run(f"umount -l {photos}; rmdir {photos}")
