"""One change of a site at a time, and a log of all of them."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.systemd import HostError

# A lock for what two sites of one host cannot do at once, such as trying all of nginx's
# configuration; only root can write in /run.
HOST_LOCK = Path("/run/aroundtheworld.lock")
HOST_LOCK_SECONDS = 120.0


def now() -> str:
    """Return the time in UTC as ISO 8601 writes it, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def lock_path(home: Path) -> Path:
    """Return the file that a change of the site below `home` locks."""
    return home / ".lock"


def lock_holder(home: Path) -> dict[str, Any]:
    """Return who changes the site right now (``who``, ``since``, ``doing``, …), or nothing.

    The kernel lets go of the lock when its process ends, however it ends.
    """
    try:
        with lock_path(home).open() as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                try:
                    story: dict[str, Any] = json.loads(handle.read())
                except ValueError:  # it is just being written
                    story = {"who": "somebody", "since": "just now", "doing": "a change"}
                return story
    except FileNotFoundError:
        pass
    return {}


def refusal(holder: Mapping[str, Any]) -> str:
    """Return the sentence that tells of another change under way."""
    phases = holder.get("phases")
    phase = f", at this moment: {phases[-1][0]}" if phases else ""
    return (
        f"{holder['who']} has been changing this site since {holder['since']}: "
        f"{holder['doing']}{phase}. Nothing was changed; run again when that is over."
    )


@contextmanager
def only_change(home: Path, who: str, doing: str, run: str = "") -> Iterator[Callable[[str], None]]:
    """Hold the site's lock; raises `HostError` at once when somebody else does.

    The file tells the story: who, since when, doing what, and each phase with the second at which
    it began. The block gets a function that adds a phase. By `run` a reader knows the story for
    that of its own run.
    """
    handle = os.open(lock_path(home), os.O_RDWR | os.O_CREAT, 0o644)
    begun = time.monotonic()
    phases: list[tuple[str, float]] = []
    story = {"who": who, "since": now(), "doing": doing, "run": run, "phases": phases}

    def write() -> None:
        text = json.dumps(story).encode()
        os.pwrite(handle, text, 0)
        os.ftruncate(handle, len(text))

    def tell(phase: str) -> None:
        phases.append((phase, round(time.monotonic() - begun, 1)))
        write()

    try:
        _take(handle, home)
        write()
        yield tell
    finally:
        os.close(handle)


def _take(handle: int, home: Path) -> None:
    """Lock the file; who only looks at the lock holds it for a moment, so a moment is waited."""
    deadline = time.monotonic() + 0.5
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline and (holder := lock_holder(home)):
                raise HostError(refusal(holder)) from None
            time.sleep(0.05)
        else:
            return


@contextmanager
def only_site() -> Iterator[None]:
    """Hold the host's lock, and wait for it; what is done meanwhile should take a moment only.

    Raises:
        HostError: Another site holds it for longer than anything there is to do takes.
    """
    handle = os.open(HOST_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + HOST_LOCK_SECONDS
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise HostError(
                        f"Another site on this host has held {HOST_LOCK} for more than "
                        f"{HOST_LOCK_SECONDS:.0f} s. Run again when its run is over."
                    ) from None
                time.sleep(0.05)
            else:
                break
        yield
    finally:
        os.close(handle)


def log_path(home: Path) -> Path:
    """Return the file with one JSON object a change."""
    return home / "deploys.jsonl"


def append_log(home: Path, entry: Mapping[str, Any]) -> None:
    """Append a change to the log, so that it is there after a crash."""
    handle = os.open(log_path(home), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(handle, (json.dumps(entry) + "\n").encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def read_log(home: Path) -> list[dict[str, Any]]:
    """Return the changes in the log, oldest first; a line that was cut off is left out."""
    entries = []
    try:
        lines = log_path(home).read_text().splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return entries


def outcomes(log: list[dict[str, Any]]) -> dict[str, str]:
    """Return release id to what became of it last: done, reverted, or rolled back from."""
    known: dict[str, str] = {}
    for entry in log:
        known[entry["to"]] = entry["outcome"]
        if entry["verb"] == "rollback" and entry["outcome"] == "done":
            known[entry["from"]] = "rolled back"
    return known


def last_good(home: Path, current: str) -> list[str]:
    """Return the releases that may be gone back to, the one before the current first.

    A release counts that ran on all workers, is still on the host, and was not found bad since.
    """
    log = read_log(home)
    known = outcomes(log)
    good: list[str] = []
    for entry in reversed(log):
        if entry["outcome"] != "done":
            continue
        for name in (entry["to"], entry["from"]):
            ran_well = known.get(name, "done") == "done" and (home / "releases" / name).is_dir()
            if name and ran_well and name not in (*good, current):
                good.append(name)
    return good
