"""Whose the files of a backup are: by name, because another host has other numbers."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

Names = Mapping[str, Mapping[str, str]]
"""``users`` and ``groups``, each from a number, as a text, to the name of that number."""

SHOWN = 5
NAMES: Mapping[str, Callable[[int], str]] = {
    "users": lambda number: pwd.getpwuid(number).pw_name,
    "groups": lambda number: grp.getgrgid(number).gr_name,
}
NUMBERS: Mapping[str, Callable[[str], int]] = {
    "users": lambda name: pwd.getpwnam(name).pw_uid,
    "groups": lambda name: grp.getgrnam(name).gr_gid,
}
Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


def names_below(directory: Path) -> dict[str, dict[str, str]]:
    """Return the names of all owners and groups of what is in a directory, as far as known."""
    numbers: dict[str, set[int]] = {"users": set(), "groups": set()}
    for about in _stats(directory):
        numbers["users"].add(about.st_uid)
        numbers["groups"].add(about.st_gid)
    found: dict[str, dict[str, str]] = {}
    for kind, of_kind in numbers.items():
        names = {str(each): _found(NAMES[kind], each) for each in of_kind}
        found[kind] = {number: name for number, name in names.items() if name}
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
        uid, gid = former_ids
        self._known = {
            "users": {0: 0, uid: self.user.pw_uid},
            "groups": {0: 0, gid: self.user.pw_gid},
        }

    def give(self, directory: Path) -> None:
        """Give a directory and all in it to whom it belongs; nobody else may reach it yet."""
        for path, about in _entries(directory):
            uid = self._here("users", about.st_uid)
            gid = self._here("groups", about.st_gid)
            if (uid, gid) != (about.st_uid, about.st_gid):
                mode = about.st_mode & 0o7777
                os.chown(path, uid, gid, follow_symlinks=False)
                if mode & 0o6000 and not path.is_symlink():  # which the kernel takes away
                    path.chmod(mode)

    def _here(self, kind: str, number: int) -> int:
        """Return the number on this host of a user or group of the backup's host."""
        known = self._known[kind]
        if number not in known:
            name = self.names.get(kind, {}).get(str(number), "")
            found = _found(NUMBERS[kind], name) if name else number
            if found is None:
                self.strangers.add(name)
            known[number] = found or 0
        return known[number]

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


def _found(ask: Callable[[Asked], Answer], about: Asked) -> Answer | None:
    """Return what the host's database of users and groups knows, or nothing."""
    try:
        return ask(about)
    except KeyError:
        return None


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
