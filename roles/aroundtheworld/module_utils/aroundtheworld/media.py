"""Directories in ``shared/`` that workers write and nginx reads.

Workers own ``shared/`` and all that is in it. So root follows no link there, and changes nothing
that a worker might have put in the place of what it has looked at.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from ansible.module_utils.aroundtheworld.systemd import HostError

# nginx's group reads; what is made in a directory with this mode has its group, too.
MODE = 0o2750
# nginx comes through the directories on the way, and cannot list them.
THROUGH = 0o001
IN_PLACE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


class Media:
    """Gives the directories of media their owner, group and mode, and makes those that lack."""

    def __init__(self, shared: Path, directories: list[str], group: int) -> None:
        """Take ``shared/``, directories relative to it, and the group of nginx's processes."""
        self._shared, self._directories, self._group = shared, directories, group

    def steps(self) -> list[str]:
        """Return what `carry_out` will do, each a sentence; raises `HostError` for a link."""
        return [
            f"let nginx read {self._shared / directory}"
            for directory in self._directories
            if not self._is_right(directory)
        ]

    def _is_right(self, directory: str) -> bool:
        with self._opened(directory, make=False) as path:
            if not path:
                return False
            *on_the_way, last = map(os.fstat, path)
            return (last.st_gid, stat.S_IMODE(last.st_mode)) == (self._group, MODE) and all(
                status.st_mode & THROUGH for status in on_the_way
            )

    def carry_out(self) -> None:
        """Do it; raises `HostError` for a link in the place of a directory."""
        for directory in self._directories:
            if not self._is_right(directory):
                with self._opened(directory, make=True) as (*on_the_way, last):
                    for each in on_the_way:
                        os.fchmod(each, stat.S_IMODE(os.fstat(each).st_mode) | THROUGH)
                    self._give(last, os.fstat(last).st_uid)

    @contextlib.contextmanager
    def _opened(self, directory: str, *, make: bool) -> Iterator[list[int]]:
        """Open a directory and those on the way to it, and follow no link; none if one lacks."""
        path: list[int] = []
        with contextlib.ExitStack() as opened:
            try:
                here = opened.enter_context(_closing(os.open(self._shared, IN_PLACE)))
                owner = os.fstat(here)
                for part in Path(directory).parts:
                    if make:
                        with contextlib.suppress(FileExistsError):
                            os.mkdir(part, 0o750, dir_fd=here)
                            os.chown(
                                part, owner.st_uid, owner.st_gid, dir_fd=here, follow_symlinks=False
                            )
                    here = opened.enter_context(
                        _closing(os.open(part, IN_PLACE | os.O_DIRECTORY, dir_fd=here))
                    )
                    path.append(here)
            except FileNotFoundError:
                path = []
            except OSError as error:
                raise HostError(
                    f"{self._shared / directory} cannot be a directory that nginx serves: "
                    f"{error.strerror}. It must be a directory, and no link may lead to it."
                ) from None
            yield path

    def _give(self, directory: int, owner: int) -> None:
        """Let nginx's group read a directory and all that its owner has in it."""
        for _, names, files, here in os.fwalk(".", dir_fd=directory):
            for name in files:
                with (
                    contextlib.suppress(OSError),
                    _closing(os.open(name, IN_PLACE, dir_fd=here)) as file,
                ):
                    self._change(file, owner, stat.S_ISREG, lambda mode: mode | 0o040)
            for name in names:
                with (
                    contextlib.suppress(OSError),
                    _closing(os.open(name, IN_PLACE | os.O_DIRECTORY, dir_fd=here)) as inner,
                ):
                    self._change(inner, owner, stat.S_ISDIR, lambda mode: mode | 0o2050)
        # Last, because it is by this that a run sees whether all is done.
        self._change(directory, owner, stat.S_ISDIR, lambda _: MODE)

    def _change(
        self, opened: int, owner: int, kind: Callable[[int], bool], mode: Callable[[int], int]
    ) -> None:
        """Change group and mode of an open file, if it is of this kind and its owner's."""
        status = os.fstat(opened)
        if kind(status.st_mode) and status.st_uid == owner:
            os.fchown(opened, -1, self._group)
            os.fchmod(opened, mode(stat.S_IMODE(status.st_mode)))


@contextlib.contextmanager
def _closing(opened: int) -> Iterator[int]:
    try:
        yield opened
    finally:
        os.close(opened)
