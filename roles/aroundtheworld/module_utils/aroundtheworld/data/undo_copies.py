"""Copies of a site's databases from before migrations, each with the release that ran then.

A copy is a directory with the databases and `ABOUT`, which is written last: what has none was cut
off, and does not count.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.clock import now
from ansible.module_utils.aroundtheworld.data.as_worker import LOW, copy_databases, sentences
from ansible.module_utils.aroundtheworld.data.settings import Settings
from ansible.module_utils.aroundtheworld.files import (
    make_directory,
    read_mapping,
    write_atomically,
)
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.systemd import HostError

ABOUT, MAKING = "copy.json", ".making"
Database = Mapping[str, str]


@dataclass(frozen=True)
class UndoCopy:
    """A copy of the databases as they were while a release ran.

    Attributes:
        directory: Where it is.
        time: When it was begun, as `now` writes it.
        release: The release that ran.
        following: The release whose migration came then; of what an undo left, an empty text.
        databases: What it has, each with ``name``, ``kind`` and ``place``.
        wal: The names of SQLite databases that write their log ahead.
        migrated: The releases that the databases had been migrated for.
        done: Whether that migration succeeded.
    """

    directory: Path
    time: str
    release: str
    following: str
    databases: Sequence[Database]
    wal: Sequence[str]
    migrated: Sequence[str]
    done: bool

    @property
    def name(self) -> str:
        """Return what tells it from the others."""
        return self.directory.name

    @property
    def source(self) -> Path:
        """Return the directory with the databases."""
        return self.directory / "databases"

    @property
    def is_left(self) -> bool:
        """Whether an undo left it, and no migration followed."""
        return not self.following

    @property
    def age(self) -> float:
        """Return how many seconds ago it was made, of which the changes are not in it."""
        return max(time.time() - datetime.fromisoformat(self.time).timestamp(), 0.0)

    def about(self) -> dict[str, Any]:
        """Return what is written down of it."""
        return {key: value for key, value in vars(self).items() if key != "directory"}


def read_copies(layout: SiteLayout) -> list[UndoCopy]:
    """Return the copies that are whole, oldest first."""
    copies = []
    for path in sorted(layout.undo.glob(f"[0-9]*/{ABOUT}")):
        about = read_mapping(path)
        if about.keys() == UndoCopy.__dataclass_fields__.keys() - {"directory"}:
            copies.append(UndoCopy(path.parent, **about))
    return copies


def copy_of(copies: Sequence[UndoCopy], release: str) -> UndoCopy | None:
    """Return the newest copy from when a release ran, or nothing."""
    return next((copy for copy in reversed(copies) if copy.release == release), None)


def needed(copies: Sequence[UndoCopy], releases: Collection[str]) -> list[UndoCopy]:
    """Return the copies to keep: for each release on the host, and what the last undo left.

    Of a release it is the newest. If attempts of a migration failed before that, each with a copy
    of what the former one may have left half done, it is the first of these too.
    """
    kept: dict[Path, UndoCopy] = {}
    for release in releases:
        own = [copy for copy in copies if copy.release == release and not copy.is_left]
        if own:
            first = len(own) - 1
            while first and not own[first - 1].done:
                first -= 1
            kept |= {copy.directory: copy for copy in (own[first], own[-1])}
    kept |= {copy.directory: copy for copy in [copy for copy in copies if copy.is_left][-1:]}
    return [copy for copy in copies if copy.directory in kept]


def prune(layout: SiteLayout, releases: Collection[str]) -> None:
    """Remove copies that nobody can go back to any more, and what was cut off.

    Args:
        layout: Where the site is.
        releases: Those that are on the host.
    """
    remove_half(layout)
    copies = read_copies(layout)
    kept = {copy.directory for copy in needed(copies, releases)}
    for copy in copies:
        if copy.directory not in kept:
            # Without this file it does not count, however much of it is left.
            (copy.directory / ABOUT).unlink()
    for path in layout.undo.glob("[0-9]*"):
        if not (path / ABOUT).exists():
            shutil.rmtree(path)


def remove_half(layout: SiteLayout) -> None:
    """Remove a copy that was cut off."""
    if (making := layout.undo / MAKING).exists():
        shutil.rmtree(making)


def record_path(layout: SiteLayout) -> Path:
    """Return the file that is there while databases are exchanged."""
    return Path(layout.undo, "under-way.json")


def read_record(layout: SiteLayout) -> dict[str, Any]:
    """Return what is being exchanged, or nothing.

    That is ``copy``, the name of the copy to go back to, ``left``, that of what there was, as long
    as it may have to be put back, ``from`` and ``to``, their releases, and ``closing``, how the
    site is closed.
    """
    found: dict[str, Any] = read_mapping(record_path(layout))
    return found if found.keys() >= {"copy", "left", "from", "to", "closing"} else {}


def undo_cut_off(layout: SiteLayout) -> str:
    """Return why release and data may not belong together now, or an empty text."""
    record = read_record(layout)
    if not record:
        return ""
    return (
        f"The way back to release {record['to']} with its data was cut off, and the site stands "
        "still. --tags rollback -e aroundtheworld_with_data=true completes it."
    )


class UndoCopies:
    """Makes copies of a site's databases, as the site's user in the sandbox, and removes them."""

    def __init__(self, settings: Settings, program: bytes) -> None:
        """Take what a process of the site needs, and the program that it runs."""
        self.settings, self.layout = settings, settings.layout
        self._program = program

    @property
    def program(self) -> Path:
        """Return the program's file, which is written first if there is another one."""
        path: Path = self.layout.undo / "program"
        for directory in (self.layout.backup, self.layout.undo):
            make_directory(directory, 0o711)
        if not path.exists() or path.read_bytes() != self._program:
            text = self._program.decode("utf-8", "surrogateescape")
            write_atomically(path, text, 0o755)
        return path

    def make(
        self,
        release: str,
        following: str,
        databases: Sequence[Database],
        migrated: Sequence[str],
        priority: Sequence[str] = LOW,
    ) -> UndoCopy:
        """Copy databases as they are now; see `UndoCopy`.

        Raises:
            HostError: One of them has no copy; there is none of the others either.
        """
        program, making = self.program, self.layout.undo / MAKING
        remove_half(self.layout)
        make_directory(making, 0o711)
        begun, target = now(), making / "databases"
        try:
            report = copy_databases(self.settings, program, target, databases, priority)
        except HostError:
            remove_half(self.layout)
            raise
        copy = UndoCopy(
            directory=self._directory(begun),
            time=begun,
            release=release,
            following=following,
            databases=[dict(database) for database in databases],
            wal=sentences(report, "wal"),
            migrated=list(migrated),
            done=False,
        )
        self._write(making, copy)
        making.rename(copy.directory)
        return copy

    def mark_done(self, copy: UndoCopy) -> None:
        """Note that the migration after a copy succeeded."""
        self._write(copy.directory, UndoCopy(copy.directory, **{**copy.about(), "done": True}))

    def _directory(self, begun: str) -> Path:
        """Return a directory that is not there yet, in the order of time."""
        stamp = datetime.fromisoformat(begun).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        numbers = [int(path.name[-3:]) for path in self.layout.undo.glob(f"{stamp}-???")]
        return Path(self.layout.undo, f"{stamp}-{max(numbers, default=-1) + 1:03d}")

    @staticmethod
    def _write(directory: Path, copy: UndoCopy) -> None:
        text = json.dumps(copy.about(), indent=2, sort_keys=True) + "\n"
        write_atomically(directory / ABOUT, text, 0o600)
