"""One run at a time changes a site, from its plan to its end.

A run is a series of modules without a connection that is held between them, so its lock has two
parts. While a module works, it holds a kernel lock (flock) on a file that only root can open; the
kernel lets go of it when the process ends, however it ends. Between modules a record says whose
run owns the site: it has the run's id, and each module of the run renews it. Everybody may read
the record; nobody but root can lock or change anything here.

What a module gets of its run, an `Owner`, is a mapping with ``site``, ``run`` (the id), ``who``,
``doing`` and ``process`` (what the controller needs to find out whether the run is over). A record
has that, and ``since``, ``renewed`` (seconds of the clock since boot) and ``phases``.

A person may hold the site as well, with a reason: that is a file in the site's settings, so it
outlives a reboot.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.files import write_atomically
from ansible.module_utils.aroundtheworld.systemd import HostError
from ansible.module_utils.basic import AnsibleModule

# Not /run/<site>: systemd makes that for the workers, and it is theirs.
LOCKS = Path("/run/aroundtheworld-locks")
ETC = Path("/etc")
# A run whose record was not renewed for so long, and of which no module works, may be followed.
ABANDONED_SECONDS = 600.0
# How long a module waits for another one that works: the one before it may be just ending.
PATIENCE_SECONDS = 5.0
# How long a new run waits for a module that works: who only looks at the lock has it for a moment.
GLANCE_SECONDS = 0.5

# A lock for what two sites of one host cannot do at once, such as trying all of nginx's
# configuration; only root can write in /run.
HOST_LOCK = Path("/run/aroundtheworld.lock")
HOST_LOCK_SECONDS = 120.0

Owner = Mapping[str, Any]
# The option by which a module that changes a site gets its run.
OPTION: dict[str, Any] = {"type": "dict", "required": True}


class LockedError(HostError):  # type: ignore[misc]
    """Another run, or a person, has the site."""

    def __init__(self, sentence: str, record: Mapping[str, Any]) -> None:
        """Keep the record of the run that has it; empty when a person does."""
        super().__init__(sentence)
        self.record = dict(record)


def now() -> str:
    """Return the time in UTC as ISO 8601 writes it, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def clock() -> float:
    """Return the seconds since boot: unlike the time of day, nobody sets that clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


# --- The files ------------------------------------------------------------------------------------


def lock_path(site: str) -> Path:
    """Return the file that a module of a run locks while it works."""
    return LOCKS / f"{site}.lock"


def record_path(site: str) -> Path:
    """Return the record of the run that owns the site."""
    return LOCKS / f"{site}.json"


def hold_path(site: str) -> Path:
    """Return the file that says which person holds the site, and why."""
    return ETC / site / "locked.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def read_record(site: str) -> dict[str, Any]:
    """Return the record of the run that owns the site, or nothing."""
    record = _read(record_path(site))
    return record if record.keys() >= {"run", "who", "doing", "since", "renewed"} else {}


def read_hold(site: str) -> dict[str, Any]:
    """Return which person holds the site (``who``, ``since``, ``reason``), or nothing."""
    hold = _read(hold_path(site))
    return hold if hold.keys() >= {"who", "since", "reason"} else {}


class _BusyError(Exception):
    """Another process has the kernel lock."""


@contextmanager
def _kernel_lock(path: Path, seconds: float) -> Iterator[None]:
    """Hold a kernel lock; raises `_BusyError` when it cannot be had within `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(handle, path):
                break
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(handle)
                raise _BusyError from None
            time.sleep(0.02)
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # it was removed meanwhile, or another process has it
    try:
        yield
    finally:
        os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    """Tell whether the open file still is what the path leads to."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(handle)
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


@contextmanager
def _site(site: str, seconds: float) -> Iterator[None]:
    """Hold the kernel lock of a site."""
    if not LOCKS.is_dir():
        LOCKS.mkdir(exist_ok=True)
        LOCKS.chmod(0o755)  # whatever root's umask is: the record is for everybody to read
    with _kernel_lock(lock_path(site), seconds):
        yield


def is_working(site: str) -> bool:
    """Tell whether a module of a run works on the site right now."""
    if not lock_path(site).exists():
        return False
    try:
        with _site(site, 0.0):
            return False
    except _BusyError:
        return True


# --- What is said of it ---------------------------------------------------------------------------


def state(record: Mapping[str, Any]) -> str:
    """Return who changes the site since when, and what it is that they do."""
    phases = record.get("phases")
    phase = f", at this moment: {phases[-1][0]}" if phases else ""
    return (
        f"{record['who']} has been changing this site since {record['since']}: "
        f"{record['doing']}{phase}."
    )


def hold_state(hold: Mapping[str, Any]) -> str:
    """Return which person holds the site since when, and why."""
    return f"{hold['who']} has locked this site since {hold['since']}: {hold['reason']}."


def refusal(record: Mapping[str, Any], *, working: bool) -> str:
    """Return why a run may not change the site, and when it may."""
    left = record["renewed"] + ABANDONED_SECONDS - clock()
    when = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=max(left, 0.0))
    hint = (
        "It works on the host at this moment; that is never interrupted."
        if working
        else "Should that run be dead, another one may follow it from "
        f"{when.isoformat(timespec='seconds')} on, or at once after --tags unlock."
    )
    return f"{state(record)} Nothing was changed; run again when that is over. {hint}"


def hold_refusal(hold: Mapping[str, Any]) -> str:
    """Return why nobody may change the site."""
    return f"{hold_state(hold)} Nothing was changed; --tags unlock ends that lock."


def status_lines(site: str) -> list[str]:
    """Return what an operator should know of the site's lock, each a sentence."""
    lines = []
    if hold := read_hold(site):
        lines.append(hold_state(hold))
    if record := read_record(site):
        idle = clock() - record["renewed"]
        lines.append(state(record))
        if idle > ABANDONED_SECONDS and not is_working(site):
            lines.append(f"That run was last heard of {idle / 60:.0f} minutes ago.")
    return lines


# --- A run ----------------------------------------------------------------------------------------


def _write(owner: Owner, record: Mapping[str, Any], **more: object) -> dict[str, Any]:
    fresh = {**record, **owner, **more, "renewed": clock()}
    write_atomically(record_path(owner["site"]), json.dumps(fresh), 0o644)
    return fresh


def _other(owner: Owner, instead_of: str) -> dict[str, Any]:
    """Return the record of the run that is followed, or nothing; raises `LockedError`."""
    if hold := read_hold(owner["site"]):
        raise LockedError(hold_refusal(hold), {})
    record = read_record(owner["site"])
    if not record or record["run"] == owner["run"]:
        return {}
    if record["run"] != instead_of and clock() - record["renewed"] < ABANDONED_SECONDS:
        raise LockedError(refusal(record, working=False), record)
    return record


def take(owner: Owner, instead_of: str = "") -> dict[str, Any]:
    """Take the site for a run.

    Args:
        owner: The run.
        instead_of: The id of a run of which the controller knows that it is over.

    Returns:
        The record of the run that this one follows because it was abandoned, or nothing.

    Raises:
        LockedError: Another run owns the site, or a person holds it.
    """
    site = owner["site"]
    try:
        with _site(site, GLANCE_SECONDS):
            followed = _other(owner, instead_of)
            _write(owner, {"since": now(), "phases": []})
    except _BusyError:
        raise _busy(site) from None
    return followed


def look(owner: Owner, instead_of: str = "") -> dict[str, Any]:
    """Return what `take` would, and raise `LockedError` when it would, but take nothing."""
    if is_working(owner["site"]):
        raise _busy(owner["site"])
    return _other(owner, instead_of)


def _busy(site: str) -> LockedError:
    """Return what to say when a module of some run works on the site."""
    record = read_record(site)
    if record:
        # No id: whatever the controller knows of its process, what works here is not interrupted.
        return LockedError(refusal(record, working=True), {**record, "run": ""})
    return LockedError(
        f"A process on the host holds {lock_path(site)}. Nothing was changed; run again when it "
        "has ended.",
        {},
    )


@contextmanager
def working(owner: Owner, doing: str = "") -> Iterator[Callable[[str], None]]:
    """Work on the site as a module of the run that owns it.

    The block gets a function that adds a phase to the record, for people who look.

    Args:
        owner: The run.
        doing: What the module does, where that says more than what the run does.

    Raises:
        HostError: The run does not own the site, or not any more.
    """
    site = owner["site"]
    begun = time.monotonic()
    phases: list[tuple[str, float]] = []
    try:
        with _site(site, PATIENCE_SECONDS):
            record = read_record(site)
            if record and record["run"] != owner["run"]:
                raise LockedError(f"This run does not own the site any more. {state(record)}", {})
            if not record:  # the host was restarted in the middle of the run, which empties /run
                _other(owner, "")
            record = {"since": now(), **record, "phases": phases}
            record = _write(owner, record, doing=doing or owner["doing"])

            def tell(phase: str) -> None:
                phases.append((phase, round(time.monotonic() - begun, 1)))
                renew()

            def renew() -> None:
                # The kernel's lock is what counts here. A record that cannot be written because
                # /run is full is no reason to break off a rollout.
                with suppress(OSError):
                    _write(owner, record, doing=record["doing"], phases=phases)

            try:
                yield tell
            finally:
                phases.clear()
                record["doing"] = owner["doing"]
                renew()
    except _BusyError:
        raise _busy(site) from None


@contextmanager
def owned(module: AnsibleModule, doing: str = "") -> Iterator[Callable[[str], None]]:
    """Work on the site as the module of the run in the option ``lock``; see `working`.

    Fails the task when the run does not own the site. In check mode nothing is changed, so nothing
    has to be owned.
    """
    with ExitStack() as stack:
        tell: Callable[[str], None] = lambda phase: None  # noqa: E731 - the other one is a closure
        if not module.check_mode:
            try:
                tell = stack.enter_context(working(module.params["lock"], doing))
            except (HostError, OSError) as failure:
                module.fail_json(msg=f"Nothing more was changed: {failure}")
        yield tell


@contextmanager
def only_change(owner: Owner, doing: str) -> Iterator[Callable[[str], None]]:
    """Take the site, work on it, and release it: a change that is no part of a run.

    Raises:
        LockedError: Another run owns the site, or a person holds it.
    """
    take(owner)
    try:
        with working(owner, doing) as tell:
            yield tell
    finally:
        release(owner)


def release(owner: Owner) -> bool:
    """Let the site go, and tell whether this run owned it.

    The record of another run stays.
    """
    site = owner["site"]
    if not record_path(site).exists():
        return False
    try:
        with _site(site, PATIENCE_SECONDS):
            if read_record(site).get("run") != owner["run"]:
                return False
            _forget(site)
    except _BusyError:
        return False
    return True


def _forget(site: str) -> None:
    record_path(site).unlink(missing_ok=True)
    lock_path(site).unlink(missing_ok=True)


# --- A person -------------------------------------------------------------------------------------


def hold(site: str, who: str, reason: str) -> bool:
    """Have a person hold the site until `free`, and tell whether that is new.

    A run that owns the site goes on to its end; the next one is refused.

    Raises:
        HostError: Another person holds it already, or there is no such site.
    """
    there = read_hold(site)
    if there and there["who"] != who:
        raise HostError(f"{hold_state(there)} Nothing was changed.")
    if there and there["reason"] == reason:
        return False
    path = hold_path(site)
    if not path.parent.is_dir():
        raise HostError(f"There is no site {site!r} on this host to lock: {path.parent} is missing")
    text = json.dumps({"who": who, "since": now(), "reason": reason}) + "\n"
    write_atomically(path, text, 0o600)
    return True


def free(site: str, ended: str = "") -> list[str]:
    """End the hold of a person, or else forget the record of a run that is dead.

    Args:
        site: The site.
        ended: The id of a run of which the controller knows that it is over.

    Returns:
        What was ended, each a sentence.

    Raises:
        HostError: A module works on the site at this moment.
    """
    there = read_hold(site)
    record = read_record(site)
    if there:
        hold_path(site).unlink()
    dead = record and (record["run"] == ended or clock() - record["renewed"] > ABANDONED_SECONDS)
    done = [f"Ended: {hold_state(there)}"] if there else []
    # With a hold, that is what was meant; the run of somebody else may be alive.
    if dead or (record and not there):
        try:
            with _site(site, PATIENCE_SECONDS):
                _forget(site)
        except _BusyError:
            raise _busy(site) from None
        done.append(f"Ended: {state(record)}")
    return done


# --- The host -------------------------------------------------------------------------------------


@contextmanager
def only_site() -> Iterator[None]:
    """Hold the host's lock, and wait for it; what is done meanwhile should take a moment only.

    Raises:
        HostError: Another site holds it for longer than anything there is to do takes.
    """
    try:
        with _kernel_lock(HOST_LOCK, HOST_LOCK_SECONDS):
            yield
    except _BusyError:
        raise HostError(
            f"Another site on this host has held {HOST_LOCK} for more than "
            f"{HOST_LOCK_SECONDS:.0f} s. Run again when its run is over."
        ) from None
