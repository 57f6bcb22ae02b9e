"""A directory that is made of files and links whose names somebody else chose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, BinaryIO

from aroundtheworld_controller.variables import BadInputError

MOST_ENTRIES = 100_000
MOST_BYTES = 4 * 1024**3
CHUNK = 1 << 20  # bytes that are in memory at a time
LONGEST = 255  # bytes of one name, on any usual file system
MOST_LINKS = 40  # that the kernel follows for one path

DIRECTORY, FILE, LINK = "a directory", "a file", "a link"
Parts = tuple[str, ...]


class BadSourceError(BadInputError):
    """The source cannot be used; the message says which variable to mend, and how."""


class SourceTree:
    """Writes files below a new directory, and never outside.

    Whether a name is inside is decided by the names alone. Links are written last, by `finish`, so
    there is none on the disk that anything could be written through, and each is followed to its
    end before, among the names too. So what is refused does not depend on Python or the file
    system, except that a file system may take two names for one.

    Messages are for after "the archive cannot be used: ". All methods raise `BadSourceError`.
    """

    def __init__(self, directory: Path) -> None:
        """Write below `directory`, which is there and empty."""
        self.directory = directory
        self.kinds: dict[Parts, str] = {(): DIRECTORY}
        self.links: dict[Parts, str] = {}
        self.bytes = self.entries = 0

    def parts(self, name: str) -> Parts:
        """Return the components of a name that is inside, none for the directory itself."""
        try:
            components = [part for part in name.split("/") if part not in ("", ".")]
            too_long = any(len(part.encode()) > LONGEST for part in components)
        except UnicodeEncodeError:
            raise BadSourceError(f"it holds {name!r}, whose name is not UTF-8") from None
        if name.startswith("/") or ".." in components:
            raise BadSourceError(f"it holds {name!r}, which leads out of it")
        if too_long:
            raise BadSourceError(
                f"it holds {_short(name)}, whose name is longer than {LONGEST} bytes"
            )
        if "\0" in name:
            raise BadSourceError(f"it holds {name!r}, whose name has a NUL character")
        return tuple(components)

    def add_directory(self, name: str) -> None:
        """Make a directory, and those that it is in."""
        self._place(name, DIRECTORY)

    def add_file(self, name: str, chunks: Iterable[bytes], size: int) -> None:
        """Write a file of `size` bytes; the last one of a name counts, as tar does it."""
        self.bytes += max(size, 0)
        if self.bytes > MOST_BYTES:
            raise BadSourceError(
                f"it holds more than {MOST_BYTES // 1024**3} GiB, counted to {_short(name)}"
            )
        parts, new = self._place(name, FILE)
        try:
            with self._path(parts).open("xb" if new else "wb") as file:
                _write(file, chunks)
        except FileExistsError:
            raise self._same_name(parts) from None
        except OSError as error:
            raise BadSourceError(f"{_short(name)} cannot be written: {error.strerror}") from None

    def add_copy(self, name: str, of: str) -> None:
        """Write what another name stands for under this name too, as a hard link would."""
        parts = self.parts(of)
        kind = self.kinds.get(parts)
        if kind == LINK:
            self.add_link(name, self.links[parts])
        elif kind == FILE:
            if parts == self.parts(name):
                return
            with self._path(parts).open("rb") as content:
                self.add_file(name, chunks_of(content), size_of(content))
        else:
            why = "is a directory" if kind else "does not come before it"
            raise BadSourceError(
                f"it holds {_short(name)}, a hard link to {_short(of)}, which {why}"
            )

    def add_link(self, name: str, target: str) -> None:
        """Note a symbolic link for `finish`."""
        parts, _ = self._place(name, LINK)
        if not target or "\0" in target:
            raise BadSourceError(
                f"it holds the link {_short(name)} to {target!r}, which is no name"
            )
        self.links[parts] = target

    def finish(self) -> None:
        """Make the links, none of which leads outside or in a circle."""
        for parts, target in self.links.items():
            if problem := self._leads(parts):
                raise BadSourceError(
                    f"it holds the link {_short('/'.join(parts))} to {_short(target)}, "
                    f"which {problem}"
                )
        for parts, target in self.links.items():
            try:
                self._path(parts).symlink_to(target)
            except FileExistsError:
                raise self._same_name(parts) from None
            except OSError as error:
                name = "/".join(parts)
                raise BadSourceError(
                    f"{_short(name)} cannot be written: {error.strerror}"
                ) from None

    def _place(self, name: str, kind: str) -> tuple[Parts, bool]:
        """Take a name for something of a kind, and make its directories; tell whether it is new."""
        parts = self.parts(name)
        for length in range(len(parts)):
            self._take(parts[:length], DIRECTORY, name)
        new = self._take(parts, kind, name)
        self.entries += 1
        if max(self.entries, len(self.kinds)) > MOST_ENTRIES:
            raise BadSourceError(
                f"it holds more than {MOST_ENTRIES} files and directories, counted to "
                f"{_short(name)}"
            )
        return parts, new

    def _take(self, parts: Parts, kind: str, name: str) -> bool:
        known = self.kinds.get(parts)
        if known == kind:
            return False
        if known:
            if parts == self.parts(name):
                raise BadSourceError(f"it holds {_short(name)} twice, as {known} and as {kind}")
            place = _short("/".join(parts))
            raise BadSourceError(f"it holds {_short(name)} below {place}, which is {known}")
        self.kinds[parts] = kind
        if kind == DIRECTORY:
            try:
                self._path(parts).mkdir()
            except FileExistsError:
                raise self._same_name(parts) from None
            except OSError as error:
                raise BadSourceError(
                    f"{_short(name)} cannot be written: {error.strerror}"
                ) from None
        return True

    def _path(self, parts: Parts) -> Path:
        return self.directory.joinpath(*parts)

    def _same_name(self, parts: Parts) -> BadSourceError:
        return BadSourceError(
            f"it holds {_short('/'.join(parts))} and another name that the controller's file "
            "system does not tell from it, because they differ in case or accents only"
        )

    def _leads(self, link: Parts) -> str:
        """Return why a link may not stay, or an empty text; what it leads to need not exist."""
        place, ahead, followed = list(link), [""], 0
        while ahead:
            part = ahead.pop()
            if part == "..":
                if not place:
                    return "leads out of it"
                place.pop()
            elif part not in ("", "."):
                place.append(part)
            if (target := self.links.get(tuple(place))) is not None:
                followed += 1
                if target.startswith("/"):
                    return "leads out of it"
                if followed > MOST_LINKS:
                    return "leads in a circle"
                place.pop()
                ahead += reversed(target.split("/"))
        return ""


def size_of(file: BinaryIO) -> int:
    """Return the size of an open file in bytes."""
    size = file.seek(0, 2)
    file.seek(0)
    return size


def chunks_of(content: IO[bytes]) -> Iterator[bytes]:
    """Yield what can be read, in parts of a size that memory holds."""
    return iter(lambda: content.read(CHUNK), b"")


def _write(file: BinaryIO, chunks: Iterable[bytes]) -> None:
    for chunk in chunks:
        file.write(chunk)


def _short(name: str) -> str:
    """Return a name for a message, shortened, as it may have kilobytes."""
    return repr(name if len(name) <= 100 else f"{name[:60]}…{name[-30:]}")
