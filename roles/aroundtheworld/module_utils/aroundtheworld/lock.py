"""One run at a time changes a site, from its plan to its end.

A run is a series of modules without a connection that is held between them, so its lock has two
parts. While a module works, it holds a kernel lock (flock) on a file that only root can open; the
kernel lets go of it when the process ends, however it ends. Between modules a record says whose
run owns the site: it has the run's id, and each module of the run renews it. Everybody may read
the record; nobody but root can lock or change anything here.

An `Owner`, what a module knows of its run, is a mapping with ``site``, ``run`` (the id), ``who``,
``doing`` and ``process`` (what the controller needs to find out whether the run is over). A record
has that, and ``since``, ``renewed`` (seconds of the clock since boot) and ``phases``.

A person may hold the site as well (`hold.py`); then no run takes it, unless it has
``despite_hold``: the host's own backup, which leaves the site as it is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.aroundtheworld.clock import in_seconds, now, since_boot
from ansible.module_utils.aroundtheworld.files import read_mapping, write_atomically
from ansible.module_utils.aroundtheworld.hold import end_hold, hold_refusal, hold_state, read_hold
from ansible.module_utils.aroundtheworld.host_lock import BusyError, kernel_lock
from ansible.module_utils.aroundtheworld.layout import RUN
from ansible.module_utils.aroundtheworld.systemd import HostError

if TYPE_CHECKING:  # a backup by its timer runs without Ansible
    from ansible.module_utils.basic import AnsibleModule

# Not /run/<site>: systemd makes that for the workers, and it is theirs.
LOCKS: Path = RUN / "aroundtheworld-locks"
# A run whose record was not renewed for so long, and of which no module works, may be followed.
ABANDONED_SECONDS = 600.0
# How long a module waits for another one that works: the one before it may be just ending.
PATIENCE_SECONDS = 5.0
# How long a new run waits for a module that works: `is_working` has the lock for a moment only.
GLANCE_SECONDS = 0.5

Owner = Mapping[str, Any]
# The option by which a module that changes a site gets its run.
OPTION: dict[str, Any] = {"type": "dict", "required": True}


class LockedError(HostError):  # type: ignore[misc]
    """Another run, or a person, has the site."""

    def __init__(self, sentence: str, record: Mapping[str, Any]) -> None:
        """Keep the record of the run that has it; empty when a person does."""
        super().__init__(sentence)
        self.record = dict(record)


# --- The files ------------------------------------------------------------------------------------


def lock_path(site: str) -> Path:
    """Return the file that a module of a run locks while it works."""
    return LOCKS / f"{site}.lock"


def record_path(site: str) -> Path:
    """Return the record of the run that owns the site."""
    return LOCKS / f"{site}.json"


def read_record(site: str) -> dict[str, Any]:
    """Return the record of the run that owns the site, or nothing."""
    record: dict[str, Any] = read_mapping(record_path(site))
    return record if record.keys() >= {"run", "who", "doing", "since", "renewed"} else {}


def _idle(record: Mapping[str, Any]) -> float:
    """Return for how many seconds the record was not renewed."""
    return float(since_boot() - record["renewed"])


@contextmanager
def _locked(site: str, seconds: float) -> Iterator[None]:
    """Hold the kernel lock of a site."""
    if not LOCKS.is_dir():
        LOCKS.mkdir(exist_ok=True)
        LOCKS.chmod(0o755)  # whatever root's umask is: the record is for everybody to read
    with kernel_lock(lock_path(site), seconds):
        yield


def is_working(site: str) -> bool:
    """Tell whether a module of a run works on the site right now."""
    if not lock_path(site).exists():
        return False
    try:
        with _locked(site, 0.0):
            return False
    except BusyError:
        return True


def is_under_way(site: str) -> bool:
    """Tell whether a run owns the site that is not known to be dead."""
    record = read_record(site)
    return bool(record) and (_idle(record) < ABANDONED_SECONDS or is_working(site))


# --- Sentences about it ---------------------------------------------------------------------------


def state(record: Mapping[str, Any]) -> str:
    """Return who changes the site since when, and what they do."""
    phases = record.get("phases")
    phase = f", at this moment: {phases[-1][0]}" if phases else ""
    return (
        f"{record['who']} has been changing this site since {record['since']}: "
        f"{record['doing']}{phase}."
    )


def refusal(record: Mapping[str, Any], *, working: bool) -> str:
    """Return why a run may not change the site, and when it may."""
    left = ABANDONED_SECONDS - _idle(record)
    hint = (
        "It works on the host at this moment; that is never interrupted."
        if working
        else "Should that run be dead, another one may follow it from "
        f"{in_seconds(max(left, 0.0))} on, or at once after --tags unlock."
    )
    return f"{state(record)} Nothing was changed; run again when that is over. {hint}"


def status_lines(site: str) -> list[str]:
    """Return what an operator should know of the site's lock, each a sentence."""
    lines = []
    if hold := read_hold(site):
        lines.append(hold_state(hold))
    if record := read_record(site):
        idle = _idle(record)
        lines.append(state(record))
        if idle > ABANDONED_SECONDS and not is_working(site):
            lines.append(f"That run was last heard of {idle / 60:.0f} minutes ago.")
    return lines


# --- A run ----------------------------------------------------------------------------------------


