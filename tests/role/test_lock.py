"""One run at a time owns a site, from its plan to its end, and what becomes of a run that died."""

import datetime
import fcntl
import json
import os
import stat
import subprocess
import sys
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible.module_utils.aroundtheworld import clock, hold, host_lock, lock
from ansible.module_utils.aroundtheworld.layout import SystemLayout

from tests.role.conftest import OWNER
from tests.role_files import load_python

module = load_python("library/aroundtheworld_lock.py")
layout = load_python("library/aroundtheworld_layout.py")

MINE = OWNER
OTHER = {**OWNER, "run": "2", "who": "bob on laptop", "doing": "rollback"}


@pytest.fixture
def at(monkeypatch):
    """Returns a function that sets the clock since boot."""

    def put(seconds):
        monkeypatch.setattr(lock, "since_boot", lambda: seconds)

    put(1000.0)
    return put


@pytest.fixture
def settings():
    """Returns the directory of the site's settings."""
    directory = SystemLayout("shop", hold.ROOT).etc
    directory.mkdir(parents=True)
    return directory


@pytest.fixture
def _impatient(monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE_SECONDS", 0.1)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def record():
    return json.loads(lock.record_path("shop").read_text())


HOLD = """
import fcntl, os, sys, time
fcntl.flock(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600), fcntl.LOCK_EX)
print("begun", flush=True)
time.sleep(60)
"""


@pytest.fixture
def at_work():
    """Has a process of another run work on the site, which ends with the test."""
    lock.take(OTHER)
    command = [sys.executable, "-c", HOLD, lock.lock_path("shop")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        yield process
        process.kill()


# --- Two runs -------------------------------------------------------------------------------------


def test_the_second_run_hears_who_changes_the_site_and_when_it_may(at):
    assert lock.take(OTHER) == {}
    at(1060.0)
    for refused in (lock.take, lock.look):
        with pytest.raises(lock.LockedError) as caught:
            refused(MINE)
        assert str(caught.value).startswith("bob on laptop has been changing this site since 20")
        assert ": rollback. Nothing was changed" in str(caught.value)
        assert "another one may follow it from " in str(caught.value)
        assert caught.value.record["run"] == "2"
    assert record()["run"] == "2"


def test_who_only_looks_takes_nothing(at):
    assert lock.look(MINE) == {}
    assert not lock.LOCKS.exists()
    lock.take(OTHER)
    assert lock.look(MINE, instead_of="2")["run"] == "2"
    assert record()["run"] == "2"


def test_in_check_mode_a_module_owns_nothing():
    module = types.SimpleNamespace(check_mode=True, params={"lock": MINE})
    with lock.owned(module) as tell:
        tell("replace 10004")
    assert not lock.LOCKS.exists()


def test_a_refusal_says_when_another_run_may_follow(at):
    lock.take(OTHER)
    at(1420.0)
    with pytest.raises(lock.LockedError) as caught:
        lock.take(MINE)
    _, _, after = str(caught.value).partition("may follow it from ")
    moment = datetime.datetime.fromisoformat(after.partition(" on, ")[0])
    left = moment - datetime.datetime.now(datetime.UTC)
    assert 150 < left.total_seconds() < 190


def test_the_clock_is_one_that_nobody_sets():
    with Path("/proc/uptime").open() as uptime:
        assert clock.since_boot() == pytest.approx(float(uptime.read().split()[0]), abs=5)


def test_a_run_takes_its_own_site_again(at):
    assert (lock.take(MINE), lock.take(MINE)) == ({}, {})


def test_between_its_modules_the_site_is_still_the_runs(at):
    lock.take(OTHER)
    with lock.working(OTHER):
        pass
    with pytest.raises(lock.LockedError):
        lock.take(MINE)


def test_a_module_of_another_run_changes_nothing(at, run_module, tmp_path):
    lock.take(OTHER)
    with pytest.raises(run_module.failed, match=r"does not own the site any more\. bob on laptop"):
        run_module(
            layout,
            claim={"site": "shop", "home": str(tmp_path)},
            directories=[{"path": str(tmp_path / "home")}],
            script="",
            rotation="",
            log_days=14,
            settings="{}",
        )
    assert list(tmp_path.iterdir()) == []
    assert record()["run"] == "2"


def test_every_module_that_changes_a_site_checks_that(run_module):
    for name in ("layout", "release", "workers", "nginx", "remove"):
        text = load_python(f"library/aroundtheworld_{name}.py")
        assert text.owned is lock.owned, name
        assert "  lock: {" in text.DOCUMENTATION, name


def test_a_run_ends_its_lock_although_somebody_looks_at_it(at):
    lock.take(MINE)
    with ThreadPoolExecutor(1) as thread, lock._locked("shop", 0.0):
        released = thread.submit(lock.release, MINE)
        with pytest.raises(TimeoutError):
            released.result(0.1)
    assert released.result() is True
    assert not lock.record_path("shop").exists()


def test_a_run_ends_its_own_lock_and_no_other(at, run_module):
    lock.take(OTHER)
    assert run_module(module, site="shop", state="released", lock=MINE)["changed"] is False
    assert record()["run"] == "2"
    run_module(module, site="shop", state="released", lock=OTHER)
    assert list(lock.LOCKS.iterdir()) == []
    assert lock.take(MINE) == {}


# --- A run that died ------------------------------------------------------------------------------


def test_a_run_is_followed_when_the_controller_knows_that_it_is_over(at):
    lock.take(OTHER)
    assert lock.take(MINE, instead_of="2")["who"] == "bob on laptop"
    assert record()["run"] == "1"
    with pytest.raises(lock.LockedError, match="ada on desk"):
        lock.take({**OWNER, "run": "3"}, instead_of="2")


def test_a_run_is_followed_after_ten_minutes_without_a_word(at):
    lock.take(OTHER)
    at(1599.0)
    with pytest.raises(lock.LockedError):
        lock.take(MINE)
    with lock.working(OTHER):
        pass  # a word
    at(1601.0)
    with pytest.raises(lock.LockedError):
        lock.take(MINE)
    at(2200.0)
    assert lock.take(MINE)["run"] == "2"
    with pytest.raises(lock.HostError, match="not own the site any more"), lock.working(OTHER):
        pytest.fail("the run that was followed goes on")


@pytest.mark.usefixtures("_impatient")
def test_nobody_follows_while_a_module_works(at_work, monkeypatch):
    monkeypatch.setattr(lock, "ABANDONED_SECONDS", -1.0)
    for refused in (lock.take, lock.look):
        with pytest.raises(lock.LockedError) as caught:
            refused(MINE, instead_of="2")
        assert "bob on laptop has been changing" in str(caught.value)
        assert "It works on the host at this moment" in str(caught.value)
        assert not caught.value.record["run"], "the controller would say that the run is over"
    at_work.kill()  # the kernel lets go, however it ends
    at_work.wait()
    assert lock.take(MINE)["run"] == "2"


@pytest.mark.usefixtures("_impatient")
def test_a_wait_for_the_kernels_lock_always_ends_with_a_message(at_work):
    begun = time.monotonic()
    with pytest.raises(lock.LockedError, match="bob on laptop"), lock.working(MINE):
        pytest.fail("two work at once")
    assert time.monotonic() - begun < 2


def test_a_file_that_was_removed_meanwhile_is_no_lock(monkeypatch):
    """A run that ends removes the file that a module of the next one has opened by then."""
    lock.take(MINE)
    paths = [lock.lock_path("shop")]
    flock = fcntl.flock

    def late(handle, operation):
        if paths:
            paths.pop().unlink()
        flock(handle, operation)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", late)
        with lock.working(MINE):
            assert lock.is_working("shop")


def test_after_a_restart_of_the_host_the_run_goes_on_unless_another_has_begun(at, settings):
    lock.take(MINE)
    lock.record_path("shop").unlink()  # /run is empty
    with lock.working(MINE):
        assert record()["run"] == "1"
    lock.record_path("shop").unlink()
    lock.take(OTHER)
    with pytest.raises(lock.LockedError), lock.working(MINE):
        pytest.fail("another run has begun")
    lock.record_path("shop").unlink()
    hold.hold_site("shop", "ada on desk", "the disk is being replaced")
    with pytest.raises(lock.LockedError, match="the disk is being"), lock.working(MINE):
        pytest.fail("a person holds the site")


# --- Who can do what ------------------------------------------------------------------------------


def test_only_root_can_lock_and_everybody_can_read_the_record():
    before = os.umask(0o077)  # as hardened hosts have it for root
    try:
        with lock.working(MINE), host_lock.only_site():
            assert mode(lock.lock_path("shop")) == 0o600
            assert mode(host_lock.HOST_LOCK) == 0o600
            assert mode(lock.record_path("shop")) == 0o644
            assert mode(lock.LOCKS) == 0o755
    finally:
        os.umask(before)


@pytest.mark.skipif(os.getuid() != 0, reason="becomes nobody")
def test_nobody_else_can_keep_a_run_from_its_lock(tmp_path):
    lock.take(MINE)
    for path in (lock.LOCKS, lock.LOCKS.parent, *lock.LOCKS.parent.parents):
        assert path.stat().st_uid == 0 or path.parent == path
    program = """if True:
        import fcntl, os, sys
        os.setgid(65534), os.setuid(65534)
        try:
            fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_SH)
        except PermissionError:
            sys.exit(9)
        """
    lock.LOCKS.parent.chmod(0o755)
    for path in [lock.LOCKS, *lock.LOCKS.parents][:4]:
        path.chmod(path.stat().st_mode | 0o055)
    done = subprocess.run([sys.executable, "-c", program, lock.lock_path("shop")], check=False)
    assert done.returncode == 9


def test_a_link_in_the_place_of_a_lock_is_not_followed(host_lock_path, tmp_path):
    host_lock_path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"), host_lock.only_site():
        pytest.fail("this is another file")
    assert not (tmp_path / "elsewhere").exists()


def test_the_record_tells_what_is_done_and_forgets_it_afterwards():
    lock.take(MINE)
    with lock.working(MINE, "deploy of release x") as tell:
        tell("prepare")
        tell("replace 10004")
        phases = [name for name, _ in record()["phases"]]
        assert phases == ["prepare", "replace 10004"]
        (line,) = lock.status_lines("shop")
        assert line.endswith(": deploy of release x, at this moment: replace 10004.")
    assert (record()["phases"], record()["doing"]) == ([], "deploy")
    since = record()["since"]
    with lock.working(MINE):
        assert record()["since"] == since


def test_of_a_run_without_a_word_it_is_told_since_when(at):
    lock.take(OTHER)
    assert len(lock.status_lines("shop")) == 1
    at(2200.0)
    assert lock.status_lines("shop")[1] == "That run was last heard of 20 minutes ago."


@pytest.mark.usefixtures("at_work")
def test_a_run_that_works_is_not_called_silent(monkeypatch):
    monkeypatch.setattr(lock, "ABANDONED_SECONDS", -1.0)
    assert len(lock.status_lines("shop")) == 1


def test_a_wait_for_the_hosts_lock_ends_with_a_message_that_names_it(monkeypatch, host_lock_path):
    monkeypatch.setattr(host_lock, "HOST_LOCK_SECONDS", 0.1)
    begun = time.monotonic()
    with (
        host_lock.only_site(),
        pytest.raises(lock.HostError, match=f"has held {host_lock_path} for more than 0 s"),
        host_lock.only_site(),
    ):
        pytest.fail("two sites at once")
    assert 0.1 <= time.monotonic() - begun < 2


def test_a_full_run_directory_does_not_break_off_a_rollout(monkeypatch):
    def full(*_arguments, **_more):
        raise OSError(28, "No space left on device")

    with lock.working(MINE) as tell:
        monkeypatch.setattr(lock, "write_atomically", full)
        tell("replace 10004")


@pytest.mark.usefixtures("settings")
def test_what_is_no_record_and_no_hold_stops_nobody():
    lock.LOCKS.mkdir()
    for text in ("", "[]", '{"run": "2"}', '{"who'):
        lock.record_path("shop").write_text(text)
        SystemLayout("shop", hold.ROOT).hold.write_text(text)
        assert lock.take(MINE) == {}
        lock.release(MINE)


# --- A person -------------------------------------------------------------------------------------


def test_a_person_holds_a_site_with_a_reason_over_a_restart(at, settings, run_module):
    held = run_module(module, site="shop", state="locked", reason="the disk is being replaced")
    assert held["changed"]
    assert mode(settings / "locked.json") == 0o600
    lock.LOCKS.mkdir(exist_ok=True)
    at(1.0)
    for refused in (lock.take, lock.look):
        with pytest.raises(lock.LockedError) as caught:
            refused(OTHER)
        assert "ada on desk has locked this site since 20" in str(caught.value)
        assert ": the disk is being replaced. Nothing was changed" in str(caught.value)
        assert "--tags unlock" in str(caught.value)
    assert lock.status_lines("shop")[0].endswith(": the disk is being replaced.")
    assert not run_module(module, site="shop", state="locked", reason="the disk is being replaced")[
        "changed"
    ]
    with pytest.raises(run_module.failed, match="ada on desk has locked"):
        run_module(module, site="shop", state="locked", reason="mine", lock=OTHER)
    done = run_module(module, site="shop", state="unlocked", lock=OTHER)
    assert done["changed"]
    assert "the disk is being replaced" in done["done"][0]
    assert lock.take(OTHER) == {}


def test_a_hold_lets_the_run_end_that_has_begun(at, settings, run_module):
    lock.take(OTHER)
    held = run_module(module, site="shop", state="locked", reason="enough")
    assert "That run goes on to its end." in held["done"][1]
    with lock.working(OTHER):
        pass
    run_module(module, site="shop", state="unlocked")
    assert record()["run"] == "2", "the run that goes on lost its lock"


@pytest.mark.parametrize(("seconds", "ended"), [(0.0, "2"), (601.0, "")])
def test_unlock_ends_a_hold_together_with_a_run_that_is_dead(at, settings, seconds, ended):
    lock.take(OTHER)
    hold.hold_site("shop", "ada on desk", "the disk is being replaced")
    at(1000.0 + seconds)
    person, run = lock.unlock("shop", ended)
    assert person.startswith("Ended: ada on desk has locked")
    assert run.startswith("Ended: bob on laptop has been changing")
    assert not lock.record_path("shop").exists()


def test_there_is_nothing_to_hold_before_the_first_deployment(run_module):
    with pytest.raises(run_module.failed, match="There is no site 'shop' on this host to lock"):
        run_module(module, site="shop", state="locked", reason="x")


def test_unlock_forgets_a_run_that_died(at, settings, run_module):
    lock.take(OTHER)
    assert run_module(module, check=True, site="shop", state="unlocked")["changed"]
    assert record()["run"] == "2"
    done = run_module(module, site="shop", state="unlocked")
    assert done["done"][0].startswith("Ended: bob on laptop has been changing this site")
    assert not lock.record_path("shop").exists()
    assert not run_module(module, site="shop", state="unlocked")["changed"]


@pytest.mark.usefixtures("_impatient", "at_work")
def test_unlock_does_not_end_what_works(settings, run_module):
    with pytest.raises(run_module.failed, match="It works on the host at this moment"):
        run_module(module, site="shop", state="unlocked")
