"""Whose the files of a backup are: by name, because another host has other numbers."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Names = Mapping[str, Mapping[str, str]]
"""``users`` and ``groups``, each from a number, as a text, to the name of that number."""

SHOWN = 5


def names_below(directory: Path) -> dict[str, dict[str, str]]:
    """Return the names of all owners and groups of what is in a directory, as far as known."""
    users, groups = set(), set()
    for about in _stats(directory):
        users.add(about.st_uid)
        groups.add(about.st_gid)
    found: dict[str, dict[str, str]] = {"users": {}, "groups": {}}
    for uid in users:
        if name := _known(lambda: pwd.getpwuid(uid).pw_name):  # noqa: B023 - called at once
            found["users"][str(uid)] = name
    for gid in groups:
        if name := _known(lambda: grp.getgrgid(gid).gr_name):  # noqa: B023 - called at once
            found["groups"][str(gid)] = name
    return found


class Owners:
    """Gives files that came with the numbers of another host to those who are meant.

    Attributes:
        strangers: Names that this host does not have; what was theirs is root's.
    """

    def __init__(self, names: Names, former: str, former_ids: tuple[int, int], user: str) -> None:
        """Take who had which number.

        Args:
            names: Those of the backup; empty in one of an older role.
            former: Whom the site ran as.
            former_ids: Whose the data's directory was, which is known without names, too.
            user: Whom the site runs as now.
        """
        self.names = names
        self.former, self.former_ids = former, former_ids
        self.user = pwd.getpwnam(user)
        self.strangers: set[str] = set()
        self._users: dict[int, int] = {0: 0, former_ids[0]: self.user.pw_uid}
        self._groups: dict[int, int] = {0: 0, former_ids[1]: self.user.pw_gid}

    def give(self, directory: Path) -> None:
        """Give a directory and all in it to whom it belongs; nobody else may reach it yet."""
        for path, about in _entries(directory):
            uid, gid = self._user(about.st_uid), self._group(about.st_gid)
            if (uid, gid) != (about.st_uid, about.st_gid):
                mode = about.st_mode & 0o7777
                os.chown(path, uid, gid, follow_symlinks=False)
                if mode & 0o6000 and not path.is_symlink():  # which the kernel takes away
                    path.chmod(mode)

    def _user(self, number: int) -> int:
        if number not in self._users:
            name = self.names.get("users", {}).get(str(number), "")
            found = _known(lambda: str(pwd.getpwnam(name).pw_uid)) if name else str(number)
            self._users[number] = self._or_root(found, name)
        return self._users[number]

    def _group(self, number: int) -> int:
        if number not in self._groups:
            name = self.names.get("groups", {}).get(str(number), "")
            found = _known(lambda: str(grp.getgrnam(name).gr_gid)) if name else str(number)
            self._groups[number] = self._or_root(found, name)
        return self._groups[number]

    def _or_root(self, found: str, name: str) -> int:
        if not found:
            self.strangers.add(name)
        return int(found or 0)

    def notes(self) -> Iterator[str]:
        """Yield what an operator should know of them, each a sentence."""
        if self.strangers:
            yield (
                f"This host does not have {', '.join(sorted(self.strangers)[:SHOWN])}, to whom "
                "some files belonged; these are root's now."
            )
        if not self.names:
            yield (
                "An older version of the role made this backup, without the names of owners; "
                "files of others than the site's user have the numbers that they had."
            )


def _known(ask: Any) -> str:  # noqa: ANN401 - a function without arguments
    """Return what a question to the user database finds, or an empty text."""
    try:
        return str(ask())
    except KeyError:
        return ""


def _entries(directory: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield a directory and all there is in it, without following links."""
    yield directory, directory.lstat()
    left = [directory]
    while left:
        with os.scandir(left.pop()) as entries:
            for entry in entries:
                yield Path(entry.path), entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    left.append(Path(entry.path))


def _stats(directory: Path) -> Iterator[os.stat_result]:
    """Yield the owners of a directory and of all in it, while it changes."""
    for root, _, names, handle in os.fwalk(directory, follow_symlinks=False):
        del root
        yield os.fstat(handle)
        for name in names:
            try:
                yield os.stat(name, dir_fd=handle, follow_symlinks=False)
            except FileNotFoundError:
                continue
