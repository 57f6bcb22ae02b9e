"""Static files of all the releases on a host, as nginx finds them.

A page that a visitor got from the release before refers to that release's files, for as long as it
is open. So nginx does not serve the files of one release, but these three trees below ``assets/``,
each with the files' URL paths:

``versions/<sha512>``
    Every file of every release, by its content. Tornado's ``static_url()`` writes this checksum
    behind ``?v=``.
``current``
    Links to the directories of the release that all workers run.
``names``
    Every name that a release has, with the newest release's content: names that contain a checksum.

Files are hard links to those of the releases. All of it follows from which releases are on the
host, and ``index.json``, written last, lists those it was made for.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ansible.module_utils.aroundtheworld.files import link_atomically, write_atomically
from ansible.module_utils.aroundtheworld.layout import HomeLayout

VERSIONS, CURRENT, NAMES, INDEX = "versions", "current", "names", "index.json"

# URL path without its first slash, to the SHA-512 of the file's content in hexadecimal digits.
Digests = Mapping[str, str]


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
        return not same_releases or self.index["static"] != self.static

    def update(self) -> None:
        """Make the trees those of the releases on the host; what stays is there all the while."""
        if not self.static:
            shutil.rmtree(self.root, ignore_errors=True)
            return
        os.umask(0o022)  # nginx reads what root writes here
        known = self.index["releases"] if self.index["static"] == self.static else {}
        digests = {name: known.get(name) or self._digests(name) for name in self.releases()}
        links = {**self._versions(digests), **self._names(digests)}
        directories = {
            self.root / CURRENT / directory["url"].strip("/"): self._files(directory)
            for directory in self.static
        }
        self._remove_all_but({*links, *directories, self.root / INDEX})
        for link, file in links.items():
            if not (link.exists() and link.samefile(file)):
                hard_link_atomically(link, file)
        for link, directory in directories.items():
            link.parent.mkdir(parents=True, exist_ok=True)
            link_atomically(link, directory)
        self.index = {"static": self.static, "releases": digests}
        write_atomically(self.root / INDEX, json.dumps(self.index) + "\n", 0o644)

    def _files(self, directory: Mapping[str, str], release: str = "") -> Path:
        """Return where the files of a static directory are, in a release or in the current one."""
        top: Path = self.layout.release(release) if release else self.layout.current
        return top / "app" / directory["directory"]

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
                link = self.root / VERSIONS / digest / path
                links[link] = link if link.exists() else self._file(release, path)
        return links

    def _names(self, digests: Mapping[str, Digests]) -> dict[Path, Path]:
        """Return the links below ``names``.

        Of a name that is a file in one release and a directory in another, the newer is taken.
        """
        digest_of: dict[PurePosixPath, str] = {}
        directories: set[PurePosixPath] = set()
        for files in digests.values():
            for name, digest in files.items():
                path = PurePosixPath(name)
                if path not in directories and digest_of.keys().isdisjoint((path, *path.parents)):
                    digest_of[path] = digest
                    directories.update(path.parents)
        return {
            self.root / NAMES / path: self.root / VERSIONS / digest / path
            for path, digest in digest_of.items()
        }

    def _remove_all_but(self, keep: set[Path]) -> None:
        """Remove what is below the root, but not these paths and the directories that hold them."""
        keep_directories = {parent for path in keep for parent in path.parents}
        for directory, folders, names in os.walk(self.root):
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
