"""Lay what a backup has of the app's data beside the site, which is not touched."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from ansible.module_utils.aroundtheworld.data.chosen import Snapshot, home_of
from ansible.module_utils.aroundtheworld.data.restic import Restic
from ansible.module_utils.aroundtheworld.data.room import shown, spare
from ansible.module_utils.aroundtheworld.systemd import HostError


def problem_with(target: Path) -> str:
    """Return why nothing can be laid into a directory, or an empty text."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        return "it is no directory"
    if target.is_dir() and any(target.iterdir()):
        return "it is not empty"
    if not target.parent.is_dir():
        return f"there is no directory {target.parent}"
    return ""


def lay_beside(restic: Restic, snapshot: Snapshot, target: Path) -> None:
    """Have ``databases`` and ``shared`` of a snapshot in a directory, whole or not at all.

    Only root can enter it: the files in it belong to the numbers that their owners had.

    Raises:
        HostError: There is no room, or the backup cannot be read.
    """
    identity, home = str(snapshot["id"]), home_of(snapshot)
    needed = restic.restore_bytes(identity)
    if (room := spare(target.parent)) < needed:
        raise HostError(
            f"The backup {identity[:8]} has {shown(needed)}, and {shown(max(room, 0))} may be used "
            f"in {target.parent}."
        )
    shared, staging = home / "shared", home / "backup" / "staging"
    # Beside the target, so that it becomes whole by a rename; only root can enter it.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as work:
        restic.restore(identity, Path(work, "restored"), [shared, staging])
        whole = Path(work, "whole")
        whole.mkdir(mode=0o700)
        for path, name in (
            (shared, "shared"),
            (staging / "databases", "databases"),
            (staging / "manifest.json", "manifest.json"),
        ):
            Path(work, "restored", *path.parts[1:]).rename(whole / name)
        if target.exists():
            target.rmdir()
        whole.rename(target)


def remove_half(target: Path) -> None:
    """Remove what a run that was killed left beside a directory."""
    for left in target.parent.glob(f".{target.name}.????????"):
        shutil.rmtree(left)
