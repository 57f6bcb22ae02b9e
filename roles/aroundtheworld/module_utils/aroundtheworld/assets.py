"""Static files of all the releases on a host, as nginx finds them.

A page that a visitor got from the release before refers to that release's files, for as long as it
is open. So nginx does not serve the files of one release, but these three trees below ``assets/``,
each with the files' URL paths:

``versions/<sha512>``
    Every file of every release, by its content. Tornado's ``static_url()`` writes this checksum
    behind ``?v=``.
``current``
    Links to the files of the release that all workers run, which are in its own ``assets/``.
``names``
    Every name that a release has, with the newest release's content: names that contain a checksum.

Files are hard links to those of the releases. Beside each that becomes smaller by it, nginx finds
it compressed, with ``.gz`` behind its name, unless the release itself has a file of that name. All
of it follows from which releases are on the host, and ``index.json``, written last, lists those it
was made for.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ansible.module_utils.aroundtheworld.files import link_atomically, write_atomically
from ansible.module_utils.aroundtheworld.layout import HomeLayout

VERSIONS, CURRENT, NAMES, INDEX = "versions", "current", "names", "index.json"
# After a change of what the trees look like, those on a host are made again.
FORM = 2
# Of which files a compressed one may be worth it: text, and fonts and programs that are not
# compressed in themselves, unless a packet holds them as they are.
COMPRESSIBLE = {".css", ".csv", ".eot", ".geojson", ".htm", ".html", ".ico", ".js", ".json", ".map"}
COMPRESSIBLE |= {".md", ".mjs", ".otf", ".svg", ".ttf", ".txt", ".wasm", ".webmanifest", ".xml"}
SMALLEST = 256
COMPRESSED = ".gz"

# URL path without its first slash, to the SHA-512 of the file's content in hexadecimal digits.
Digests = Mapping[str, str]


def is_compressible(path: str, size: int) -> bool:
    """Tell whether a file of this name and size is compressed if that makes it smaller."""
    return PurePosixPath(path).suffix.lower() in COMPRESSIBLE and size >= SMALLEST


class Assets:
    """What nginx serves of the releases below a home directory."""

    def __init__(self, home: Path, static: Sequence[Mapping[str, str]] | None = None) -> None:
        """Read the index; nothing is changed yet.

        Args:
            home: Directory of the site.
            static: Each a ``url`` that begins and ends with a slash, and the app's ``directory``
                for it; without it, those in the index.
        """
        self.layout = HomeLayout(home)
        self.root: Path = self.layout.assets
        try:
            self.index: dict[str, Any] = json.loads((self.root / INDEX).read_text())
        except (FileNotFoundError, ValueError):
            self.index = {"static": [], "releases": {}}
        self.static = self.index["static"] if static is None else list(map(dict, static))

    def releases(self) -> list[str]:
        """Return the ids of the releases on the host, the newest first."""
        newest_first = sorted(
            self.layout.installed(), key=lambda path: path.stat().st_mtime, reverse=True
        )
        return [path.name for path in newest_first]

    def stale(self) -> bool:
        """Tell whether `update` has something to do."""
        if not self.static:
            return self.root.exists()
        same_releases = set(self.index["releases"]) == set(self.releases())
        same_form = self.index.get("form") == FORM
        return not (same_releases and same_form) or self.index["static"] != self.static

    def update(self) -> None:
        """Make the trees those of the releases on the host; what stays is there all the while."""
        if not self.static:
            for release in self.releases():
                with same_time(self.layout.release(release)):
                    shutil.rmtree(self.layout.release_assets(release), ignore_errors=True)
            shutil.rmtree(self.root, ignore_errors=True)
            return
        os.umask(0o022)  # nginx reads what root writes here
        known = self.index["releases"] if self.index["static"] == self.static else {}
        digests = {name: known.get(name) or self._digests(name) for name in self.releases()}
        versions = self._versions(digests)
        make_links(versions)
        compressed = [path for file in versions if (path := compress(file))]
        for release, files in digests.items():
            tree = self.layout.release_assets(release)
            links = {tree / path: self._version(path, digest) for path, digest in files.items()}
            links = with_compressed(links)
            with same_time(self.layout.release(release)):
                remove_all_but(links, tree)
                make_links(links)
        names = with_compressed(self._names(digests))
        current = {
            self.root / CURRENT / url: self.layout.current_assets / url
            for url in (directory["url"].strip("/") for directory in self.static)
        }
        remove_all_but({*versions, *compressed, *names, *current, self.root / INDEX}, self.root)
        make_links(names)
        for link, directory in current.items():
            link.parent.mkdir(parents=True, exist_ok=True)
            link_atomically(link, directory)
        self.index = {"form": FORM, "static": self.static, "releases": digests}
        write_atomically(self.root / INDEX, json.dumps(self.index) + "\n", 0o644)

    def _version(self, path: str | PurePosixPath, digest: str) -> Path:
        """Return where a file is by its content."""
        return Path(self.root, VERSIONS, digest, path)

    def _files(self, directory: Mapping[str, str], release: str) -> Path:
        """Return where the files of a static directory are in a release."""
        return Path(self.layout.release(release), "app", directory["directory"])

    def _digests(self, release: str) -> Digests:
        """Return every static file of a release."""
        digests = {}
        for directory in self.static:
            top, url = self._files(directory, release), directory["url"].strip("/")
            for file in sorted(path for path in top.rglob("*") if path.is_file()):
                with file.open("rb") as content:
                    digest = hashlib.file_digest(content, "sha512").hexdigest()
                digests[f"{url}/{file.relative_to(top).as_posix()}"] = digest
        return digests

    def _file(self, release: str, path: str) -> Path:
        """Return the file of a release that is served at a URL path."""
        for directory in self.static:
            url = directory["url"].strip("/") + "/"
            if path.startswith(url):
                return self._files(directory, release) / path.removeprefix(url)
        raise ValueError(path)

    def _versions(self, digests: Mapping[str, Digests]) -> dict[Path, Path]:
        """Return the links below ``versions``; one that is there already has the right content."""
        links = {}
        for release, files in digests.items():
            for path, digest in files.items():
                link = self._version(path, digest)
                links[link] = link if link.exists() else self._file(release, path)
        return links

    def _names(self, digests: Mapping[str, Digests]) -> dict[Path, Path]:
        """Return the links below ``names``.

        Of a name that is a file in one release and a directory in another, the newer is taken. A
        release's own compressed file goes with that release's file.
        """
        digest_of: dict[PurePosixPath, str] = {}
        directories: set[PurePosixPath] = set()
        for files in digests.values():
            for name, digest in files.items():
                path, plain = PurePosixPath(name), name.removesuffix(COMPRESSED)
                if plain != name and digest_of.get(PurePosixPath(plain)) != files.get(plain):
                    continue
                if path not in directories and digest_of.keys().isdisjoint((path, *path.parents)):
                    digest_of[path] = digest
                    directories.update(path.parents)
        return {
            self.root / NAMES / path: self._version(path, digest)
            for path, digest in digest_of.items()
        }


@contextlib.contextmanager
def same_time(directory: Path) -> Iterator[None]:
    """Leave a directory's time as it is: the releases on a host are in the order of theirs."""
    status = directory.stat()
    try:
        yield
    finally:
        os.utime(directory, ns=(status.st_atime_ns, status.st_mtime_ns))


