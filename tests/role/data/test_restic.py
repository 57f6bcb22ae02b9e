"""What restic says, in both versions, and what becomes of it.

A script stands for restic, and says what 0.14 and 0.18 said when they were asked.
"""

import json
import time
from pathlib import Path

import pytest
from ansible.module_utils.aroundtheworld.data import restic as restic_module
from ansible.module_utils.aroundtheworld.data.failures import (
    BusyError,
    MissingError,
    RefusedError,
)
from ansible.module_utils.aroundtheworld.data.restic import Restic
from ansible.module_utils.aroundtheworld.systemd import HostError

SUMMARY = {"message_type": "summary", "total_bytes_processed": 6000, "data_added": 8301}
OLD = json.dumps({**SUMMARY, "snapshot_id": "c532ea29"})
NEW = json.dumps({**SUMMARY, "snapshot_id": "90de9084" + 56 * "0"})
SNAPSHOTS = [
    {"id": "b" * 64, "time": "2026-11-26T21:08:06.22406059Z"},
    {"id": "a" * 64, "time": "2026-11-25T21:08:06.22406059Z"},
]


class Script:
    """A restic whose answers are written down before."""

    def __init__(self, directory):
        self.path, self.directory = directory / "restic", directory
        self.path.write_text(
            f"#!/bin/sh\n{{ printf '%s\\n' \"$@\"; echo; }} >>{directory}/calls\n"
            f"for word; do [ -e {directory}/$word.sh ] && . {directory}/$word.sh; done\nexit 0\n"
        )
        self.path.chmod(0o755)
        self.answers("snapshots", json.dumps(SNAPSHOTS))

    def answers(self, command, out="", error="", code=0, first=""):
        for name, text in (("out", out), ("err", error)):
            (self.directory / f"{command}.{name}").write_text(text)
        place = self.directory / command
        (self.directory / f"{command}.sh").write_text(
            f"{first}\ncat {place}.out; cat {place}.err >&2; exit {code}\n"
        )

    def calls(self):
        """The words of each call."""
        return [call.splitlines() for call in (self.directory / "calls").read_text().split("\n\n")]


@pytest.fixture
def script(tmp_path):
    return Script(tmp_path)


@pytest.fixture
def restic(script, tmp_path):
    return Restic("/mnt/backups", tmp_path / "password", tmp_path / "cache", str(script.path))


def back_up(restic, left_out=(), watch=lambda: None):
    return restic.backup("shop", "www1", [Path("/srv/shop")], left_out, watch)


NOWHERE = "unable to open config file: stat /mnt/backups/config: no such file or directory"
PLACE = "Is there a repository at the following location?\n/mnt/backups\n"
WRONG = json.dumps(
    {"message_type": "exit_error", "code": 12, "message": "Fatal: wrong password or no key found"}
)
IN_USE = "unable to create lock in backend: repository is already locked exclusively by PID 7 on x"
S3 = "Fatal: unable to open config file: Stat: "
DIAL = "dial tcp 192.0.2.1:443: connect: connection refused"
FAILURES = {
    "0.14, no bucket": (
        1,
        f"{S3}The specified bucket does not exist\n{PLACE}",
        MissingError,
        "is not there",
    ),
    "0.14, no key": (1, f"{S3}Access Denied.\n{PLACE}", RefusedError, "_backup_environment: Fatal"),
    "0.14, wrong key": (
        1,
        f"{S3}The request signature we calculated does not match\n{PLACE}",
        RefusedError,
        "does not take the credentials",
    ),
    "0.18, no key": (
        1,
        "Fatal: unable to open repository: s3.getCredentials: no credentials found.",
        RefusedError,
        "does not take the credentials",
    ),
    "0.14, no S3": (1, f"{S3}Get: {DIAL}\n{PLACE}", HostError, f"cannot be reached: {S3}Get: dial"),
    "0.14, none": (1, f"Fatal: {NOWHERE}\n{PLACE}", MissingError, "/mnt/backups is not there"),
    "0.18, none": (
        10,
        f"Fatal: repository does not exist: {NOWHERE}\n{PLACE}",
        MissingError,
        "/mnt/backups is not there",
    ),
    "0.14, password": (1, "Fatal: wrong password or no key found", HostError, "another password"),
    "0.18, password": (12, WRONG, HostError, "aroundtheworld_backup_password"),
    "0.14, locked": (1, IN_USE, BusyError, "in use by somebody else"),
    "0.18, locked": (11, f"Fatal: {IN_USE}", BusyError, "locked exclusively by PID 7 on x"),
    "full": (1, "Save() write: no space left on device", HostError, "has no room left"),
    "ssh": (1, "subprocess ssh: ssh: connect to host x: refused", HostError, "cannot be reached"),
    "damaged": (1, "Fatal: load <index/93>: invalid data returned", HostError, "is damaged: "),
    "0.18, a directory that is damaged": (
        2,
        "panic: runtime error: invalid memory address or nil pointer dereference\n\ngoroutine 1 "
        "[running]:\ngithub.com/restic/restic/internal/walker.walk({0x1143910, 0xc0003a82d0})",
        HostError,
        "is damaged: restic itself broke off while it read it (panic: runtime error: ",
    ),
    "whatever": (1, "Fatal: pack 4711 is damaged\x1b[2J", HostError, "pack 4711 is damaged?[2J"),
}


