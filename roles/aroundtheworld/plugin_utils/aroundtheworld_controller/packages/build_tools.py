"""The tools that packages are built with: exactly those of the role's own lock."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PathDistribution
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from aroundtheworld_controller.cache import make_once
from aroundtheworld_controller.packages.lockfile import lock_for
from aroundtheworld_controller.packages.pip import (
    NoPipError,
    find_pip,
    last_lines,
    locked_wheels,
    run_pip,
)
from aroundtheworld_controller.packages.requirements_file import read_requirements
from aroundtheworld_controller.variables import ROLE

LOCK = ROLE / "files" / "build" / "requirements.txt"


class BuildFailure(Exception):  # noqa: N818 - mostly the package's own
    """A package cannot be built; the message is for after 'NAME cannot be built: '."""


def tools_id(lock: Path = LOCK) -> str:
    """Return what stands for the tools on every controller."""
    return hashlib.sha256(lock.read_bytes()).hexdigest()[:12]


@dataclass
class Choice:
    """Those of the tools that one package asks for, and what they need.

    Attributes:
        places: By each tool's name, where it is.
        missing: What is asked for, and is not among the tools.
        others: Tools of another version than was asked for, each as a text.
    """

    places: dict[str, Path] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


class Toolbox:
    """A directory with each tool in a directory of its own.

    Apart, because a tool that a package did not ask for could change what comes out: with
    setuptools-scm there, setuptools takes every file that git knows for package data.
    """

    def __init__(self, directory: Path) -> None:
        """Use the tools in `directory`, each by its name."""
        self.directory = directory

    def choose(self, requires: Iterable[str]) -> Choice:
        """Return the tools for what a package asks for, as in ``hatchling>=1.2``."""
        choice = Choice()
        for text in requires:
            self._add(text, "", choice)
        return choice

    def _add(self, text: str, extra: str, choice: Choice) -> None:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            choice.missing.append(text)
            return
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            return
        name = canonicalize_name(requirement.name)
        tool = self.directory / name
        if requirement.url or not tool.is_dir():
            choice.missing.append(requirement.name)
            return
        about = PathDistribution(next(tool.glob("*.dist-info")))
        if not requirement.specifier.contains(about.version, prereleases=True):
            choice.others.append(f"{requirement} (there is {about.version})")
        known = name in choice.places
        choice.places[name] = tool
        if not known or requirement.extras:
            for needed in about.requires or ():
                for wanted in requirement.extras or {""}:
                    self._add(needed, wanted, choice)

    def __iter__(self) -> Iterator[str]:
        """Yield the names of all tools."""
        return (tool.name for tool in sorted(self.directory.iterdir()))


def toolbox(cache: Path, lock: Path = LOCK) -> Toolbox:
    """Return the tools of a lock for the controller's own Python, fetched unless they are cached.

    Raises:
        BuildFailure: They cannot be had.
    """
    python = "{}.{}".format(*sys.version_info)

    def fetch(into: Path) -> None:
        wheels, chosen = into.with_name("wheels"), into.with_name("requirements.txt")
        markers = {name: str(value) for name, value in default_environment().items()}
        chosen.write_text(lock_for(read_requirements(lock, lock.parent).requirements, markers))
        _download(chosen, wheels)
        for wheel in wheels.iterdir():
            _unpack(wheel, into / canonicalize_name(wheel.name.split("-")[0]))

    return Toolbox(make_once(cache / "tools" / f"{tools_id(lock)}-{python}", fetch))


def _download(lock: Path, into: Path) -> None:
    """Fetch wheels for this Python, by their hashes; nothing of them runs."""
    try:
        pip = find_pip()
    except NoPipError as missing:
        raise BuildFailure(str(missing)) from None
    done = run_pip(locked_wheels(pip, lock, into))
    if done.returncode:
        raise BuildFailure(
            "the tools for that, which the role has locked, could not be fetched. "
            + last_lines(done.stderr, pip)
        )


def _unpack(wheel: Path, into: Path) -> None:
    """Put what is in a wheel where Python finds it, and its programs where they can be run."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(into)
    for program in into.glob("*.data/scripts/*"):
        program.chmod(0o755)