def _write(owner: Owner, record: Mapping[str, Any], **more: object) -> dict[str, Any]:
    """Write the record of a run, renewed, and return it."""
    fresh = {**record, **owner, **more, "renewed": since_boot()}
    write_atomically(record_path(owner["site"]), json.dumps(fresh), 0o644)
    return fresh


def _predecessor(owner: Owner, instead_of: str) -> dict[str, Any]:
    """Return the record of the run that this one follows, or nothing; raises `LockedError`."""
    hold = read_hold(owner["site"])
    if hold and not owner.get("despite_hold"):
        raise LockedError(hold_refusal(hold), {})
    record = read_record(owner["site"])
    if not record or record["run"] == owner["run"]:
        return {}
    if record["run"] != instead_of and _idle(record) < ABANDONED_SECONDS:
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
        with _locked(site, GLANCE_SECONDS):
            followed = _predecessor(owner, instead_of)
            _write(owner, {"since": now(), "phases": []})
    except BusyError:
        raise _busy(site) from None
    return followed


def look(owner: Owner, instead_of: str = "") -> dict[str, Any]:
    """Return what `take` would, and raise `LockedError` when it would, but take nothing."""
    if is_working(owner["site"]):
        raise _busy(owner["site"])
    return _predecessor(owner, instead_of)


def _busy(site: str) -> LockedError:
    """Return the error for when a module of some run works on the site."""
    if record := read_record(site):
        # No id: whatever the controller knows of its process, what works here is never interrupted.
        return LockedError(refusal(record, working=True), {**record, "run": ""})
    return LockedError(
        f"A process on the host holds {lock_path(site)}. Nothing was changed; run again when it "
        "has ended.",
        {},
    )


@contextmanager
def working(owner: Owner, doing: str = "") -> Iterator[Callable[[str], None]]:
    """Work on the site as a module of the run that owns it.

    The block gets a function that adds a phase to the record, which shows it to people.

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
        with _locked(site, PATIENCE_SECONDS):
            record = read_record(site)
            if record and record["run"] != owner["run"]:
                raise LockedError(f"This run does not own the site any more. {state(record)}", {})
            if not record:  # the host was restarted in the middle of the run, which empties /run
                _predecessor(owner, "")
            record = {"since": now(), **record, "phases": phases}
            record = _write(owner, record, doing=doing or owner["doing"])

            def note_phase(phase: str) -> None:
                phases.append((phase, round(time.monotonic() - begun, 1)))
                renew()

            def renew() -> None:
                # The kernel's lock is what counts here. A record that cannot be written because
                # /run is full is no reason to break off a rollout.
                with suppress(OSError):
                    _write(owner, record, doing=record["doing"], phases=phases)

            try:
                yield note_phase
            finally:
                phases.clear()
                record["doing"] = owner["doing"]
                renew()
    except BusyError:
        raise _busy(site) from None


@contextmanager
def owned(module: AnsibleModule, doing: str = "") -> Iterator[Callable[[str], None]]:
    """Work on the site as the module of the run in the option ``lock``; see `working`.

    Fails the task when the run does not own the site. In check mode nothing changes, so the run
    does not need the site.
    """
    with ExitStack() as stack:
        note_phase: Callable[[str], None] = lambda phase: None  # noqa: E731 - or a closure
        if not module.check_mode:
            try:
                note_phase = stack.enter_context(working(module.params["lock"], doing))
            except (HostError, OSError) as failure:
                module.fail_json(msg=f"Nothing more was changed: {failure}")
        yield note_phase


@contextmanager
def only_change(owner: Owner, doing: str) -> Iterator[Callable[[str], None]]:
    """Take the site, work on it, and release it: a change outside of a run.

    Raises:
        LockedError: Another run owns the site, or a person holds it.
    """
    take(owner)
    try:
        with working(owner, doing) as note_phase:
            yield note_phase
    finally:
        release(owner)


def release(owner: Owner) -> bool:
    """Release the site, and tell whether this run owned it; the record of another run stays."""
    site = owner["site"]
    if not record_path(site).exists():
        return False
    try:
        with _locked(site, PATIENCE_SECONDS):
            if read_record(site).get("run") != owner["run"]:
                return False
            _forget(site)
    except BusyError:
        return False
    return True


def _forget(site: str) -> None:
    record_path(site).unlink(missing_ok=True)
    lock_path(site).unlink(missing_ok=True)


# --- The end by a person --------------------------------------------------------------------------


def unlock(site: str, ended: str = "") -> list[str]:
    """End the hold of a person, or else forget the record of a run that is dead.

    Args:
        site: The site.
        ended: The id of a run of which the controller knows that it is over.

    Returns:
        What was ended, each a sentence.

    Raises:
        HostError: A module works on the site at this moment.
    """
    hold, record = end_hold(site), read_record(site)
    ended_sentences = [f"Ended: {hold_state(hold)}"] if hold else []
    dead = record and (record["run"] == ended or _idle(record) > ABANDONED_SECONDS)
    # With a hold, that is what was meant; the run of somebody else may be alive.
    if dead or (record and not hold):
        try:
            with _locked(site, PATIENCE_SECONDS):
                _forget(site)
        except BusyError:
            raise _busy(site) from None
        ended_sentences.append(f"Ended: {state(record)}")
    return ended_sentences
