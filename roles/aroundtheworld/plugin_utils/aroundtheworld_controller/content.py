"""What a release is made of: the app's files and the runner's, and the id that stands for them."""

from __future__ import annotations

import fnmatch
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aroundtheworld_controller.lockfile import read_lock
from aroundtheworld_controller.variables import ROLE, BadInputError

RUNNER = ROLE / "files" / "runner"


def app_files(root: Path, exclude: Sequence[str]) -> list[Path]:
    """Return the files below `root` and behind links, relative to it, sorted, without `exclude`."""
    files = []
    for directory, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not _excluded(name, exclude)]
        files += [
            (Path(directory) / name).relative_to(root)
            for name in names
            if not _excluded(name, exclude)
        ]
    return sorted(files)


def _excluded(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def content_id(trees: Mapping[str, tuple[Path, Sequence[Path]]]) -> str:
    """Return 12 hexadecimal digits that stand for the names, contents and executability of files.

    Args:
        trees: What each tree is called in the release, to its root and the files below it.
    """
    digest = hashlib.sha256()
    for label, (root, files) in sorted(trees.items()):
        for file in files:
            path = root / file
            executable = bool(path.stat().st_mode & 0o100)
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{label}/{file.as_posix()}\0{executable}\0{content}\n".encode())
    return digest.hexdigest()[:12]


def describe_release(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the release is made of: its id, its trees, and the requirements it runs with.

    Raises:
        BadInputError: The app directory is missing or unreadable, or its lock file cannot be used.
    """
    if not given["aroundtheworld_app_dir"]:
        raise BadInputError(
            "aroundtheworld_app_dir: is missing, and so are aroundtheworld_app_git and "
            "aroundtheworld_app_archive; exactly one of them must say where the app comes from."
        )
    root = Path(given["aroundtheworld_app_dir"]).expanduser().resolve()
    if not root.is_dir():
        raise BadInputError(
            f"aroundtheworld_app_dir: {given['aroundtheworld_app_dir']!r} is not a directory on "
            "the controller; give the one that holds the app and its requirements."
        )
    requirements = read_lock(root / given["aroundtheworld_requirements"])
    module = given["aroundtheworld_make_app"].split(":")[0].split(".")[0]
    if module and not (root / module).is_dir() and not (root / f"{module}.py").is_file():
        known = {requirement["name"].replace("-", "_").lower() for requirement in requirements}
        if module.lower() not in known:
            raise BadInputError(
                f"aroundtheworld_make_app: {given['aroundtheworld_make_app']!r} names the module "
                f"{module!r}, which is neither in {root} nor among the locked requirements."
            )
    files = {
        "app": (root, app_files(root, given["aroundtheworld_app_exclude"])),
        "runner": (RUNNER, app_files(RUNNER, ["__pycache__", "*.pyc", ".*"])),
    }
    for index, one in enumerate(given["aroundtheworld_static"]):
        if not any(file.is_relative_to(one["directory"]) for file in files["app"][1]):
            raise BadInputError(
                f"aroundtheworld_static[{index}].directory: {one['directory']!r} holds no file of "
                f"the app; it must be a directory in {root} that aroundtheworld_app_exclude leaves "
                "in."
            )
    trees = {
        label: {"root": str(top), "files": [file.as_posix() for file in names]}
        for label, (top, names) in files.items()
    }
    try:
        identity = content_id(files)
    except OSError as error:
        raise BadInputError(
            f"aroundtheworld_app_dir: {error.filename} cannot be read ({error.strerror}); mend or "
            "remove it, or name it in aroundtheworld_app_exclude."
        ) from None
    return {"id": identity, "trees": trees, "requirements": requirements}
