"""The app from a tar file, on the controller or at an http(s) URL."""

from __future__ import annotations

import hashlib
import http.client
import re
import tarfile
import urllib.error
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from ansible.module_utils import urls
from ansible.utils.display import Display

from aroundtheworld_controller.addresses import shown, shown_with
from aroundtheworld_controller.app.source_tree import (
    CHUNK,
    MOST_BYTES,
    BadSourceError,
    SourceTree,
    chunks_of,
)
from aroundtheworld_controller.cache import make_once

ARCHIVE = "aroundtheworld_app_archive"
SHA256 = re.compile(r"[0-9a-f]{64}")

display = Display()


def unpack(archive: Path, directory: Path) -> None:
    """Unpack a tar file into the empty directory `directory`.

    `SourceTree` decides what belongs there. Python's own ``data`` filter decides too, where Python
    has it; Debian 12's does not.

    Raises:
        BadSourceError: It is no tar file, or not all of it belongs below `directory`.
    """
    tree = SourceTree(directory)
    try:
        with tarfile.open(archive) as tar:
            doubts = [doubt for member in tar for doubt in _unpack_member(tar, member, tree)]
        tree.finish()
    except BadSourceError:
        raise
    except Exception as error:
        raise BadSourceError(f"it is no whole tar file, compressed or not ({error})") from None
    if doubts:
        raise BadSourceError(f"Python's own filter refuses it: {doubts[0]}")


def _unpack_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, tree: SourceTree
) -> Iterator[tarfile.TarError]:
    """Write a member, and yield why Python's own filter would refuse it."""
    name = member.name
    tree.parts(name)
    if member.size < 0:
        raise BadSourceError(f"it holds {name!r}, whose size is {member.size}")
    if member.isdir():
        tree.add_directory(name)
    elif member.issym():
        tree.add_link(name, member.linkname)
    elif member.islnk():
        tree.add_copy(name, member.linkname)
    elif member.isfile():
        content = cast(IO[bytes], tar.extractfile(member))
        tree.add_file(name, chunks_of(content), member.size)
    else:
        raise BadSourceError(f"it holds {name!r}, which is no file, directory or link")
    if data_filter := getattr(tarfile, "data_filter", None):
        try:
            data_filter(member, str(tree.directory))
        except tarfile.TarError as error:
            yield error


def download(url: str, into: Path) -> None:
    """Write what is at an http(s) URL into a file; raises `BadSourceError`."""
    display.display(f"Fetching {shown(url)} on the controller")
    problem = f"{ARCHIVE}.path: {shown(url)} cannot be fetched on the controller: "
    try:
        with urls.open_url(url, timeout=30) as response, into.open("wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                if file.tell() > MOST_BYTES:
                    raise BadSourceError(f"{problem}it is larger than {MOST_BYTES >> 30} GiB")
    except http.client.InvalidURL:  # its message repeats a part of the password
        raise BadSourceError(
            f"{problem}it is no address. In user and password, '/' is written as %2F and '@' as %40"
        ) from None
    except (OSError, http.client.HTTPException, urls.ConnectionError, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the server's answer
        raise BadSourceError(problem + shown_with(url, str(error))) from None


def check(archive: Path, path: str, expected: str) -> None:
    """Raise `BadSourceError` unless `archive`, called `path`, has the checksum `expected`."""
    try:
        with archive.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadSourceError(
            f"{ARCHIVE}.path: {shown(path)!r} cannot be read on the controller: {error.strerror}. "
            "It must be a tar file there, or an http(s) URL."
        ) from None
    if found != expected:
        raise BadSourceError(
            f"{ARCHIVE}.sha256: {expected} is expected, but {shown(path)} has {found}; it is not "
            "the archive that you mean."
        )


def from_archive(source: Mapping[str, Any], cache: Path) -> Path:
    """Return the directory with the files of an archive.

    Raises:
        BadSourceError: The archive cannot be had, or does not have this checksum.
    """
    path, expected = source.get("path") or "", str(source.get("sha256") or "").lower()
    if not path:
        raise BadSourceError(
            f"{ARCHIVE}.path: is missing; give a file on the controller or an http(s) URL."
        )
    if not SHA256.fullmatch(expected):
        raise BadSourceError(
            f"{ARCHIVE}.sha256: {source.get('sha256')!r} is not allowed; it must be the 64 "
            "hexadecimal digits that `sha256sum` prints for the archive."
        )
    remote = re.match(r"https?://", path, re.I) is not None
    local = Path(path).expanduser()
    if not remote:  # also when it is in the cache: it may have been replaced since
        check(local, path, expected)

    def make(directory: Path) -> None:
        archive = directory.with_name("archive") if remote else local
        if remote:
            download(path, archive)
            check(archive, path, expected)
        try:
            unpack(archive, directory)
        except BadSourceError as bad:
            raise BadSourceError(f"{ARCHIVE}.path: {shown(path)} cannot be used: {bad}.") from None

    return make_once(cache / "trees" / expected, make)
