"""What a release is made of: the app's files and the runner's, and the id that stands for them."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import stat
import sys
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aroundtheworld_controller.app.left_out import Exclusion, is_ordinary
from aroundtheworld_controller.packages.lockfile import Lockfile
from aroundtheworld_controller.packages.references import wheel_at
from aroundtheworld_controller.variables import ROLE, BadInputError

RUNNER = ROLE / "files" / "runner"
MOST_FILES = 100_000
CHUNK = 64 * 1024
MOST_PROBLEMS = 10  # that are named at once
POINTER = b"version https://git-lfs.github.com/spec/"  # begins what stands for a file there


def app_files(root: Path, exclude: Sequence[str]) -> list[Path]:
    """Return the files below `root` and behind links, relative to it, sorted, without `exclude`.

    Raises:
        BadInputError: Something there can be in no release; each is named, up to ten.
    """
    return survey(root, exclude)[0]


def survey(root: Path, exclude: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Return what `app_files` does, and what is left out that somebody may miss.

    Raises:
        BadInputError: Something there can be in no release; each is named, up to ten.
    """
    walk = _Walk(root, exclude)
    walk.enter(Path(), [root.resolve()])
    if walk.problems:
        raise BadInputError(*dict.fromkeys(walk.problems))
    return sorted(walk.files), walk.left_out


class _Walk:
    """Goes through an app's directory; keeps its files, and what is wrong with the others."""

    def __init__(self, root: Path, exclude: Sequence[str]) -> None:
        self.root, self.exclude = root, Exclusion(root, exclude)
        self.files: list[Path] = []
        self.left_out: list[str] = []
        self.problems: list[str] = []

    def enter(self, below: Path, through: Sequence[Path]) -> None:
        """Look at all that is in the directory `below`.

        Args:
            below: A directory, relative to the app's.
            through: The directories on the way here, without links, this directory last.
        """
        try:
            names = sorted(entry.name for entry in os.scandir(self.root / below))
        except OSError as error:
            return self._refuse(below, f"cannot be read ({error.strerror})")
        for name in names:
            if self.exclude.has(below / name):
                if not is_ordinary(name):
                    shown = (below / name).as_posix().encode("utf-8", "backslashreplace")
                    self.left_out.append(shown.decode())
                continue
            if len(self.problems) >= MOST_PROBLEMS:
                return None
            try:
                name.encode()
                self._look(below / name, through)
            except UnicodeEncodeError:
                self._refuse(below / name, "has a name that is not UTF-8")
            except FileNotFoundError:
                target = (self.root / below / name).readlink()
                self._refuse(below / name, f"is a link to {str(target)!r}, which is not there")
            except OSError as error:
                circle = error.errno == errno.ELOOP
                why = "is a link in a circle" if circle else f"cannot be read ({error.strerror})"
                self._refuse(below / name, why)
        return None

    def _look(self, entry: Path, through: Sequence[Path]) -> None:
        path = self.root / entry
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            place = path.resolve()
            if any(directory.is_relative_to(place) for directory in through):
                self._refuse(entry, f"is a link in a circle: it leads back to {str(place)!r}")
            else:
                self.enter(entry, [*through, place])
        elif not stat.S_ISREG(mode):
            self._refuse(entry, "is not a file, directory or link, but a socket, pipe or device")
        elif len(self.files) >= MOST_FILES:
            self._refuse(entry, f"is one file more than a release may have ({MOST_FILES})")
            self.problems = self.problems[-1:] * MOST_PROBLEMS  # look no further
        else:
            self.files.append(entry.with_name(release_name(entry.name)))

    def _refuse(self, entry: Path, why: str) -> None:
        self.problems.append(
            f"aroundtheworld_app_dir: {str(self.root / entry)!r} {why}; remove it, or name it in "
            "aroundtheworld_app_exclude."
        )


def release_name(name: str, platform: str = sys.platform) -> str:
    """Return what a file is called in a release.

    macOS takes both ways to write an accent for one name, and returns either; git and Linux mean
    the composed form.
    """
    return unicodedata.normalize("NFC", name) if platform == "darwin" else name


