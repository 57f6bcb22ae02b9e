"""Where backups, drills, restores and undos keep what they need, in a site's home."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DataLayout:
    """Where that is; `HomeLayout` knows it too.

    Attributes:
        home: The site's home.
    """

    home: Path

    @property
    def backup(self) -> Path:
        """Return the directory of a backup that is being made, and of what is known of the last."""
        return self.home / "backup"

    @property
    def backup_state(self) -> Path:
        """Return the file that says how the last backup went."""
        return self.backup / "state.json"

    @property
    def standstill(self) -> Path:
        """Return the file that is there while the site stands still for its data."""
        return self.backup / "standstill.json"

    @property
    def drill_state(self) -> Path:
        """Return the file that says how the last drill went."""
        return self.backup / "drill.json"

    def failure_of(self, what: str) -> Path:
        """Return the file with the variables of the operator's command, of a backup or drill."""
        return self.backup / ("failure" if what == "backup" else f"{what}-failure")

    @property
    def scratch(self) -> Path:
        """Return the directory into which a drill restores, which is there during one."""
        return self.backup / "drill"

    @property
    def restoring(self) -> Path:
        """Return the directory with a backup that is about to take the place of the data."""
        return self.backup / "restoring"

    @property
    def restore_journal(self) -> Path:
        """Return the file that says how far the last restore came, and what it was."""
        return self.backup / "restore.json"

    @property
    def replaced(self) -> Path:
        """Return the directory with the data from before the last restore."""
        return self.backup / "replaced"

    @property
    def staging(self) -> Path:
        """Return the directory with the databases' copies, which is there during a backup."""
        return self.backup / "staging"

    @property
    def undo(self) -> Path:
        """Return the directory with copies of databases from before migrations."""
        return self.backup / "undo"
