"""A backup, from the lock to the snapshot.

Databases are copied first, one after the other, and files are read after that: so a file that a row
names was there, unless the app has deleted it meanwhile.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.clock import now
from ansible.module_utils.aroundtheworld.data.as_worker import (
    copy_databases,
    invocation,
    sentences,
)
from ansible.module_utils.aroundtheworld.data.exchange import BEFORE
from ansible.module_utils.aroundtheworld.data.failures import BusyError, MissingError
from ansible.module_utils.aroundtheworld.data.journal import restore_cut_off
from ansible.module_utils.aroundtheworld.data.mounts import missing_mounts, mounts_below
from ansible.module_utils.aroundtheworld.data.owners import names_below
from ansible.module_utils.aroundtheworld.data.room import shown, spare
from ansible.module_utils.aroundtheworld.data.settings import Settings, restic_for
from ansible.module_utils.aroundtheworld.data.state import change_state, due, read_state
from ansible.module_utils.aroundtheworld.data.sums import sums
from ansible.module_utils.aroundtheworld.data.undo_copies import undo_cut_off
from ansible.module_utils.aroundtheworld.files import (
    make_directory,
    read_mapping,
    write_atomically,
)
from ansible.module_utils.aroundtheworld.lock import LockedError, release, take, working
from ansible.module_utils.aroundtheworld.rollout.migration import marked
from ansible.module_utils.aroundtheworld.systemd import HostError
from ansible.module_utils.aroundtheworld.untrusted import printable

FORMAT = 1  # of what is in a snapshot
# How long a backup waits for a run to end, and how often it looks.
PATIENCE_SECONDS, PAUSE_SECONDS = 1800.0, 5.0
VANISHED_SHOWN = 10


class Backup:
    """Makes a backup of a site."""

    def __init__(self, settings: Settings, program: Path) -> None:
        """Take the settings, and the program that copies databases; nothing is touched yet."""
        self.settings, self.program = settings, program
        self.layout = settings.layout
        self.restic = restic_for(settings)

    def make(self) -> dict[str, Any]:
        """Make a backup, and return the state of the site's backups; raises `HostError`."""
        with alone(self.settings.site, self.layout.backup / "request.json") as note_phase:
            begun = time.monotonic()
            self.remove_staging()
            identity = self.examine()
            try:
                note_phase("copying the databases")
                notes, left_out = self.copy()
                note_phase("writing to the repository")
                replaced = [mount / BEFORE for mount in mounts_below(self.layout.shared)]
                summary = self.restic.backup(
                    self.settings.site,
                    socket.gethostname(),
                    self.paths(),
                    [*left_out, self.layout.backup_settings, self.layout.hold, *replaced],
                    self.watch,
                )
            finally:
                self.remove_staging()
            for path in summary.vanished[:VANISHED_SHOWN]:
                notes.append(f"{printable(path)} vanished while the backup was made.")
            if (more := len(summary.vanished) - VANISHED_SHOWN) > 0:
                notes.append(f"So did {more} more files.")
            note_phase("removing old backups")
            notes += self.forget()
            seconds = round(time.monotonic() - begun, 1)
            last = {
                "time": now(),
                "id": summary.id[:8],
                "seconds": seconds,
                "bytes": summary.bytes,
                "added": summary.added,
                "notes": notes,
            }
            state: dict[str, Any] = change_state(
                self.layout,
                at=self.settings.at,
                due=due(self.settings.at, seconds),
                repository=self.settings.repository,
                id=identity,
                last=last,
                failed={},
            )
            return state

    # --- Before

    def remove_staging(self) -> None:
        """Remove the copies, also of a backup that was killed."""
        if self.layout.staging.exists():
            shutil.rmtree(self.layout.staging)

    def examine(self) -> str:
        """Return the repository's id, once site and repository are fit for a backup.

        Raises:
            HostError: One of them is not.
        """
        if cut_off := restore_cut_off(self.layout) or undo_cut_off(self.layout):
            raise HostError(cut_off)
        for path in (self.layout.shared, self.layout.claim, self.layout.secrets):
            if not path.exists():
                raise HostError(f"{path} is not there, so there is no whole site to back up.")
        directory = self.restic.directory
        for place in filter(None, (self.layout.shared, directory)):
            if missing := missing_mounts(place):
                raise HostError(
                    f"{missing[0]} is not mounted, and this host's settings say that it should be "
                    f"(/etc/fstab, or a mount unit), for {place}. Mount it, or take it out there."
                )
        if directory:
            check_directory(directory)
            if directory.is_dir() and (room := spare(directory)) < 0:
                raise HostError(
                    f"There is no room for a backup in {directory}: {shown(-room)} less than the "
                    "reserve is left. Make room there, or name another repository."
                )
        return self._repository()

    def _repository(self) -> str:
        """Return the repository's id; a new one is made only where there was none before."""
        before = read_state(self.layout)
        known = before["id"] if before["repository"] == self.settings.repository else ""
        try:
            identity: str = self.restic.check()
        except MissingError as missing:
            if known:
                raise HostError(
                    f"{missing} It had this site's backups, the last of {before['last']['time']}. "
                    "Bring it back; or, to begin with an empty one, name another repository."
                ) from None
            identity = self.restic.make()
        if known and identity != known:
            raise HostError(
                f"The repository {self.settings.repository} is another than that of the last "
                "backup. Bring that back; or, to go on with this one, name it in another way or "
                f"remove {self.layout.backup_state}."
            )
        self.restic.unlock()
        return identity

    # --- Copies

    def copy(self) -> tuple[list[str], list[Path]]:
        """Copy the databases as the site's user.

        Returns:
            What the operator should know, and what has a copy instead.

        Raises:
            HostError: A database has no copy.
        """
        target = self.layout.staging / "databases"
        self.layout.backup.mkdir(mode=0o711, exist_ok=True)
        make_directory(self.layout.staging, 0o711)
        report = copy_databases(self.settings, self.program, target, self.settings.databases)
        left_out = [str(path) for path in report.get("left_out", [])]
        about = {**self.manifest(), "wal": report.get("wal", [])}
        manifest = json.dumps(about, indent=2, sort_keys=True) + "\n"
        write_atomically(self.layout.staging / "manifest.json", manifest, 0o600)
        shared = str(self.layout.shared)
        inside = [Path(path) for path in left_out if os.path.normpath(path).startswith(shared)]
        return sentences(report, "notes"), inside

    def manifest(self) -> dict[str, Any]:
        """Return what is in the backup, for a restore on a host that knows nothing."""
        release = self.layout.current_release()
        return {
            "format": FORMAT,
            "time": now(),
            "site": self.settings.site,
            "home": self.settings.home,
            "user": self.settings.user,
            "host": socket.gethostname(),
            "python": platform.python_version(),
            "machine": platform.machine(),
            "release": release,
            "environment": self.layout.environments_by_release().get(release, ""),
            "databases": list(self.settings.databases),
            "copies": sums(self.layout.staging / "databases"),
            "owners": names_below(self.layout.shared),
            "migrated": marked(self.layout.home, release),
        }

    # --- The snapshot

    def paths(self) -> list[Path]:
        """Return what is in a snapshot: copies, files, settings, log, release and environment."""
        release = self.layout.current_release()
        environment = self.layout.environments_by_release().get(release, "")
        perhaps = [self.layout.log]
        perhaps += [self.layout.release(release)] if release else []
        perhaps += [self.layout.environment(environment)] if environment else []
        present = [path for path in perhaps if path.exists()]
        return [self.layout.staging, self.layout.shared, self.layout.etc, *present]

    def watch(self) -> None:
        """End the backup before it takes the last of the room; raises `HostError`."""
        directory = self.restic.directory
        if directory and directory.is_dir() and spare(directory) < 0:
            raise HostError(
                f"There is no room for this backup in {directory}, so it was ended. "
                "What was in it is still there. Make room, or name another repository."
            )

    def forget(self) -> list[str]:
        """Remove old backups; return what the operator should know of that."""
        try:
            self.restic.forget(self.settings.site, socket.gethostname(), self.settings.keep)
        except BusyError as busy:
            return [f"Old backups are still there; the next one will remove them. {busy}"]
        return []


