"""A drill: the last backup is restored beside the site, looked through, and removed again.

What finds which damage: restic compares each piece of a file with its hash when it reads the
repository, and again what it has written. The sums in the manifest tell whether copies of databases
are those that were made. SQLite and PostgreSQL tell whether these can be used. And a snapshot that
is older than the last backup tells that one is missing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.clock import now
from ansible.module_utils.aroundtheworld.data.as_worker import (
    own_directory,
    run_as_worker,
    sentences,
)
from ansible.module_utils.aroundtheworld.data.chosen import (
    Snapshot,
    choose,
    home_of,
    moment,
    told,
)
from ansible.module_utils.aroundtheworld.data.copying import SUFFIXES, Database, copy_name
from ansible.module_utils.aroundtheworld.data.room import shown, spare
from ansible.module_utils.aroundtheworld.data.settings import Settings, restic_for
from ansible.module_utils.aroundtheworld.data.state import change_drill, due, read_state
from ansible.module_utils.aroundtheworld.data.sums import sums
from ansible.module_utils.aroundtheworld.systemd import HostError
from ansible.module_utils.aroundtheworld.untrusted import printable


class Drill:
    """Tries whether a site's last backup can be restored."""

    def __init__(self, settings: Settings, program: Path) -> None:
        """Take the settings, and the program that checks databases; nothing is touched yet."""
        self.settings, self.program = settings, program
        self.layout = settings.layout
        self.restic = restic_for(settings)
        self.scratch = self.layout.scratch

    def make(self) -> dict[str, Any]:
        """Make a drill, and return the state of drills; raises `HostError`."""
        begun = time.monotonic()
        self.remove_scratch()
        snapshot = self.choose()
        try:
            size, notes = self.restore(snapshot)
            found = self.check(snapshot)
        finally:
            self.remove_scratch()
        seconds = round(time.monotonic() - begun, 1)
        last = {
            "time": now(),
            "id": str(snapshot["id"])[:8],
            "of": moment(snapshot).isoformat(timespec="seconds"),
            "seconds": seconds,
            "bytes": size,
            "files": "read" if notes else "restored",
            "databases": [dict(entry) for entry in found["databases"]],
            "notes": [*notes, *found["notes"]],
        }
        at = self.settings.drill_at
        state: dict[str, Any] = change_drill(
            self.layout, at=at, due=due(at, seconds), last=last, failed={}
        )
        return state

    def remove_scratch(self) -> None:
        """Remove what was restored, also by a drill that was killed."""
        if self.scratch.exists():
            shutil.rmtree(self.scratch)

    def tidy(self) -> None:
        """Remove what a drill that was killed left, also on the servers of databases.

        Raises:
            HostError: Some of it could not be removed; the next drill will do that.
        """
        if not self.scratch.exists():
            return
        target = Path(self.scratch, "databases")
        try:
            if target.is_dir():
                run_as_worker(
                    self.settings,
                    self.program,
                    "check",
                    {**self._task(target), "tidy": True},
                    target,
                )
        finally:
            self.remove_scratch()

    def _task(self, source: Path) -> dict[str, Any]:
        """Return what the process that checks databases has to know."""
        whose = f"{socket.gethostname()}/{self.settings.site}"
        return {
            "source": str(source),
            "databases": list(self.settings.databases),
            "scratch": whose,
        }

    # --- The backup

    def choose(self) -> Snapshot:
        """Return the snapshot to try; raises `HostError` when the last backup is not there."""
        state = read_state(self.layout)
        identity, last = self.restic.check(), state["last"]
        ours = state["repository"] == self.settings.repository
        if ours and state["id"] not in ("", identity):
            raise HostError(
                f"The repository {self.settings.repository} is another than that of the last "
                "backup, so that one could not be restored from it. Bring it back."
            )
        self.restic.unlock()
        snapshots = self.restic.snapshots(self.settings.site)
        snapshot = choose(snapshots, self.settings.site, socket.gethostname(), "")
        known = any(str(each["id"]).startswith(last.get("id", "")) for each in snapshots)
        if ours and last and not known and moment(snapshot) < datetime.fromisoformat(last["time"]):
            raise HostError(
                f"The last backup, {last['id']} of {last['time']}, is not in "
                f"{self.settings.repository}; the last there is {told(snapshot)}."
            )
        return snapshot

    def restore(self, snapshot: Snapshot) -> tuple[int, list[str]]:
        """Restore the snapshot, and compare all that was written with its hashes.

        Without room for all of it, databases are restored, and everything is read from the
        repository, which compares what is there with the same hashes.

        Returns:
            The bytes in it, and what the operator should know.

        Raises:
            HostError: It cannot be restored.
        """
        identity, notes = str(snapshot["id"]), []
        staging = home_of(snapshot) / "backup" / "staging"
        size = self.restic.restore_bytes(identity)
        self.scratch.mkdir(mode=0o711)
        self.scratch.chmod(0o711)
        self._restored.mkdir(mode=0o700)
        only: list[Path] = []
        if (room := spare(self.scratch)) < size:
            notes.append(
                f"Files were read, and only databases restored: all of it takes {shown(size)}, and "
                f"{shown(max(room, 0))} may be used in {self.layout.home}."
            )
            only = [staging]
        try:
            self.restic.restore(identity, self._restored, only, self.watch)
            if only:
                self.restic.read(identity)
        except HostError as failure:
            raise HostError(
                f"The backup {told(snapshot)} could not be restored: {failure}"
            ) from None
        return size, notes

    @property
    def _restored(self) -> Path:
        return Path(self.scratch, "restored")

    def watch(self) -> None:
        """End the drill before it takes the last of the room; raises `HostError`."""
        if spare(self.scratch) < 0:
            raise HostError(f"the room in {self.layout.home} came to its end meanwhile")

    # --- What is in it

    def check(self, snapshot: Snapshot) -> Mapping[str, Any]:
        """Return what is known of the databases in it; raises `HostError` for any damage."""
        staging = Path(self._restored, *home_of(snapshot).parts[1:], "backup", "staging")
        # Other sites may have the repository's password, and write into it what they like.
        if staging.resolve() != Path(self._restored.resolve(), staging.relative_to(self._restored)):
            raise HostError(f"The backup {told(snapshot)} has a link in the way to its databases.")
        try:
            manifest = json.loads((staging / "manifest.json").read_text())
            databases = [_database(entry) for entry in manifest["databases"]]
            copies = dict(manifest.get("copies", {}))
        except (OSError, ValueError, KeyError, TypeError) as error:
            told_of = printable(str(error))
            raise HostError(f"The backup {told(snapshot)} has no manifest ({told_of}).") from None
        problems = self._different(staging / "databases", databases, copies)
        target = self._hand_over(staging / "databases", databases)
        places = {entry["name"]: entry["place"] for entry in self.settings.databases}
        now_named = [
            {**each, "place": places.get(each["name"], each["place"])} for each in databases
        ]
        task = {**self._task(target), "databases": now_named}
        found = run_as_worker(self.settings, self.program, "check", task, target)
        problems += sentences(found, "problems")
        if problems:
            raise HostError(f"The backup {told(snapshot)} is damaged. {' '.join(problems)}")
        return {
            "databases": [_plain(entry) for entry in found.get("databases", [])],
            "notes": sentences(found, "notes"),
        }

    def _different(
        self, directory: Path, databases: Sequence[Database], copies: Mapping[str, str]
    ) -> list[str]:
        """Return what is wrong with the copies, compared with those that were made."""
        names = [copy_name(database) for database in databases]
        found = sums(directory)
        return [
            f"Its copy {name} {'is not the one that was made' if name in found else 'is missing'}."
            for name in names
            if name not in found or found[name] != copies.get(name, found[name])
        ]

    def _hand_over(self, directory: Path, databases: Sequence[Database]) -> Path:
        """Give the copies to the site's user, who alone opens them, and return where they are."""
        target = Path(self.scratch, "databases")
        owner = own_directory(target, self.layout.shared)
        for path in [directory / copy_name(database) for database in databases]:
            if path.is_file() and not path.is_symlink():
                moved = path.rename(target / path.name)
                os.chown(moved, owner.st_uid, owner.st_gid, follow_symlinks=False)
                moved.chmod(0o600)
        return target


def _database(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return a database of a manifest; raises `ValueError` for one that no role wrote."""
    name, kind, place = (str(entry[key]) for key in ("name", "kind", "place"))
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or kind not in SUFFIXES or "\0" in place:
        raise ValueError(f"it names a database {name!r} of the kind {kind!r}")
    return {"name": name, "kind": kind, "place": place}


def _plain(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a worker's process says of a database, in its form and size."""
    return {
        "name": printable(str(entry["name"]), 40),
        "how": printable(str(entry["how"]), 20),
        "tables": int(entry["tables"]),
        "rows": int(entry["rows"]),
    }