@pytest.mark.parametrize(("code", "words", "kind", "sentence"), FAILURES.values(), ids=FAILURES)
def test_each_failure_is_a_sentence_in_both_versions(script, restic, code, words, kind, sentence):
    script.answers("cat", error=words, code=code)
    with pytest.raises(kind) as caught:
        restic.check()
    assert type(caught.value) is kind
    assert sentence in str(caught.value)


def test_a_repository_has_an_id(script, restic):
    script.answers("cat", '{"version": 2, "id": "4711"}')
    assert restic.check() == "4711"


def test_one_that_does_not_answer_is_given_up(script, restic, monkeypatch):
    monkeypatch.setattr(restic_module, "ANSWER_SECONDS", 0.1)
    script.answers("cat", first="exec sleep 60")
    began = time.monotonic()
    with pytest.raises(HostError, match="has not answered for 0 s"):
        restic.check()
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("file", "sentence"),
    [("<data/7b1c0f>", "is damaged: its part 7b1c0f is missing"), ("<lock/7b1c0f>", "")],
)
def test_a_part_that_is_missing_is_damage_and_a_lock_is_not(script, restic, file, sentence):
    tries = f"Load({file}, 0, 0) returned error, retrying after 1.7s: open x: no such file"
    script.answers("cat", '{"id": "x"}', first=f"echo '{tries}' >&2; sleep 2")
    if not sentence:
        assert restic.check() == "x"
        return
    with pytest.raises(HostError, match=sentence):
        restic.check()


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("The specified bucket does not exist", MissingError),
        ("The access key ID you provided does not exist in our records.", RefusedError),
    ],
)
def test_what_no_second_try_cures_is_not_tried_for_a_quarter_of_an_hour(
    script, restic, words, kind
):
    tries = f"Stat(<config/>) returned error, retrying after 25.7s: Stat: {words}"
    script.answers("cat", first=f"echo '{tries}' >&2; exec sleep 60")
    began = time.monotonic()
    with pytest.raises(kind):
        restic.check()
    assert time.monotonic() - began < 30


def test_a_server_that_is_away_is_waited_for_and_then_named(script, restic, monkeypatch):
    monkeypatch.setattr(restic_module, "ANSWER_SECONDS", 0.1)
    tries = f"Stat(<config/>) returned error, retrying after 25.7s: Stat: {DIAL}"
    script.answers("cat", first=f"echo '{tries}' >&2; exec sleep 60")
    with pytest.raises(HostError, match="has not answered for 0 s: Stat: dial tcp 192"):
        restic.check()


def test_only_restic_gets_the_credentials_and_nobody_elses(script, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "another's")
    variables = {"AWS_ACCESS_KEY_ID": "ours"}
    restic = Restic("s3:https://x/b", tmp_path, tmp_path, str(script.path), variables)
    script.answers("cat", first='echo "{\\"id\\": \\"$AWS_ACCESS_KEY_ID/$AWS_SESSION_TOKEN\\"}"')
    assert restic.check() == "ours/"
    assert "ours" not in " ".join(restic.options)


@pytest.mark.parametrize(("summary", "identity"), [(OLD, "c532ea29"), (NEW, "90de9084" + 56 * "0")])
def test_a_backup_is_of_this_site_and_host_and_builds_on_the_last(
    script, restic, summary, identity
):
    script.answers("backup", summary)
    done = back_up(restic, [Path("/srv/shop/[a]*?\\$x")])
    assert (done.id, done.bytes, done.added, done.vanished) == (identity, 6000, 8301, [])
    snapshots, backup, *_ = script.calls()
    assert snapshots[-2:] == ["--host", "www1"]
    assert backup[backup.index("--parent") + 1] == "b" * 64
    assert backup[backup.index("--tag") + 1] == "aroundtheworld,site=shop"
    assert r"--exclude=/srv/shop/\[a\]\*\?\\$x" in backup
    assert backup[-2:] == ["--", "/srv/shop"]


@pytest.mark.parametrize(
    "error",
    [
        {"Op": "lstat", "Path": "/srv/shop/x", "Err": 2},
        {},
        {"message": "incomplete metadata: xattr.list /srv/shop/x: no such file or directory"},
    ],
)
def test_files_that_vanished_are_told_and_there_is_a_backup(script, restic, error):
    message = {"message_type": "error", "error": error, "during": "scan", "item": "/srv/shop/x"}
    twice = f"{json.dumps(message)}\n" * 2
    script.answers("backup", OLD, f"{twice}Warning: at least one source file", 3)
    assert back_up(restic).vanished == ["/srv/shop/x"]


