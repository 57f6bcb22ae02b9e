"""Wheels that the operator brings: ``aroundtheworld_wheels``, a directory of them."""

from __future__ import annotations

import difflib
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from aroundtheworld_controller.packages.lockfile import Lockfile
from aroundtheworld_controller.packages.references import wheel_at
from aroundtheworld_controller.packages.source_archives import same_version, sha256
from aroundtheworld_controller.variables import BadInputError, refuse

WHEELS = "aroundtheworld_wheels"


@dataclass(frozen=True)
class OwnWheel:
    """A wheel of the operator's, of a locked package.

    Attributes:
        path: The file.
        name: The package's normalized name.
        tags: What it is for.
        digest: Its hash, as in ``sha256:…``.
    """

    path: Path
    name: str
    tags: frozenset[Tag]
    digest: str


def host_tags(python: Mapping[str, Any], platforms: Sequence[str]) -> list[Tag]:
    """Return what wheels for a host's own Python may be for, best first."""
    version = tuple(map(int, python["version"].split(".")))
    own = python["implementation"] + python["version"].replace(".", "")
    return [
        *cpython_tags(version, abis=[own], platforms=platforms),
        *compatible_tags(version, own, platforms),
    ]


def with_brought(lockfile: Lockfile, directory: str) -> Lockfile:
    """Return a lockfile in which wheels of the operator's stand for what has to be built.

    Args:
        lockfile: What the app's lockfile says.
        directory: Where those wheels are, or an empty text.

    Raises:
        BadInputError: Something is wrong for every host.
    """
    brought, refused = list(lockfile.requirements), list(lockfile.refused)
    top = Path(directory).expanduser()
    files = sorted(top.glob("*.whl")) if directory else []
    for each in lockfile.unbuilt:
        found = [(path, wheel) for path in files if (wheel := wheel_at(path.name))]
        own = [(path, version) for path, (name, version) in found if name == each["name"]]
        for version in dict.fromkeys(version for _, version in own):
            hashes = [sha256(path) for path, other in own if other == version]
            about = {"name": each["name"], "version": version, "marker": each["marker"]}
            brought.append({**about, "hashes": hashes})
        if not own:
            refused.append((each["marker"], each["problem"]))
    refuse(problem for marker, problem in refused if not marker)
    return replace(lockfile, requirements=brought, refused=refused, unbuilt=())


def own_wheels(directory: str, requirements: Sequence[Mapping[str, Any]]) -> list[OwnWheel]:
    """Return the wheels in a directory on the controller, all of locked packages.

    Raises:
        BadInputError: There is no such directory, or something else is in it.
    """
    if not directory:
        return []
    top = Path(directory).expanduser()
    if not top.is_dir():
        raise BadInputError(
            f"{WHEELS}: {directory!r} is not a directory on the controller; it must hold wheels "
            "of locked packages."
        )
    try:
        paths = [path for path in sorted(top.iterdir()) if not path.name.startswith(".")]
        read = [_read(path, requirements) for path in paths]
    except OSError as error:
        raise BadInputError(
            f"{WHEELS}: {error.filename} cannot be read: {error.strerror}."
        ) from None
    refuse(problem for problem in read if isinstance(problem, str))
    return [wheel for wheel in read if isinstance(wheel, OwnWheel)]


def _read(path: Path, requirements: Sequence[Mapping[str, Any]]) -> OwnWheel | str:
    """Return a wheel, or why it is none of a locked package."""
    where = f"{WHEELS}: {path.name!r}"
    try:
        name, version, _, tags = parse_wheel_filename(path.name)
        whole = path.is_file() and zipfile.is_zipfile(path)
    except InvalidWheelFilename:
        whole = False
    if not whole:
        return (
            f"{where} is no wheel; the directory must hold wheels and nothing else, each named as "
            "pip names them, as in 'docopt-0.6.2-py3-none-any.whl'."
        )
    locked: dict[str, list[Mapping[str, Any]]] = {}
    for entry in requirements:
        locked.setdefault(canonicalize_name(entry["name"]), []).append(entry)
    if name not in locked:
        near = difflib.get_close_matches(name, locked, n=1)
        hint = f"; did you mean {near[0]}?" if near else "; remove it, or lock that package."
        return f"{where} is of {name}, which is not among the locked requirements{hint}"
    same = [entry for entry in locked[name] if same_version(entry["version"], version)]
    if not same:
        return (
            f"{where} is of version {version}, but the lock has {name} "
            f"{' and '.join(entry['version'] for entry in locked[name])}; build the wheel of that "
            "version, or lock this one."
        )
    wheel = OwnWheel(path, name, tags, sha256(path))
    hashes = {digest for entry in same for digest in entry["hashes"]}
    # A package with a source archive only has one hash, and then no wheel's can be among them.
    if len(hashes) > 1 and wheel.digest not in hashes:
        return (
            f"{where} has none of the {len(hashes)} hashes that the lock has for {name}; lock it "
            f"again with `uv pip compile --find-links {path.parent} …`, and it has this one."
        )
    return wheel


def chosen(wheels: Collection[OwnWheel], tags: Sequence[Tag]) -> Iterator[OwnWheel]:
    """Yield the best of the wheels of each package, for a host's own Python."""
    rank = {tag: number for number, tag in enumerate(tags)}
    best: dict[str, tuple[int, OwnWheel]] = {}
    for wheel in wheels:
        fits = [rank[tag] for tag in wheel.tags if tag in rank]
        if fits and (wheel.name not in best or min(fits) < best[wheel.name][0]):
            best[wheel.name] = (min(fits), wheel)
    for _, wheel in best.values():
        yield wheel
