"""A backup from lock to snapshot, with a repository and a process of the site that are made up."""

import json
import os
import pwd
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.module_utils.aroundtheworld import hold, lock
from ansible.module_utils.aroundtheworld.data import backup as backup_module
from ansible.module_utils.aroundtheworld.data import program, state
from ansible.module_utils.aroundtheworld.data.backup import Backup
from ansible.module_utils.aroundtheworld.data.failures import BusyError, MissingError
from ansible.module_utils.aroundtheworld.data.restic import Summary
from ansible.module_utils.aroundtheworld.data.settings import Settings
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.systemd import HostError

from tests.role.conftest import OWNER

REPORT = {"problems": [], "notes": ["a note\x1b[2J"], "left_out": []}


class Repository:
    """A repository of backups that notes what it is asked for."""

    def __init__(self, directory):
        self.directory, self.id, self.calls = directory, "4711", []
        self.vanished, self.fails = [], {}

    def _do(self, name):
        self.calls.append(name)
        if name in self.fails:
            raise self.fails[name]

    def check(self):
        self._do("check")
        return self.id

    def make(self):
        self._do("make")
        return self.id

    def unlock(self):
        self._do("unlock")

    def backup(self, site, host, paths, left_out, watch):
        self.staged = sorted(
            str(path.relative_to(paths[0])) for path in paths[0].rglob("*") if path.is_file()
        )
        self.paths, self.left_out = paths, left_out
        self.record = lock.read_record("shop")
        watch()
        self._do("backup")
        return Summary("0123456789abcdef", 6000, 90, self.vanished)

    def forget(self, site, host, keep):
        self._do("forget")


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A site with its backup; `run` makes one, `report` is what the process of the site says."""
    user = pwd.getpwuid(os.getuid()).pw_name
    layout = SiteLayout(tmp_path / "home", "shop", tmp_path)
    for directory in (layout.shared, layout.secrets, layout.backup, layout.release("r1")):
        directory.mkdir(parents=True)
    layout.claim.touch()
    layout.log.touch()
    layout.environment("e1").mkdir(parents=True)
    layout.environment_link("r1").symlink_to("../../environments/e1")
    layout.current.symlink_to("releases/r1")
    databases = [{"name": "shop", "kind": "sqlite", "place": str(layout.shared / "shop.db")}]
    keep = {"daily": 7, "weekly": 0, "monthly": 0}
    process = [
        f"LoadCredential=here:{layout.claim}",
        f"LoadCredential=gone:{tmp_path}/gone",
        "WorkingDirectory=${release}",
    ]
    repository = tmp_path / "repository"
    settings = Settings(
        "shop", str(layout.home), user, str(repository), "", keep, databases, process
    )
    monkeypatch.setattr(Settings, "layout", layout)
    monkeypatch.setattr(backup_module, "missing_mounts", lambda place: [])
    commands, report = [], {**REPORT}

    def run(command, **options):
        commands.append(command)
        target = Path(json.loads(options["input"])["target"])
        (target / "shop.sqlite").write_text("a copy")
        return SimpleNamespace(returncode=0, stdout=json.dumps(report), stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    made = Backup(settings, tmp_path / "program")
    made.restic = Repository(repository)
    return SimpleNamespace(
        backup=made, layout=layout, restic=made.restic, report=report, commands=commands
    )


def test_a_backup_has_copies_files_settings_log_release_and_environment(host):
    done = host.backup.make()
    layout, restic = host.layout, host.restic
    assert restic.calls == ["check", "unlock", "backup", "forget"]
    assert restic.staged == ["databases/shop.sqlite", "manifest.json"]
    assert restic.paths == [
        *(layout.staging, layout.shared, layout.etc, layout.log),
        *(layout.release("r1"), layout.environment("e1")),
    ]
    # The key to the backups is not in them.
    assert layout.backup_settings in restic.left_out
    assert not layout.staging.exists()
    last = done["last"]
    assert (last["id"], last["bytes"], last["added"]) == ("01234567", 6000, 90)
    assert last["notes"] == ["a note?[2J"]
    assert state.read_state(layout) == done
    assert done["failed"] == {}


def test_copies_are_made_as_the_site_runs_with_one_more_place_to_write(host):
    host.backup.make()
    (command,) = host.commands
    lines = [word.partition("--property=")[2] for word in command]
    target = host.layout.staging / "databases"
    assert f"ReadWritePaths={target}" in lines
    assert f"LoadCredential=here:{host.layout.claim}" in lines
    assert not [line for line in lines if "gone" in line]
    assert {"Nice=19", "CPUWeight=10", "Slice=-.slice"} <= {*lines}  # beside nginx and workers
    assert any(line.startswith("LimitFSIZE=") for line in lines)
    assert f"WorkingDirectory={host.layout.release('r1')}" in lines
    assert command[-5:] == ["/usr/bin/python3", "-I", "-B", str(host.backup.program), "copy"]
    assert command[5].startswith("--unit=shop-run-backup-")  # a removal stops what is called so


def test_a_run_that_comes_meanwhile_reads_what_goes_on(host):
    (host.layout.backup / "request.json").write_text('{"who": "ada on desk"}')
    host.backup.make()
    record = host.restic.record
    assert (record["who"], record["doing"]) == ("ada on desk", "backup")
    assert record["phases"][-1][0] == "writing to the repository"
    assert lock.read_record("shop") == {}
    host.backup.make()
    assert host.restic.record["who"].startswith("the timer on ")


@pytest.fixture
def _impatient(monkeypatch):
    monkeypatch.setattr(backup_module, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(backup_module, "PAUSE_SECONDS", 0.0)


@pytest.mark.usefixtures("_impatient")
def test_a_backup_waits_for_a_run_and_then_tells_which(host):
    lock.take(OWNER)
    with pytest.raises(HostError, match=r"so there is no backup\. ada on desk has been changing"):
        host.backup.make()
    assert host.restic.calls == []
    lock.release(OWNER)
    host.backup.make()


@pytest.mark.usefixtures("_impatient")
def test_a_person_who_locked_the_site_does_not_lose_a_day(host):
    path = hold.SystemLayout("shop", hold.ROOT).hold
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"who": "bob", "since": "now", "reason": "away"}))
    with pytest.raises(lock.LockedError):
        lock.take(OWNER)
    host.backup.make()


def test_a_copy_that_failed_makes_no_snapshot(host):
    host.report["problems"] = ["aroundtheworld_databases: there is no copy of 'shop': x."]
    with pytest.raises(HostError, match="there is no copy of 'shop'"):
        host.backup.make()
    assert host.restic.calls == ["check", "unlock"]
    assert not host.layout.staging.exists()


@pytest.mark.parametrize("said", ["", "[]", "Failed to start"])
def test_a_process_that_says_nothing_makes_no_snapshot(host, monkeypatch, said):
    answer = SimpleNamespace(returncode=1, stdout=said, stderr="Unit failed\x1b")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    with pytest.raises(HostError, match=r"could not be copied \(status 1\): Unit failed\?"):
        host.backup.make()
    assert "backup" not in host.restic.calls


def test_the_copies_of_a_backup_that_was_killed_go_first(host):
    left = host.layout.staging / "databases" / "old.sqlite"
    left.parent.mkdir(parents=True)
    left.touch()
    host.backup.make()
    assert host.restic.staged == ["databases/shop.sqlite", "manifest.json"]


@pytest.mark.parametrize("name", ["shared", "claim", "secrets"])
def test_a_site_that_is_not_whole_is_not_backed_up(host, name):
    path = getattr(host.layout, name)
    path.rename(path.with_name("elsewhere"))
    with pytest.raises(HostError, match=f"{path} is not there"):
        host.backup.make()


@pytest.mark.parametrize(
    ("path", "record", "sentence"),
    [
        ("restore.json", {"phase": "exchanging", "backup": "8e5b80f3"}, "--tags restore takes"),
        (
            "undo/under-way.json",
            {"copy": "1", "left": "", "from": "r2", "to": "r1", "closing": {}},
            "back to release r1 with its data was cut off, and the site stands still",
        ),
    ],
)
def test_data_in_the_middle_of_an_exchange_is_not_backed_up(host, path, record, sentence):
    record_file = host.layout.backup / path
    record_file.parent.mkdir(exist_ok=True)
    record_file.write_text(json.dumps(record))
    with pytest.raises(HostError, match=sentence):
        host.backup.make()
    record_file.unlink()
    host.backup.make()


def test_a_disk_that_is_not_mounted_is_no_empty_directory(host, monkeypatch):
    monkeypatch.setattr(backup_module, "missing_mounts", lambda place: [place / "photos"])
    with pytest.raises(HostError, match=r"shared/photos is not mounted, .* Mount it"):
        host.backup.make()


def test_a_new_repository_is_made_and_a_lost_one_is_not(host):
    host.restic.fails["check"] = MissingError("It is not there.")
    host.backup.make()
    assert host.restic.calls[:2] == ["check", "make"]
    state.change_state(host.layout, repository=host.backup.settings.repository)
    host.restic.calls.clear()
    with pytest.raises(HostError, match=r"It had this site's backups, .* Bring it back"):
        host.backup.make()
    assert host.restic.calls == ["check"]


def test_another_repository_in_its_place_is_not_taken_for_it(host):
    host.backup.make()
    host.restic.id = "4712"
    with pytest.raises(HostError, match="is another than that of the last backup"):
        host.backup.make()


def test_old_backups_that_cannot_be_removed_now_are_removed_later(host):
    host.restic.fails["forget"] = BusyError("It is in use.")
    (_, note) = host.backup.make()["last"]["notes"]
    assert note == "Old backups are still there; the next one will remove them. It is in use."


def test_of_many_files_that_vanished_some_are_named(host):
    host.restic.vanished = [f"/x/{number}\n" for number in range(12)]
    notes = host.backup.make()["last"]["notes"]
    assert notes[1] == "/x/0? vanished while the backup was made."
    assert notes[-1] == "So did 2 more files."


@pytest.mark.parametrize(
    ("mode", "files", "why"),
    [
        (0o755, ["config"], "only root may enter it"),
        (0o700, ["a picture"], "is not empty and no repository of restic"),
    ],
)
def test_a_repository_is_roots_and_nothing_else(host, mode, files, why, monkeypatch):
    directory = host.restic.directory
    directory.mkdir()
    for name in files:
        (directory / name).touch()
    directory.chmod(mode)
    with pytest.raises(HostError, match=why):
        backup_module.check_directory(directory)


def test_no_backup_begins_or_goes_on_without_room(host, monkeypatch):
    host.restic.directory.mkdir(mode=0o700)
    monkeypatch.setattr(backup_module, "spare", lambda place: -5000)
    with pytest.raises(
        HostError, match=r"no room for a backup in .*: 5.0 kB less than the reserve"
    ):
        host.backup.examine()
    with pytest.raises(HostError, match="no room for this backup"):
        host.backup.watch()


# --- The program ---


@pytest.fixture
def told(host, monkeypatch):
    """What the program prints, exits with and writes down."""
    ended = host.ended = []
    monkeypatch.setattr(program, "read_settings", lambda site: host.backup.settings)
    monkeypatch.setattr(program, "Backup", lambda settings, path: host.backup)
    monkeypatch.setattr(program, "end_worker", ended.append)
    monkeypatch.setattr(program.signal, "signal", lambda *_: None)
    return lambda *words: program.main(words, Path("program"))


def test_the_program_says_how_it_went(told, capsys):
    assert told("back-up", "shop") == 0
    out = capsys.readouterr().out
    assert "Backup 01234567: 6.0 kB, 90 bytes of them new" in out
    assert told("whatever") == 2


def test_a_failure_is_written_down_for_status_and_command(host, told, capsys):
    host.restic.fails["backup"] = HostError('No "room"\nin $HOME')
    assert told("back-up", "shop") == 1
    assert state.read_state(host.layout)["failed"]["cause"] == 'No "room"\nin $HOME'
    failure = host.layout.backup / "failure"
    assert failure.read_text() == 'BACKUP_FAILURE="No \\"room\\" in \\$HOME"\n'
    assert failure.stat().st_mode & 0o777 == 0o600
    del host.restic.fails["backup"]
    assert told("back-up", "shop") == 0
    assert state.read_state(host.layout)["failed"] == {}


def test_a_failure_that_nobody_thought_of_is_written_down_too(host, told):
    host.restic.fails["backup"] = ValueError("no JSON")
    with pytest.raises(ValueError, match="no JSON"):
        told("back-up", "shop")
    assert "ValueError: no JSON" in state.read_state(host.layout)["failed"]["cause"]


def test_after_a_kill_the_site_is_released_and_the_copies_are_gone(host, told, monkeypatch):
    monkeypatch.setenv("INVOCATION_ID", "77")
    lock.take({**OWNER, "run": "77"})
    (host.layout.staging / "databases").mkdir(parents=True)
    monkeypatch.setenv("SERVICE_RESULT", "signal")
    assert told("ended", "shop") == 0
    assert lock.read_record("shop") == {}
    assert not host.layout.staging.exists()
    assert host.ended == ["shop"]  # systemd does not end it with the service
    assert "ended from outside (signal)" in state.read_state(host.layout)["failed"]["cause"]


def test_the_end_of_a_backup_leaves_the_site_to_the_next_run(host, told, monkeypatch):
    monkeypatch.setenv("INVOCATION_ID", "77")
    lock.take(OWNER)
    monkeypatch.setenv("SERVICE_RESULT", "success")
    assert told("ended", "shop") == 0
    assert lock.read_record("shop")["run"] == OWNER["run"]
    assert state.read_state(host.layout)["failed"] == {}


# --- When it is late ---


def test_a_backup_is_late_when_the_next_one_should_be_over(monkeypatch):
    out = (
        "Normalized form: *-*-* 03:15:00\n    Next elapse: Fri 2026-11-27 03:15:00 CET\n"
        "       (in UTC): Fri 2026-11-27 02:15:00 UTC\n       From now: 5h left\n"
    )
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=out))
    assert state.due("03:15", 100.0) == 1795745700 + 3600 + 200
    assert state.due("", 100.0) is None


def test_status_says_what_is_wrong_with_backups(host):
    layout = host.layout
    assert state.backup_status(layout, 0.0) == ({}, [])
    state.change_state(layout, at="03:15", due=1000.0)
    assert state.backup_status(layout, 999.0)[1] == []
    assert state.backup_status(layout, 1001.0)[1] == [
        "the last backup was never made, and the next one is late"
    ]
    state.change_state(layout, last={"time": "1970"}, failed={"time": "1971", "cause": "full\n!"})
    assert state.backup_status(layout, 1001.0)[1] == [
        "the backup of 1971 failed: full?!",
        "the last backup is of 1970, and the next one is late",
    ]
