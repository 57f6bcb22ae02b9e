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
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from aroundtheworld_controller.left_out import Exclusion, is_ordinary
from aroundtheworld_controller.lockfile import Lockfile
from aroundtheworld_controller.own_wheels import WHEELS, with_brought
from aroundtheworld_controller.project import (
    about_build,
    has_module,
    is_own,
    library,
    modules_in_src,
    read_project,
)
from aroundtheworld_controller.python_versions import project_pythons
from aroundtheworld_controller.read_lock import read_lock
from aroundtheworld_controller.references import wheel_at
from aroundtheworld_controller.revision import revision_of
from aroundtheworld_controller.variables import ROLE, BadInputError, refuse

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
    read = _identities(lockfile.files)
    return {
        file
        for file in files
        if (_identities([root / file]) <= read and b"://" in (root / file).read_bytes())
        or (wheel_at(file.name) and any((root / file).is_relative_to(p) for p in lockfile.places))
    }


def _identities(files: Iterable[Path]) -> set[tuple[int, int]]:
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


def describe_release(
    variables: Mapping[str, Any], revision: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], Lockfile]:
    """Return the release, and what it runs with.

    It has ``id``, ``trees``, ``lockfiles``, and ``left_out``, names of what is not in it; ``lib``,
    which is ``wheel``, ``src`` or empty for what it has there; and for the wheel of its own project
    what `with_project` needs.

    Args:
        variables: The role's.
        revision: The commit that the app is from, as a `Revision` has it; empty for none. Without
            this, git is asked in the app's directory.

    Raises:
        BadInputError: The app directory is missing or unreadable, or its lock file cannot be used.
    """
    if not variables["aroundtheworld_app_dir"]:
        raise BadInputError(
            "aroundtheworld_app_dir: is missing, and so are aroundtheworld_app_git and "
            "aroundtheworld_app_archive; exactly one of them must say where the app comes from."
        )
    directory, make_app = variables["aroundtheworld_app_dir"], variables["aroundtheworld_make_app"]
    root = Path(directory).expanduser().resolve()
    if not root.is_dir():
        raise BadInputError(
            f"aroundtheworld_app_dir: {directory!r} is not a directory on "
            "the controller; set the directory that holds the app and its requirements."
        )
    path = Path(variables["aroundtheworld_requirements"]).expanduser()
    lock = with_brought(read_lock(root / path, root), variables.get(WHEELS, ""))
    module = make_app.split(":")[0].split(".")[0]
    project = read_project(root)
    built = any(is_own(name, project.name) for name in variables.get("aroundtheworld_build", ()))
    unseen = bool(module) and not has_module(root, module)
    if unseen and not has_module(root / "src", module):
        known = {str(each.get("name")).replace("-", "_").lower() for each in lock.requirements}
        unseen = module.lower() not in known
        if unseen and not built:  # a wheel may bring it from anywhere
            src = ", nor in its src/," if (root / "src").is_dir() else ""
            raise BadInputError(
                f"aroundtheworld_make_app: {make_app!r} names the module "
                f"{module!r}, which is neither in {root}{src} nor among the locked requirements."
            )
    found, left_out = survey(root, variables["aroundtheworld_app_exclude"])
    if module and {module, f"{module}.py"} & set(left_out):
        raise BadInputError(
            f"aroundtheworld_make_app: {make_app!r} names the module {module!r}, which "
            "aroundtheworld_app_exclude leaves out of the release."
        )
    staying = for_the_controller(root, found, lock)
    files = {
        "app": (root, [file for file in found if file not in staying]),
        "runner": (RUNNER, app_files(RUNNER, ["__pycache__", "*.pyc", ".*"])),
    }
    lib = library(root, module, files["app"][1], built=built)
    code = PurePosixPath("src", make_app.partition(":")[0].replace(".", "/"))
    for index, entry in enumerate(variables["aroundtheworld_static"]):
        if module in modules_in_src(files["app"][1]) and code.is_relative_to(entry["directory"]):
            raise BadInputError(
                f"aroundtheworld_static[{index}].directory: {entry['directory']!r} is not allowed; "
                "it holds the app's code, which nginx would show to everybody."
            )
        if not any(file.is_relative_to(entry["directory"]) for file in files["app"][1]):
            raise BadInputError(
                f"aroundtheworld_static[{index}].directory: {entry['directory']!r} holds no file "
                f"of the app; it must be a directory in {root} that aroundtheworld_app_exclude "
                "leaves in."
            )
    trees = {
        label: {"root": str(top), "files": [file.as_posix() for file in names]}
        for label, (top, names) in files.items()
    }
    try:
        missing = pointers(*files["app"])
        released = _identities(root / file for file in files["app"][1])
        lockfiles = [path for path in lock.files if _identities([path]).isdisjoint(released)]
        about = "lib is src\n" if lib == "src" else ""
        if not (built and project.versioned):
            revision = {}
        elif revision is None:
            revision = revision_of(root)
        if built:
            about = about_build(revision)
        identity = content_id(files, lockfiles, about)
    except OSError as error:
        raise BadInputError(
            f"aroundtheworld_app_dir: {error.filename} cannot be read ({error.strerror}); mend or "
            "remove it, or name it in aroundtheworld_app_exclude."
        ) from None
    if missing:
        raise BadInputError(
            *(
                f"aroundtheworld_app_dir: {str(root / file)!r} is not the file itself, but what "
                "Git LFS puts in its place; give a directory after `git lfs pull`, or an archive "
                "of it, or name it in aroundtheworld_app_exclude."
                for file in missing[:MOST_PROBLEMS]
            )
        )
    refuse(compressed_problems(variables["aroundtheworld_static"], *files["app"]))
    release = {"id": identity, "trees": trees, "lockfiles": list(map(str, lockfiles))}
    release |= {"about": about, "lib": lib, "project": project.name, "revision": revision}
    release |= {"left_out": left_out, "module": module if unseen else ""}
    return release, replace(lock, pythons=[*project_pythons(root), *lock.pythons])
