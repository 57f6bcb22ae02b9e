"""Source archives of packages: found on an index, fetched by the lock's hash, and unpacked."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from aroundtheworld_controller.app.archive import unpack
from aroundtheworld_controller.app.source_tree import BadSourceError, SourceTree, chunks_of
from aroundtheworld_controller.packages.build_tools import BuildFailure
from aroundtheworld_controller.packages.index import File, Indexes, IndexFailure


def same_version(locked: str, found: Version) -> bool:
    """Tell whether a version is the locked one, however that is written."""
    try:
        return Version(locked) == found
    except InvalidVersion:
        return False


def source_archives(files: Collection[File], name: str, version: str) -> list[File]:
    """Return the source archives of one version."""
    return [file for file in files if _is_source(file.name, name, version)]


def files_of(files: Collection[File], name: str, version: str) -> list[File]:
    """Return the files of one version, wheels and source archives."""
    return [
        file
        for file in files
        if _is_source(file.name, name, version) or any(wheel_tags([file], name, version))
    ]


def wheel_tags(files: Collection[File], name: str, version: str) -> Iterator[frozenset[Tag]]:
    """Yield what each wheel of one version is for."""
    for file in files:
        try:
            found, number, _, tags = parse_wheel_filename(file.name)
        except InvalidWheelFilename:
            continue
        if found == canonicalize_name(name) and same_version(version, number):
            yield tags


def _is_source(file: str, name: str, version: str) -> bool:
    try:
        found, number = parse_sdist_filename(file)
    except InvalidSdistFilename:
        return False
    return found == canonicalize_name(name) and same_version(version, number)


def sha256(path: Path) -> str:
    """Return a file's hash as a lock has it, ``sha256:…``."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def matches(path: Path, hashes: Collection[str]) -> bool:
    """Tell whether a file has one of the hashes, each as in ``sha256:…``."""
    for kind in {digest.partition(":")[0] for digest in hashes}:
        with path.open("rb") as file:
            if f"{kind}:{hashlib.file_digest(file, kind).hexdigest()}" in hashes:
                return True
    return False


def fetch(indexes: Indexes, name: str, version: str, hashes: Sequence[str], into: Path) -> Path:
    """Return the source archive of a locked package, written below `into`.

    Raises:
        BuildFailure: No index has it with one of the lock's hashes.
    """
    try:
        found = source_archives(list(indexes.files(name)), name, version)
        # What the index itself calls other content need not be fetched to know.
        likely = [file for file in found if not file.hashes or file.hashes & set(hashes)]
        for file in likely:
            path = into / file.name
            indexes.download(file, path)
            if matches(path, hashes):
                return path
    except IndexFailure as failure:
        raise BuildFailure(f"its source archive cannot be fetched: {failure}") from None
    if found:
        raise BuildFailure(
            f"the lock has no hash of its source archive ({', '.join(f.name for f in found)}); "
            "lock it again, with the hashes of all of its files"
        )
    raise BuildFailure(f"there is no source archive of version {version} where pip looks")


def unpack_source(archive: Path, directory: Path) -> Path:
    """Return the top directory of a source archive, unpacked below the empty `directory`.

    Raises:
        BuildFailure: It is no archive that can be used.
    """
    try:
        if archive.suffix == ".zip":
            _unpack_zip(archive, directory)
        else:
            unpack(archive, directory)
    except BadSourceError as bad:
        raise BuildFailure(f"its source archive {archive.name} cannot be used: {bad}") from None
    entries = list(directory.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else directory


def _unpack_zip(archive: Path, directory: Path) -> None:
    tree = SourceTree(directory)
    try:
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                if entry.is_dir():
                    tree.add_directory(entry.filename)
                    continue
                with opened.open(entry) as content:
                    tree.add_file(entry.filename, chunks_of(content), entry.file_size)
    except (zipfile.BadZipFile, OSError, RuntimeError) as error:
        raise BadSourceError(f"it is no whole zip file ({error})") from None
    tree.finish()


def hashes_by_name(lock: str) -> Mapping[str, tuple[str, list[str]]]:
    """Return version and hashes of each package of a lock's text, by its normalized name."""
    found: dict[str, tuple[str, list[str]]] = {}
    for line in lock.splitlines():
        pin, *options = line.split()
        name, _, version = pin.partition("==")
        hashes = [option.removeprefix("--hash=") for option in options]
        found[canonicalize_name(name)] = (version, hashes)
    return found
