"""What a host has for backups, and that a run puts it right and takes nothing else."""

import base64
import json
from types import SimpleNamespace

import pytest
from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.data import schedule as schedule_module
from ansible.module_utils.aroundtheworld.data import state
from ansible.module_utils.aroundtheworld.data.schedule import Schedule, back_up_now
from ansible.module_utils.aroundtheworld.data.settings import (
    read_settings,
    read_variables,
    restic_for,
)
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.systemd import HostError

PROGRAM = b"#!/usr/bin/python3\n\x00\xff\r\nzip"


class Systemd:
    """Notes what it is told."""

    def __init__(self):
        self.calls, self.fails, self.on_start = [], False, lambda: None

    def call(self, *arguments, check=True):
        self.calls.append(arguments)
        if arguments[0] == "start":
            self.on_start()
            if self.fails:
                raise HostError("start failed")
        return ""

    def journal(self, unit):
        return f"the journal of {unit}"


@pytest.fixture
def host(tmp_path, monkeypatch):
    layout = SiteLayout(tmp_path / "srv" / "shop", "shop", tmp_path)
    for directory in (layout.etc, layout.home, layout.units, layout.backup_script.parent):
        directory.mkdir(parents=True)
    claim = {"site": "shop", "home": str(layout.home), "sockets": [], "pools": []}
    layout.claim.write_text(json.dumps({**claim, "has": belongings.nothing()}))
    monkeypatch.setattr(schedule_module, "due", lambda at, seconds: 1000.0)
    monkeypatch.setattr(schedule_module, "check_directory", lambda directory: None)
    systemd = Systemd()

    def converge(check_mode=False, wanted=True, on_failure="", environment=(), **settings):
        schedule = Schedule(layout, systemd, check_mode=check_mode)
        systemd.calls.clear()
        known = {
            "site": "shop",
            "home": str(layout.home),
            "user": "shop",
            "repository": str(tmp_path / "backups"),
            "at": "03:15",
            "keep": {"daily": 7},
            "databases": [],
            "process": [],
            **settings,
        }
        brought = {
            "settings": known,
            "on_failure": on_failure,
            "password": "a very long password",
            "environment": dict(environment),
            "program": base64.b64encode(PROGRAM).decode(),
        }
        schedule.converge(brought if wanted else {})
        return schedule.changes

    return SimpleNamespace(layout=layout, systemd=systemd, converge=converge, root=tmp_path)


def test_a_host_gets_program_settings_and_timer_once(host):
    assert host.converge()
    layout = host.layout
    assert layout.backup_script.read_bytes() == PROGRAM
    assert layout.backup_script.stat().st_mode & 0o777 == 0o755
    password = layout.backup_settings / "password"
    assert password.read_text() == "a very long password\n"
    assert (password.stat().st_mode | layout.backup_settings.stat().st_mode) & 0o077 == 0
    assert read_settings("shop", host.root).at == "03:15"
    assert "OnCalendar=03:15\n" in (layout.units / "shop-backup.timer").read_text()
    assert (layout.units / "timers.target.wants" / "shop-backup.timer").is_symlink()
    assert ("restart", "--", "shop-backup.timer") in host.systemd.calls
    assert (host.root / "backups").stat().st_mode & 0o777 == 0o700
    assert state.read_state(layout)["due"] == 1000.0
    # All of it is the site's, so removal finds it.
    written = {path for path in layout.backup_files if path.exists()}
    assert written <= belongings.files("shop", host.root)
    assert host.converge() == []
    assert host.systemd.calls == []


def test_the_service_sees_what_it_needs_of_the_host_and_gives_way(host):
    host.converge()
    service = (host.layout.units / "shop-backup.service").read_text()
    for line in (
        "Slice=-.slice",
        "CPUWeight=10",
        "Nice=19",
        "IOSchedulingClass=idle",
        "NoNewPrivileges=yes",
        "ProtectSystem=full",
    ):
        assert f"\n{line}\n" in service
    assert "TemporaryFileSystem=/etc:ro /home:ro" in service
    assert f"BindPaths=-{host.layout.backup} -{host.root}/backups\n" in service
    assert f"ExecStart={host.layout.backup_script} back-up shop\n" in service
    assert "/root/.ssh" not in service
    host.converge(repository="sftp:host:/b")
    assert "-/root/.ssh" in (host.layout.units / "shop-backup.service").read_text()


def test_a_dry_run_makes_nothing_and_says_the_same(host):
    before = sorted(host.root.rglob("*"))
    told = host.converge(check_mode=True)
    assert sorted(host.root.rglob("*")) == before
    assert told == host.converge()
    assert not any("very long" in change for change in told)


def test_credentials_are_roots_alone_and_in_nothing_that_is_shown(host):
    secret = {"AWS_SECRET_ACCESS_KEY": "a-secret-key"}
    told = host.converge(environment=secret)
    path = host.layout.backup_settings / "environment.json"
    assert json.loads(path.read_text()) == read_variables(host.layout) == secret
    assert path.stat().st_mode & 0o777 == 0o600
    others = {each for each in host.root.rglob("*") if each.is_file()} - {path}
    assert not [each for each in others if b"a-secret-key" in each.read_bytes()]
    assert "a-secret-key" not in "".join(told)
    host.converge()
    assert read_variables(host.layout) == {}


