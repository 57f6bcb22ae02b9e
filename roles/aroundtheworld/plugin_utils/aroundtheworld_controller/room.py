"""How much room a deployment takes on a host, all of it together, held against what is left there.

Everything is reckoned at its largest: what is there already is taken away only when all is done.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

BLOCK = 4096
# Byte code is a little larger than what it was made from.
BYTE_CODE = 1.3
MIB = 1024**2
# What has to be left afterwards, for logs, databases and the next look at what went wrong.
RESERVE_BYTES, RESERVE_SHARE, RESERVE_INODES = 16 * MIB, 0.1, 500
# A virtual environment without anything in it; unit files, settings and the log.
BARE = (200, 40)
SETTINGS_FILE = 2 * BLOCK  # it is written beside the file that it replaces
# Names of static files of which the host makes a compressed one; assets.py there knows them too.
COMPRESSIBLE = {".css", ".csv", ".eot", ".geojson", ".htm", ".html", ".ico", ".js", ".json", ".map"}
COMPRESSIBLE |= {".md", ".mjs", ".otf", ".svg", ".ttf", ".txt", ".wasm", ".webmanifest", ".xml"}
# Debian's packages, whose size nobody knows before apt has read its lists, and those lists.
PROGRAMS, LISTS = (60 * MIB, 3000), (120 * MIB, 100)


@dataclass(frozen=True)
class Need:
    """What something takes on a file system."""

    bytes: int = 0
    inodes: int = 0

    def __add__(self, other: Need) -> Need:
        """Return what both take together."""
        return Need(self.bytes + other.bytes, self.inodes + other.inodes)


def blocks(size: float) -> int:
    """Return the bytes that a file of this size takes, in whole blocks."""
    return -(-int(size) // BLOCK) * BLOCK


def files_need(files: Iterable[tuple[str, int]], *, byte_code: bool = False) -> Need:
    """Return what files take, each by its path and size, with their directories.

    Args:
        files: Paths, with slashes, and sizes in bytes.
        byte_code: Whether byte code of Python's files comes with them.
    """
    directories: set[PurePosixPath] = set()
    taken = inodes = 0
    for name, size in files:
        path = PurePosixPath(name)
        directories.update(path.parents)
        taken += blocks(size)
        inodes += 1
        if byte_code and path.suffix == ".py":
            directories.add(path.parent / "__pycache__")
            taken += blocks(size * BYTE_CODE)
            inodes += 1
    return Need(taken + BLOCK * len(directories), inodes + len(directories))


def release_files(trees: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, int]]:
    """Return the files of a release, each by its path and size."""
    return [
        (f"{label}/{file}", (Path(tree["root"]) / file).stat().st_size)
        for label, tree in trees.items()
        for file in tree["files"]
    ]


def unpacked(wheels: Path) -> Iterator[tuple[str, int]]:
    """Yield what is in wheels, each by its path and size."""
    for wheel in sorted(wheels.iterdir()):
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                if not entry.is_dir():
                    yield f"site-packages/{entry.filename}", entry.file_size


def assets_need(static: Sequence[Mapping[str, str]], files: Sequence[tuple[str, int]]) -> Need:
    """Return what static files take as they are served: directories, since the files are links.

    Of those that may be compressed, it is a file more.
    """
    need, trees = Need(), set[PurePosixPath]()
    for entry in static:
        top, url = PurePosixPath("app", entry["directory"]), entry["url"].strip("/")
        for name, size in files:
            path = PurePosixPath(name)
            if path.is_relative_to(top):
                parents = PurePosixPath(url, path.relative_to(top)).parents
                trees.update(parents)
                need += Need(BLOCK * len(parents), len(parents))  # below its checksum
                if path.suffix.lower() in COMPRESSIBLE:
                    need += Need(blocks(size), 1)
    # Below the names, and in the release.
    return need + Need(2 * BLOCK * len(trees), 2 * len(trees))


def needs(
    *,
    trees: Mapping[str, Mapping[str, Any]],
    static: Sequence[Mapping[str, str]],
    wheels: Path | None,
    settings: int,
    packages: bool,
) -> dict[str, dict[str, Need]]:
    """Return what a deployment takes: kind of place to what for, to how much.

    Args:
        trees: What the release is made of; nothing when it is on the host.
        static: Directories of it that nginx serves.
        wheels: Those of the virtual environment; none when that is on the host.
        settings: How many unit files and settings there will be; 0 when they are there.
        packages: Whether Debian packages have to be installed.
    """
    files = release_files(trees)
    fetched = (
        [(file.name, file.stat().st_size) for file in sorted(wheels.iterdir())] if wheels else []
    )
    home: dict[str, Need] = {}
    if files:
        home["the release"] = files_need(files, byte_code=True) + assets_need(static, files)
    if wheels:
        bare = Need(BARE[0] * BLOCK, BARE[1])
        home["its virtual environment"] = bare + files_need(unpacked(wheels), byte_code=True)
        home["the wheels beside it"] = files_need(fetched)
    archive = sum(size for _, size in (*files, *fetched))
    taken = {
        "home": home,
        "temporary": {"the archive that brings them": Need(blocks(archive), 2)} if archive else {},
        "settings": {"units and settings": Need(settings * SETTINGS_FILE, settings * 2)}
        if settings
        else {},
    }
    if packages:
        taken["programs"] = {"Debian's packages": Need(*PROGRAMS)}
        taken["lists"] = {"their lists": Need(*LISTS)}
    return taken


def room_problems(
    taken: Mapping[str, Mapping[str, Need]], room: Mapping[str, Mapping[str, Any]], name: str
) -> Iterator[str]:
    """Yield which file systems of the host `name` have too little left, each a sentence."""
    mounts: dict[int, dict[str, Need]] = {}
    for kind, parts in taken.items():
        if parts:
            mounts.setdefault(room[kind]["device"], {}).update(parts)
    for device, parts in mounts.items():
        there = next(place for place in room.values() if place["device"] == device)
        need = sum(parts.values(), Need())
        reserve = max(RESERVE_BYTES, int(need.bytes * RESERVE_SHARE))
        listed = ", ".join(f"{what} {shown(part.bytes)}" for what, part in parts.items())
        if need.bytes + reserve > there["bytes"]:
            yield (
                f"{name} has {shown(there['bytes'])} left on {there['mount']}, and this deployment "
                f"needs {shown(need.bytes + reserve)} there: {listed}, and {shown(reserve)} that "
                "have to be left. Make room there, or give another aroundtheworld_home."
            )
        if there["inodes"] is not None and need.inodes + RESERVE_INODES > there["inodes"]:
            counts = ", ".join(f"{what} {part.inodes}" for what, part in parts.items())
            yield (
                f"{name} has inodes for {there['inodes']} files and directories left on "
                f"{there['mount']}, and this deployment needs {need.inodes + RESERVE_INODES} "
                f"there: {counts}, and {RESERVE_INODES} that have to be left. Remove what is not "
                "needed there, or give another aroundtheworld_home."
            )


def shown(size: int) -> str:
    """Return a number of bytes as people read it."""
    return f"{size / MIB:.1f} MiB" if size < 100 * MIB else f"{size / MIB:.0f} MiB"