def beside(path: Path) -> Path:
    """Return where nginx looks for a file's compressed one."""
    return path.with_name(path.name + COMPRESSED)


def compress(file: Path) -> Path | None:
    """Return the compressed file beside this one, made if it is missing, or None if none helps."""
    compressed = beside(file)
    if compressed.exists():
        return compressed
    status = file.stat()
    if not is_compressible(file.name, status.st_size):
        return None
    fresh = compressed.with_name(f".{compressed.name}.new")
    with file.open("rb") as source, fresh.open("wb") as target:
        with gzip.GzipFile("", "wb", 9, target, 0) as packed:
            shutil.copyfileobj(source, packed)
        target.flush()
        os.fsync(target.fileno())
    if fresh.stat().st_size >= status.st_size:
        fresh.unlink()
        return None
    # Both are the same to a browser that asks whether the file was modified.
    os.utime(fresh, ns=(status.st_atime_ns, status.st_mtime_ns))
    fresh.replace(compressed)
    return compressed


def with_compressed(links: Mapping[Path, Path]) -> dict[Path, Path]:
    """Return the links, and one more to each compressed file where none has that name."""
    more = {beside(link): beside(file) for link, file in links.items() if beside(file).exists()}
    return more | dict(links)


def make_links(links: Mapping[Path, Path]) -> None:
    """Make each path another name of its file, without a gap; another file there is replaced."""
    for link, file in links.items():
        if not (link.exists() and link.samefile(file)):
            hard_link_atomically(link, file)


def remove_all_but(keep: Iterable[Path], root: Path) -> None:
    """Remove what is below a directory, but not these paths and the directories that hold them."""
    keep = set(keep)
    keep_directories = {parent for path in keep for parent in path.parents}
    for directory, folders, names in os.walk(root):
        for name in (*names, *folders):
            path = Path(directory, name)
            if path.is_dir() and not path.is_symlink():
                if path not in keep_directories:
                    shutil.rmtree(path)
                    folders.remove(name)
            elif path not in keep:
                path.unlink()


def hard_link_atomically(link: Path, file: Path) -> None:
    """Make `link` another name of `file`, without a gap; another file there is replaced."""
    link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    os.link(file, fresh)
    fresh.replace(link)