def check_directory(directory: Path) -> None:
    """Refuse a repository that is something else, or that others can read; raises `HostError`."""
    if not directory.is_dir():
        return
    if any(directory.iterdir()) and not (directory / "config").is_file():
        raise HostError(
            f"{directory} is not empty and no repository of restic. Name another directory in "
            "aroundtheworld_backup_repository; it is made when it is not there."
        )
    about = directory.stat()
    if about.st_uid or about.st_mode & 0o077:
        owner = "" if about.st_uid else ", and only root may enter it"
        raise HostError(
            f"The repository {directory} has to belong to root{owner}: it is "
            f"{about.st_mode & 0o777:04o}, of user {about.st_uid}. On the host: chown root: "
            f"{directory}; chmod 0700 {directory}"
        )


@contextmanager
def alone(site: str, request: Path) -> Iterator[Callable[[str], None]]:
    """Have the site for a backup, after a run that has it now; raises `LockedError`.

    Args:
        site: The site.
        request: A file that says who asked for the backup, if it was not the timer.
    """
    who = str(read_mapping(request).get("who") or f"the timer on {socket.gethostname()}")
    request.unlink(missing_ok=True)
    # It leaves the site as it is, so a person who has locked the site need not lose a day.
    owner = {
        "site": site,
        "run": invocation(),
        "who": who,
        "doing": "backup",
        "process": {},
        "despite_hold": True,
    }
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            take(owner)
            break
        except LockedError as locked:
            if time.monotonic() > deadline:
                raise HostError(f"Another run went on, so there is no backup. {locked}") from None
            time.sleep(PAUSE_SECONDS)
    try:
        with working(owner, "backup") as note_phase:
            yield note_phase
    finally:
        release(owner)
