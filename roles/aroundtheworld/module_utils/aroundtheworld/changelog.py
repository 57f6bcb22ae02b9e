"""The log of a site's changes, and which releases it shows to be good.

It has one JSON object a line, oldest first. It holds what the app wrote to the journal when a
change failed, so only root and the site's user, as whom the exporter runs, can read it; only root
writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.files import write_atomically
from ansible.module_utils.aroundtheworld.layout import HomeLayout

MODE = 0o640
# A larger log is cut down to its newest half, and what a rollback needs.
LIMIT_BYTES = 512 * 1024
# A cause holds the end of a journal, which anybody may have filled.
CAUSE_CHARACTERS = 8000

# How a change ends that did not fit the database: that says nothing about the release.
REFUSED = "refused"

Entry = dict[str, Any]


def _group(home: Path) -> int:
    """Return the group of the site's user, which the app's data has too."""
    shared = HomeLayout(home).shared
    return shared.stat().st_gid if shared.is_dir() else 0


def exposed(home: Path) -> bool:
    """Tell whether more, or fewer, users can read the log than should."""
    path = HomeLayout(home).log
    if not path.is_file():
        return False
    about = path.stat()
    return (about.st_mode & 0o777, about.st_gid) != (MODE, _group(home))


def secure(home: Path) -> None:
    """Make the log readable by root and the site's user alone."""
    handle = os.open(HomeLayout(home).log, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        _secure(handle, home)
    finally:
        os.close(handle)


def _secure(handle: int, home: Path) -> None:
    os.fchmod(handle, 0o600)
    os.fchown(handle, -1, _group(home))
    os.fchmod(handle, MODE)


def append_log(home: Path, entry: Mapping[str, Any]) -> None:
    """Append a change to the log, safe from a crash, and keep the log small."""
    cause = str(entry.get("cause", ""))
    if len(cause) > CAUSE_CHARACTERS:  # it begins with what went wrong, and ends with a journal
        half = CAUSE_CHARACTERS // 2
        entry = {**entry, "cause": f"{cause[:half]}\n…\n{cause[-half:]}"}
    handle = os.open(
        HomeLayout(home).log, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, MODE & 0o600
    )
    try:
        _secure(handle, home)
        size = os.fstat(handle).st_size
        cut_off = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        line = json.dumps(entry) + "\n"
        os.write(handle, ("\n" * cut_off + line).encode())
        os.fsync(handle)
    finally:
        os.close(handle)
    if size + len(line) > LIMIT_BYTES:
        trim(home)


def trim(home: Path) -> None:
    """Cut the log down to its newest half, and those older entries that a rollback needs."""
    there = {path.name for path in HomeLayout(home).installed()}
    text = "".join(json.dumps(entry) + "\n" for entry in _kept(read_log(home), there))
    write_atomically(HomeLayout(home).log, text, MODE, group=_group(home))


def _kept(log: Sequence[Entry], there: set[str]) -> list[Entry]:
    """Return the entries that stay: the newest, and the last of each kind about a release.

    For each release on the host, the log must still show what became of it last, and when it last
    ran: `last_good` reads nothing else.
    """
    newest, size = len(log), 0
    while newest and size + len(json.dumps(log[newest - 1])) < LIMIT_BYTES // 2:
        newest -= 1
        size += len(json.dumps(log[newest])) + 1
    known: set[tuple[object, ...]] = set()
    kept: list[Entry] = []
    for index, entry in reversed(list(enumerate(log))):
        done, verb = entry["outcome"] == "done", entry["verb"]
        # What it shows of which release. This goes backwards: the first to show a fact counts.
        facts = {("became", entry["to"])} if entry["outcome"] != REFUSED else set()
        facts |= {("ran", entry["to"])} if done else set()
        if done:
            facts.add(("ran", entry["from"]))
        if done and verb == "rollback":
            facts.add(("became", entry["from"]))
        news = {fact for fact in facts if fact[1] in there} - known
        known |= facts
        if index >= newest:
            kept.append(entry)
        elif news:
            kept.append({**entry, "cause": str(entry.get("cause", ""))[:200], "phases": []})
    return kept[::-1]


def read_log(home: Path) -> list[Entry]:
    """Return the changes in the log, oldest first, without lines that were cut off."""
    entries = []
    try:
        lines = HomeLayout(home).log.read_text().splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return entries


def outcomes(log: list[Entry]) -> dict[str, str]:
    """Return release id to what became of it last: done, reverted, or rolled back from."""
    known: dict[str, str] = {}
    for entry in log:
        if entry["outcome"] != REFUSED:
            known[entry["to"]] = entry["outcome"]
        if entry["verb"] == "rollback" and entry["outcome"] == "done":
            known[entry["from"]] = "rolled back"
    return known


def last_good(home: Path, current: str) -> list[str]:
    """Return the releases that you may go back to, the one before the current first.

    These are the releases that ran on all workers, are still on the host, and did not fail since.
    """
    layout, log = HomeLayout(home), read_log(home)
    known = outcomes(log)
    good: list[str] = []
    for entry in reversed(log):
        if entry["outcome"] != "done":
            continue
        for name in (entry["to"], entry["from"]):
            ran_well = known.get(name, "done") == "done" and layout.release(name).is_dir()
            if name and ran_well and name not in (*good, current):
                good.append(name)
    return good