def executable(path: Path) -> bool:
    """Tell whether a file is a program: whether it begins as a script or an ELF file does.

    The mode does not count. On a file system of Windows every file may be executed, in a checkout
    there none, and then one commit would be two releases.
    """
    with path.open("rb") as file:
        return file.read(4).startswith((b"#!", b"\x7fELF"))


def content_id(
    trees: Mapping[str, tuple[Path, Sequence[Path]]],
    lockfiles: Sequence[Path] = (),
    about: str = "",
) -> str:
    """Return 12 hexadecimal digits that stand for the names and contents of files.

    Args:
        trees: What each tree is called in the release, to its root and the files below it.
        lockfiles: Those that are in no tree, but decide what a release runs with.
        about: What else decides what is in the release.
    """
    digest = hashlib.sha256(about.encode())
    for label, (root, files) in sorted(trees.items()):
        for file in files:
            path = root / file
            with path.open("rb") as opened:
                content = hashlib.file_digest(opened, "sha256").hexdigest()
            # Follows from the content, and is here because it was before that.
            program = executable(path)
            digest.update(f"{label}/{file.as_posix()}\0{program}\0{content}\n".encode())
    for path in lockfiles:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"lockfile\0{content}\n".encode())
    return digest.hexdigest()[:12]


def is_same(release: Mapping[str, Any], trees: Mapping[str, tuple[Path, Sequence[Path]]]) -> bool:
    """Tell whether files are still what a release's id stands for."""
    lockfiles = [Path(path) for path in release["lockfiles"]]
    identity: str = release["id"]
    return content_id(trees, lockfiles, release["about"]) == identity


def for_the_controller(root: Path, files: Sequence[Path], lockfile: Lockfile) -> set[Path]:
    """Return which of the app's files are in no release, because only the controller needs them.

    These are wheels that the lockfile names, and a lockfile with addresses in it: an index's may
    have a password.
    """
    read = identities(lockfile.files)
    return {
        file
        for file in files
        if (identities([root / file]) <= read and b"://" in (root / file).read_bytes())
        or (wheel_at(file.name) and any((root / file).is_relative_to(p) for p in lockfile.places))
    }


def identities(files: Iterable[Path]) -> set[tuple[int, int]]:
    """Return what files are, whatever they are called and whichever links lead to them."""
    return {(about.st_dev, about.st_ino) for about in (file.stat() for file in files)}


def pointers(root: Path, files: Sequence[Path]) -> list[Path]:
    """Return the files that Git LFS put in place of others."""
    return [
        file
        for file in files
        if (root / file).stat().st_size < 1024 and (root / file).read_bytes().startswith(POINTER)
    ]


def is_compressed(file: Path, plain: Path) -> bool:
    """Tell whether a file is another one, compressed by gzip."""
    try:
        with gzip.open(file) as unpacked, plain.open("rb") as content:
            while chunk := content.read(CHUNK):
                if unpacked.read(len(chunk)) != chunk:
                    return False
            return not unpacked.read(1)
    except (OSError, EOFError, zlib.error):
        return False


def compressed_problems(
    static: Sequence[Mapping[str, str]], root: Path, files: Sequence[Path]
) -> Iterator[str]:
    """Yield which of the app's files nginx would take for another one, compressed."""
    names = set(files)
    pairs = [(file, plain) for file in files if file.suffix == ".gz"
             and (plain := file.with_suffix("")) in names]  # fmt: skip
    for index, entry in enumerate(static):
        for file, plain in pairs:
            served = file.is_relative_to(entry["directory"])
            if served and not is_compressed(root / file, root / plain):
                yield (
                    f"aroundtheworld_static[{index}].directory: {str(file)!r} is not "
                    f"{str(plain)!r} compressed, but nginx would send it to browsers as that. "
                    "Give it another name, or name it in aroundtheworld_app_exclude."
                )