@pytest.mark.parametrize(
    "error",
    [{"Op": "open", "Path": "x", "Err": 5}, {"message": "read x: input/output error"}, {}],
)
def test_a_backup_without_files_that_cannot_be_read_is_taken_away(script, restic, error, tmp_path):
    (tmp_path / "there").touch()
    item = str(tmp_path / "there")
    message = {"message_type": "error", "error": error, "during": "archival", "item": item}
    script.answers("backup", OLD, json.dumps(message), 3)
    with pytest.raises(HostError, match="so there is no backup") as caught:
        back_up(restic)
    assert item in str(caught.value)
    assert script.calls()[2][-2:] == ["forget", "c532ea29"]


def test_a_backup_that_failed_is_no_backup(script, restic):
    script.answers("backup", "", "Fatal: pack is damaged", 1)
    with pytest.raises(HostError, match="pack is damaged"):
        back_up(restic)
    script.answers("backup", "", "", 0)  # it ended well, and says nothing of a snapshot
    with pytest.raises(HostError, match="status 0"):
        back_up(restic)


def test_a_backup_waits_for_somebody_who_cleans_up_the_repository(script, restic, monkeypatch):
    monkeypatch.setattr(restic_module, "PAUSE_SECONDS", 0.0)
    busy = f"mkdir {script.directory}/asked 2>/dev/null && {{ echo '{IN_USE}' >&2; exit 1; }}"
    script.answers("backup", NEW, first=busy)
    assert back_up(restic).added == 8301
    monkeypatch.setattr(restic_module, "LOCKED_SECONDS", 0.0)
    (script.directory / "asked").rmdir()
    with pytest.raises(BusyError):
        back_up(restic)


def test_what_watches_a_backup_can_end_it(script, restic):
    script.answers("backup", NEW, first="exec sleep 60")

    def full():
        raise HostError("there is no room")

    began = time.monotonic()
    with pytest.raises(HostError, match="there is no room"):
        back_up(restic, watch=full)
    assert time.monotonic() - began < 30


def test_only_backups_of_this_site_and_host_are_removed(script, restic):
    script.answers("forget")
    restic.forget("shop", "www1", {"daily": 7, "weekly": 0, "monthly": 6})
    (words, *_) = script.calls()
    begin = words.index("forget")
    assert words[begin:] == [
        *("forget", "--quiet", "--prune", "--host", "www1"),
        *("--tag", "aroundtheworld,site=shop", "--group-by", "host"),
        *("--keep-daily", "7", "--keep-monthly", "6"),
    ]


def test_snapshots_are_in_their_order_and_there_may_be_none(script, restic):
    assert [each["id"][0] for each in restic.snapshots("shop")] == ["a", "b"]
    script.answers("snapshots", "null")
    assert restic.snapshots("shop") == []


@pytest.mark.parametrize(
    ("repository", "ssh"),
    [
        ("sftp:ada@host:/srv/b", "ada@host -s sftp"),
        ("sftp:alias:b", "alias -s sftp"),
        ("sftp://ada@host:2222//srv/b", "-p 2222 ada@host -s sftp"),
        ("sftp://ada@[2001:db8::7]:22//srv", "-p 22 ada@2001:db8::7 -s sftp"),
    ],
)
def test_ssh_asks_nobody_and_does_not_wait_for_ever(tmp_path, repository, ssh):
    options = Restic(repository, tmp_path, tmp_path).options
    command = options[options.index("-o") + 1]
    assert command.startswith("sftp.command=ssh -o BatchMode=yes -o ConnectTimeout=20 ")
    assert command.endswith(f" {ssh}")
    assert "--cache-dir" in options


def test_a_directory_needs_no_cache(restic):
    assert "--no-cache" in restic.options
    assert restic.directory == Restic("local:/mnt/backups", Path(), Path()).directory


def test_a_part_of_a_snapshot_is_written_and_checked(script, restic, tmp_path):
    script.answers("stats", '{"total_size": 6000}')
    assert restic.restore_bytes("c5") == 6000
    restic.restore("c5", tmp_path, [Path("/srv/[shop]")])
    (*_, words, _) = script.calls()
    assert words[words.index("restore") :] == [
        *("restore", "c5", "--verify", "--target", str(tmp_path), r"--include=/srv/\[shop\]"),
    ]


def test_settings_of_another_repository_in_the_environment_do_not_count(
    script, restic, monkeypatch
):
    monkeypatch.setenv("RESTIC_PASSWORD_COMMAND", "echo other")
    script.answers("cat", '{"id": "x"}', first='[ -z "$RESTIC_PASSWORD_COMMAND" ] || exit 5')
    assert restic.check() == "x"


def test_a_host_without_restic_says_what_installs_it(tmp_path):
    with pytest.raises(HostError, match="--tags backup, which installs it"):
        Restic("/mnt", tmp_path, tmp_path, str(tmp_path / "nothing")).check()
