"""Locked packages that are not fetched as wheels: built on the controller, or brought by hand."""

from __future__ import annotations

import difflib
import hashlib
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.utils.display import Display
from packaging.utils import canonicalize_name

from aroundtheworld_controller.cache import make_once
from aroundtheworld_controller.packages.build import build, only_for_all
from aroundtheworld_controller.packages.build_tools import BuildFailure, toolbox, tools_id
from aroundtheworld_controller.packages.index import Indexes
from aroundtheworld_controller.packages.own_wheels import WHEELS, OwnWheel
from aroundtheworld_controller.packages.source_archives import fetch, hashes_by_name, unpack_source

BUILD = "aroundtheworld_build"

display = Display()


def build_problems(
    names: Sequence[str],
    requirements: Sequence[Mapping[str, Any]],
    own: Collection[OwnWheel],
    project: str,
) -> Iterator[str]:
    """Yield which names in ``aroundtheworld_build`` are of nothing that can be built.

    Args:
        names: The variable.
        requirements: The locked ones.
        own: The wheels that the operator brings.
        project: The name of the app's own project, if it has one.
    """
    known = {canonicalize_name(entry["name"]) for entry in requirements}
    known |= {canonicalize_name(project)} if project else set()
    itself = f", nor the app's own project, which is {project!r}" if project else ""
    brought = {wheel.name: wheel.path for wheel in own}
    for index, name in enumerate(names):
        where = f"{BUILD}[{index}]: {name!r}"
        normal = canonicalize_name(name)
        if normal not in known:
            near = difflib.get_close_matches(normal, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            yield f"{where} is not among the locked requirements{itself}{hint}"
        elif normal in brought:
            yield (
                f"{where} is also in {WHEELS}, as {brought[normal].name!r}; either it is built, or "
                "you bring it."
            )


def with_own(
    environment: Mapping[str, Any], names: Sequence[str], own: Collection[OwnWheel]
) -> dict[str, Any]:
    """Return a virtual environment that has packages of one's own.

    Its id stands for what they are made from, which is the same on every controller: a built wheel
    may have other bytes on each.

    Args:
        environment: Its ``id`` and ``lock``.
        names: Packages to build.
        own: Wheels of the operator's that are for the host, at most one for each package.
    """
    locked = hashes_by_name(environment["lock"])
    built = sorted({canonicalize_name(name) for name in names} & set(locked))
    brought = {wheel.name: wheel for wheel in own if wheel.name in locked}
    about = [f"{name} is built with {tools_id()}\n" for name in built]
    about += [
        f"{name} is {wheel.digest}\n"
        for name, wheel in sorted(brought.items())
        if wheel.digest not in locked[name][1]
    ]
    if about:
        text = "".join([environment["id"], "\n", *about])
        environment = {**environment, "id": hashlib.sha256(text.encode()).hexdigest()[:12]}
    wheels = {name: [str(wheel.path), wheel.digest] for name, wheel in sorted(brought.items())}
    return {**environment, "built": built, "own": wheels}


def built_wheel(
    name: str, locked: tuple[str, Sequence[str]], indexes: Indexes, cache: Path
) -> Path:
    """Return the wheel of a locked package, built from its source unless that was done before.

    Args:
        name: The package's normalized name.
        locked: Its version and hashes.
        indexes: Where its source archive is.
        cache: The controller's.

    Raises:
        BuildFailure: It cannot be built.
    """
    version, hashes = locked
    about = " ".join([name, version, *sorted(hashes), tools_id()])
    key = hashlib.sha256(about.encode()).hexdigest()[:16]

    def make(into: Path) -> None:
        display.display(f"Building {name} {version} on the controller")
        tools = toolbox(cache)
        with tempfile.TemporaryDirectory(dir=into.parent) as work:
            source = into.with_name("source")
            source.mkdir()
            archive = fetch(indexes, name, version, hashes, Path(work))
            wheel = build(unpack_source(archive, source), into, tools)
        only_for_all(wheel, name, version)

    return next(make_once(cache / "built" / key, make).glob("*.whl"))


def why(name: str, failure: BuildFailure) -> str:
    """Return why a locked package cannot be built, and what to do instead."""
    return (
        f"{BUILD}: {name} cannot be built on the controller: {failure}\n"
        f"Instead, you may put a wheel of it into a directory and name that in {WHEELS}."
    )
