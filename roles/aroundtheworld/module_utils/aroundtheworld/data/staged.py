"""A backup, written beside the site's data and looked through, before anything is stopped."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.data.chosen import Snapshot, home_of, told
from ansible.module_utils.aroundtheworld.data.exchange import Exchange
from ansible.module_utils.aroundtheworld.data.mounts import missing_mounts, mounts_below
from ansible.module_utils.aroundtheworld.data.owners import Owners
from ansible.module_utils.aroundtheworld.data.restic import Restic
from ansible.module_utils.aroundtheworld.data.room import shown, spare
from ansible.module_utils.aroundtheworld.data.settings import Settings
from ansible.module_utils.aroundtheworld.files import make_directory, read_mapping
from ansible.module_utils.aroundtheworld.layout import WHOLE, SiteLayout
from ansible.module_utils.aroundtheworld.systemd import HostError


class Staged:
    """What a backup has, in a directory of root's.

    Attributes:
        manifest: What the backup says of itself.
    """

    def __init__(self, settings: Settings, snapshot: Snapshot) -> None:
        """Take the site and the backup; nothing is written yet."""
        self.settings, self.snapshot = settings, snapshot
        self.layout = settings.layout
        self.directory: Path = self.layout.restoring
        self.home = home_of(snapshot)
        self.manifest: Mapping[str, Any] = {}

    # --- What there is

    @property
    def shared(self) -> Path:
        """Return the files of the app, where only root comes to: they had others' numbers."""
        return self._restored(self.home / "shared")

    @property
    def databases(self) -> Path:
        """Return the directory of the databases' copies."""
        return self.directory / "databases"

    @property
    def release(self) -> str:
        """Return the release that ran then."""
        return str(self.manifest.get("release", ""))

    @property
    def environment(self) -> str:
        """Return that release's virtual environment."""
        return str(self.manifest.get("environment", ""))

    def _restored(self, path: Path) -> Path:
        """Return where a path of the backup's host is now."""
        return Path(self.directory, "tree", *path.parts[1:])

    def secret(self, name: str) -> Path:
        """Return the file with a secret, which need not be there."""
        return self._restored(Path("/etc", self.settings.site, "secrets", name))

    @property
    def log(self) -> Path:
        """Return the log of changes, which need not be there."""
        return self._restored(self.home / self.layout.log.name)

    def exchange(self) -> Exchange:
        """Return the exchange of these files for those that are there."""
        shared = self.layout.shared
        return Exchange(shared, self.shared, self.layout.replaced / "shared", mounts_below(shared))

    # --- How it comes there

    def write(self, restic: Restic) -> None:
        """Write all of the backup, and check it.

        Raises:
            HostError: There is no room, or the backup cannot be read.
        """
        identity = str(self.snapshot["id"])
        if missing := missing_mounts(self.layout.shared):
            raise HostError(
                f"{missing[0]} is not mounted, and this host's settings say that it should be. "
                "Mount it, so that the data is written to where it belongs."
            )
        self.remove()
        make_directory(self.layout.backup, 0o711)
        needed, room = restic.restore_bytes(identity), spare(self.layout.backup)
        if room < needed:
            hint = ""
            if self.layout.replaced.exists():
                hint = f" What was there before the last restore is in {self.layout.replaced}."
            raise HostError(
                f"The backup {identity[:8]} has {shown(needed)}, and {shown(max(room, 0))} may be "
                f"used in {self.layout.backup}.{hint}"
            )
        self.directory.mkdir(mode=0o711)
        tree = self.directory / "tree"
        tree.mkdir(mode=0o700)
        restic.restore(identity, tree, [])
        staging = self._restored(self.home / "backup" / "staging")
        self.manifest = read_mapping(staging / "manifest.json")
        if not self.manifest:
            raise HostError(
                f"The backup {told(self.snapshot)} has no manifest, so it is not whole."
            )

    def remove(self) -> None:
        """Remove what was written, also by a run that was killed."""
        if self.directory.exists():
            shutil.rmtree(self.directory)

    def give_owners(self) -> list[str]:
        """Give the files to whom they belong on this host; return what an operator should know."""
        about = self.shared.stat()
        owners = Owners(
            self.manifest.get("owners", {}),
            str(self.manifest["user"]),
            (about.st_uid, about.st_gid),
            self.settings.user,
        )
        owners.give(self.shared)
        # The copies are read by the site's user.
        copies = self._restored(self.home / "backup" / "staging" / "databases")
        copies.chmod(0o700)
        for path in (copies, *copies.iterdir()):
            os.chown(path, owners.user.pw_uid, owners.user.pw_gid, follow_symlinks=False)
        copies.rename(self.databases)
        return list(owners.notes())

    # --- Whether it can be used

    def check_room(self) -> None:
        """Raise `HostError` when a disk below the data has no room for what goes there."""
        for mount, needed in self.exchange().needed().items():
            if (room := spare(mount)) < needed:
                raise HostError(
                    f"The backup has {shown(needed)} for {mount}, which is another disk, and "
                    f"{shown(max(room, 0))} may be used there."
                )

    def install_release(self) -> None:
        """Have the release that ran then on the host, with its virtual environment."""
        layout = self.layout
        if not self.release or self.home != layout.home:
            return
        for place, whole in (
            (layout.environment(self.environment), layout.environment(self.environment) / WHOLE),
            (layout.release(self.release), layout.release(self.release)),
        ):
            staged = self._restored(place)
            if whole.exists() or not staged.is_dir():
                continue
            if place.exists():
                shutil.rmtree(place)
            place.parent.mkdir(exist_ok=True)
            staged.rename(place)


def release_problems(manifest: Mapping[str, Any], layout: SiteLayout) -> Iterator[str]:
    """Yield why the release of a backup cannot run on this host, each a sentence."""
    python, machine = platform.python_version(), platform.machine()
    if _minor(str(manifest.get("python", ""))) != _minor(python):
        yield f"its Python is {manifest.get('python')}, and this host's {python}"
    if manifest.get("machine") != machine:
        yield f"its machine is {manifest.get('machine')}, and this host is {machine}"
    if manifest.get("home") != str(layout.home):
        yield f"its home is {manifest.get('home')}, and here it is {layout.home}"


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