@pytest.mark.parametrize(("there_are", "it_takes"), [(1, "1"), (2, "1"), (8, "4")])
def test_half_of_the_processors_are_left_to_the_site(host, monkeypatch, there_are, it_takes):
    host.converge()
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(there_are)))
    restic = restic_for(read_settings("shop", host.root))
    assert restic.variables == {"GOMAXPROCS": it_takes}


def test_another_time_is_the_timers_and_none_takes_it_away(host):
    host.converge()
    assert host.converge(at="*:40")
    assert "OnCalendar=*:40\n" in (host.layout.units / "shop-backup.timer").read_text()
    assert ("restart", "--", "shop-backup.timer") in host.systemd.calls
    assert host.converge(wanted=False)
    timer = host.layout.units / "shop-backup.timer"
    assert not timer.exists()
    assert not (host.layout.units / "timers.target.wants").exists()
    assert timer not in belongings.files("shop", host.root)
    assert ("stop", "--", "shop-backup.timer") in host.systemd.calls
    assert state.read_state(host.layout)["due"] is None
    # What --tags backup needs stays.
    assert host.layout.backup_script.exists()
    assert host.converge(wanted=False) == []


def test_a_run_that_was_cut_off_is_completed(host):
    host.converge()
    (host.layout.units / "timers.target.wants" / "shop-backup.timer").unlink()
    assert host.converge() == ["shop-backup.timer runs"]
    assert ("restart", "--", "shop-backup.timer") in host.systemd.calls


def test_a_timer_of_the_operators_is_neither_overwritten_nor_removed(host):
    foreign = host.layout.units / "shop-backup.timer"
    foreign.write_text("[Timer]\n")
    with pytest.raises(HostError, match=r"this host has \S+/shop-backup.timer, which the role did"):
        host.converge()
    assert host.converge(wanted=False) == []
    assert foreign.read_text() == "[Timer]\n"
    assert not host.layout.backup_script.exists()


def test_the_plan_knows_which_files_a_site_with_backups_has(host):
    claim = json.loads(host.layout.claim.read_text())
    without = set(belongings.planned_files(claim, host.root))
    more = set(belongings.planned_files({**claim, "backup": True}, host.root)) - without
    assert more == set(host.layout.backup_files)


def test_a_command_of_the_operators_comes_with_the_failure(host):
    host.converge(on_failure='tell "${BACKUP_FAILURE}"')
    failed = host.layout.units / "shop-backup-failed.service"
    assert 'ExecStart=/usr/bin/env tell "${BACKUP_FAILURE}"\n' in failed.read_text()
    assert f"EnvironmentFile=-{host.layout.backup}/failure\n" in failed.read_text()
    service = (host.layout.units / "shop-backup.service").read_text()
    assert "OnFailure=shop-backup-failed.service\n" in service
    assert host.converge(on_failure='tell "${BACKUP_FAILURE}"') == []
    assert host.converge()
    assert not failed.exists()


def test_a_repository_that_had_backups_is_not_made_again(host):
    host.converge()
    state.change_state(host.layout, repository=str(host.root / "backups"), id="4711")
    (host.root / "backups").rmdir()
    assert host.converge() == []
    assert not (host.root / "backups").exists()


def test_a_link_into_the_sites_home_is_no_repository(host):
    host.layout.shared.mkdir()
    (host.root / "backups").symlink_to(host.layout.shared)
    with pytest.raises(
        HostError, match=r"/backups leads to \S+/shared, which is in the site's home"
    ):
        host.converge()
    assert list(host.layout.shared.iterdir()) == []


def test_no_repository_is_made_where_a_disk_should_be_mounted(host, monkeypatch):
    missing = host.root / "mnt"
    monkeypatch.setattr(schedule_module, "missing_mounts", lambda directory, root: [missing])
    with pytest.raises(HostError, match="mnt is not mounted"):
        host.converge()
    assert not (host.root / "backups").exists()


def test_a_backup_at_once_is_the_services(host):
    host.converge()
    made = {"time": "now"}
    host.systemd.on_start = lambda: state.change_state(host.layout, last=made)
    assert back_up_now(host.layout, host.systemd, "ada")["last"] == made
    assert host.systemd.calls[-1] == ("start", "--", "shop-backup.service")
    assert json.loads((host.layout.backup / "request.json").read_text()) == {"who": "ada"}


def test_a_backup_that_failed_tells_why(host):
    host.converge()
    host.systemd.fails = True
    with pytest.raises(HostError, match=r"start failed\nthe journal of shop-backup\.service"):
        back_up_now(host.layout, host.systemd, "ada")
    cause = {"time": "now", "cause": "the disk is full"}
    host.systemd.on_start = lambda: state.change_state(host.layout, failed=cause)
    with pytest.raises(HostError, match=r"^the disk is full$"):
        back_up_now(host.layout, host.systemd, "ada")
