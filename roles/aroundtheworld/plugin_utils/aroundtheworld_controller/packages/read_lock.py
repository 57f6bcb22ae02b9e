"""Find and read the app's lockfile, or say what makes it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from aroundtheworld_controller.packages.lockfile import REQUIREMENTS, Lockfile
from aroundtheworld_controller.packages.pylock import is_pylock, read_pylock
from aroundtheworld_controller.packages.requirements_file import read_requirements
from aroundtheworld_controller.variables import BadInputError

USUAL = ("requirements.txt", "pylock.toml")
# What makes a lockfile of another program's, or of what the app asks for.
MAKE = {
    "uv.lock": "uv export --no-dev --output-file requirements.txt",
    "poetry.lock": "poetry export --output requirements.txt",
    "pdm.lock": "pdm export --prod --output requirements.txt",
    "Pipfile.lock": "pipenv requirements --hash > requirements.txt",
    "requirements.in": (
        "uv pip compile --universal --generate-hashes requirements.in --output-file "
        "requirements.txt"
    ),
    "pyproject.toml": (
        "uv pip compile --universal --generate-hashes pyproject.toml --output-file requirements.txt"
    ),
}


def read_lock(path: Path, root: Path) -> Lockfile:
    """Return what a lockfile says, which is as pip has it or as PEP 751 has it.

    Args:
        path: The file.
        root: The app's directory, which the file may name.

    Raises:
        BadInputError: The file is missing, or cannot be read.
    """
    if not path.is_file():
        raise BadInputError(
            f"{REQUIREMENTS}: {path.name} does not exist in {path.parent}; {_instead(path, root)}"
        )
    if make := MAKE.get(path.name):
        raise BadInputError(
            f"{REQUIREMENTS}: {path.name} is not a lockfile that pip reads; type `{make}` in "
            f"{path.parent}, and set requirements.txt."
        )
    return (read_pylock if is_pylock(path) else read_requirements)(path, root)


def _instead(path: Path, root: Path) -> str:
    """Return what to do where there is no lockfile at `path`."""
    there = sorted(_lockfiles(path.parent), key=lambda name: (name not in USUAL, name))
    near = difflib.get_close_matches(path.name, there, n=1) or there
    if near:
        return f"did you mean {near[0]}?"
    for name, make in MAKE.items():
        if (root / name).is_file():
            return f"there is {name}, from which `{make}` makes it."
    return (
        "make it with 'uv pip compile --universal --generate-hashes' from the app's requirements."
    )


def _lockfiles(directory: Path) -> Iterator[str]:
    """Yield the names of what may be a lockfile in a directory."""
    for file in directory.glob("*"):
        if is_pylock(file) or (file.suffix == ".txt" and "requirements" in file.name):
            yield file.name
