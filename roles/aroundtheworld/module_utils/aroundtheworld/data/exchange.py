"""Files of a backup take the place of those that are there, by renames that can be undone.

The whole directory is renamed away, and the other one into its place. What is mounted cannot be
renamed: there the entries are exchanged, one after the other, and what was there before stays on
the same disk.

What has happened to an entry follows from where it is, so the next run takes back what was cut off.
No process of the site runs meanwhile.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.aroundtheworld.files import remove
from ansible.module_utils.aroundtheworld.systemd import HostError

# In what is mounted: what was there before, and what is not whole yet.
BEFORE, FRESH = ".aroundtheworld-before", ".aroundtheworld-fresh"


@dataclass(frozen=True)
class Exchange:
    """What is exchanged.

    Attributes:
        live: The directory.
        staged: What is to be there, for root alone.
        before: Where what was there goes, on the file system of `live`'s parent, in a directory for
            this alone.
        mounts: What is mounted at `live` or below it.
    """

    live: Path
    staged: Path
    before: Path
    mounts: Sequence[Path]

    @property
    def holding(self) -> set[Path]:
        """Return the directories that stay: what is mounted, and what leads there."""
        return {
            path
            for mount in self.mounts
            for path in (mount, *mount.parents)
            if path.is_relative_to(self.live)
        }

    def places(self) -> list[Path]:
        """Return the entries to exchange, by their places."""
        return sorted(set(self._places(self.live)))

    def _places(self, place: Path) -> Iterator[Path]:
        if place not in self.holding:
            yield place
            return
        for directory in (place, self._staged(place)):
            for entry in directory.iterdir() if directory.is_dir() else ():
                if entry.name not in (BEFORE, FRESH):
                    yield from self._places(place / entry.name)

    def needed(self) -> dict[Path, int]:
        """Return how many bytes are copied to each of the disks that are mounted."""
        sizes = dict.fromkeys(self.mounts, 0)
        for place in self.places():
            if (mount := self._mount(place)) and os.path.lexists(self._staged(place)):
                sizes[mount] += _bytes(self._staged(place))
        return sizes

    def forward(self) -> None:
        """Put what is staged in its place."""
        for place in self.places():
            staged, before = self._staged(place), self._before(place)
            if os.path.lexists(place) and not os.path.lexists(before):
                before.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                place.rename(before)
            if os.path.lexists(staged):
                self._move(staged, place)
        for mount in self.mounts:
            remove(mount / FRESH)

    def settle(self) -> None:
        """Give the directories that stayed the owner and mode of those that are staged."""
        for place in self.holding:
            staged = self._staged(place)
            if staged.is_dir():
                about = staged.stat()
                os.chown(place, about.st_uid, about.st_gid)
                place.chmod(about.st_mode & 0o7777)

    def back(self, had: Sequence[str]) -> None:
        """Put everything back.

        Args:
            had: The places where something was, as texts.
        """
        known = set(had)
        for mount in self.mounts:
            remove(mount / FRESH)
        for place in {*self.places(), *map(Path, had)}:
            before = self._before(place)
            if os.path.lexists(before):
                remove(place)
                before.rename(place)
            elif str(place) not in known:
                remove(place)

    def forget(self) -> None:
        """Remove what was there before an earlier exchange, and all that is kept beside it."""
        for path in (self.before.parent, *(mount / BEFORE for mount in self.mounts)):
            remove(path)

    def _move(self, staged: Path, place: Path) -> None:
        mount = self._mount(place)
        if not mount:
            staged.rename(place)
            return
        fresh = mount / FRESH
        remove(fresh)
        fresh.mkdir(mode=0o700)
        command = ["cp", "--archive", "--no-target-directory", "--"]
        command += [str(staged), str(fresh / place.name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise HostError(f"{place} cannot be written: {done.stderr.strip()[-500:]}")
        os.sync()
        (fresh / place.name).rename(place)

    def _mount(self, place: Path) -> Path | None:
        """Return the innermost of what is mounted that a place is in."""
        found = [mount for mount in self.mounts if place.is_relative_to(mount)]
        return max(found, key=lambda mount: len(mount.parts), default=None)

    def _staged(self, place: Path) -> Path:
        return self.staged / place.relative_to(self.live)

    def _before(self, place: Path) -> Path:
        mount = self._mount(place)
        if mount:
            return mount / BEFORE / place.relative_to(mount)
        return self.before / place.relative_to(self.live)


def _bytes(path: Path) -> int:
    """Return what a file, or all files in a directory, take."""
    total = path.lstat().st_blocks * 512
    if path.is_dir() and not path.is_symlink():
        for root, directories, names in os.walk(path):
            total += sum(
                Path(root, name).lstat().st_blocks * 512 for name in (*directories, *names)
            )
    return total
