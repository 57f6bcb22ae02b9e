"""Read a lockfile as PEP 751 has it, ``pylock.toml``.

Written anew, because the `packaging` of a controller may be too old to do it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from aroundtheworld_controller.addresses import shown
from aroundtheworld_controller.packages.lockfile import DIGESTS, REQUIREMENTS, Lockfile, read_text
from aroundtheworld_controller.packages.references import is_app, to_build, wheel_at
from aroundtheworld_controller.variables import BadInputError

NAME = re.compile(r"pylock\.([^.]+\.)?toml")
PYPI = "https://pypi.org/simple"
# Whose files pip finds by its own index.
FILES_OF_PYPI = "https://files.pythonhosted.org/"
MEMBER = re.compile(
    r"""(?P<quote>['"])(?P<name>[^'"]*)(?P=quote)\s+(?P<not>not\s+)?in\s+"""
    r"(?P<set>extras|dependency_groups)\b"
)
TRUE, FALSE = "python_version >= '0'", "python_version < '0'"


def is_pylock(path: Path) -> bool:
    """Tell whether a file has the name of such a lockfile."""
    return NAME.fullmatch(path.name) is not None


def read_pylock(path: Path, root: Path) -> Lockfile:
    """Return what a ``pylock.toml`` says: its default groups, without extras.

    Args:
        path: The file.
        root: The app's directory, which the file may have as a package.

    Raises:
        BadInputError: It is no such file.
    """
    where = f"{REQUIREMENTS}: {path.name} in {path.parent}"
    try:
        reader = _Reader(tomllib.loads(read_text(path, path.name)), path, root)
        reader.read()
    except tomllib.TOMLDecodeError as error:
        raise BadInputError(f"{where} is no TOML: {error}.") from None
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise BadInputError(f"{where} is not as PEP 751 has it: {what}.") from None
    return Lockfile(
        reader.requirements,
        reader.refused,
        reader.unbuilt,
        reader.options(),
        reader.links,
        reader.places,
        [path],
        reader.environments,
        list(reader.pythons()),
    )


class _Reader:
    """Goes through the packages of a lockfile."""

    def __init__(self, content: Mapping[str, Any], path: Path, root: Path) -> None:
        self.content, self.path, self.root = content, path, root
        self.where = f"{REQUIREMENTS}: {path.name}"
        self.requirements: list[dict[str, Any]] = []
        self.refused: list[tuple[str, str]] = []
        self.unbuilt: list[dict[str, str]] = []
        self.indexes: list[str] = []
        self.links: list[str] = []
        self.places: list[Path] = []
        self.environments: list[str] = []

    def read(self) -> None:
        """Take all packages."""
        version = str(self.content["lock-version"])
        if not version.startswith("1."):
            raise ValueError(f"its lock-version is {version!r}, and not 1.0")
        self.environments = [self.marker(str(m)) for m in self.content.get("environments", [])]
        for package in self.content["packages"]:
            self.package(package)

    def options(self) -> list[str]:
        """Return where pip finds the packages, besides where it looks anyway."""
        names = dict.fromkeys(index.rstrip("/") for index in self.indexes)
        alone = len(names) == 1
        option = "--index-url" if alone else "--extra-index-url"
        return [word for index in names if index != PYPI for word in (option, index)]

    def pythons(self) -> Iterator[tuple[str, str]]:
        """Yield what says which Pythons the file is for."""
        if requires := self.content.get("requires-python"):
            yield f"requires-python in {self.path.name}", str(requires)

    def package(self, package: Mapping[str, Any]) -> None:
        """Take a package, or note what is wrong with it."""
        name, marker = str(package["name"]), self.marker(str(package.get("marker", "")))
        directory, archive = package.get("directory"), package.get("archive")
        if directory and is_app(str(directory["path"]), self.root, self.path.parent):
            return
        wheels = [archive] if archive else package.get("wheels", [])
        sources = [package["sdist"]] if "sdist" in package else []
        files = [*(wheel for wheel in wheels if wheel_at(_name(wheel))), *sources]
        hashes = sorted({digest for file in files for digest in _hashes(file)})
        if not files:
            why = f"{_origin(package)!r}; {to_build(name, _origin(package))}"
            about = {"name": canonicalize_name(name), "marker": marker}
            self.unbuilt.append({**about, "problem": self.problem(name, why)})
        elif not hashes:
            kinds = ", ".join(DIGESTS)
            self.refuse(name, f"no hash that pip takes; allowed are {kinds}", marker)
        else:
            self.add(name, package, files, hashes, marker)

    def add(
        self,
        name: str,
        package: Mapping[str, Any],
        files: Sequence[Mapping[str, Any]],
        hashes: list[str],
        marker: str,
    ) -> None:
        """Add a requirement, and where its files are."""
        version = package.get("version") or (wheel_at(_name(files[0])) or ("", ""))[1]
        about = {"name": name, "version": str(Version(version)), "marker": marker}
        self.requirements.append({**about, "hashes": hashes})
        for file in files:
            if path := file.get("path"):
                self.places.append((self.path.parent / path).resolve())
                self.links.append(self.places[-1].as_uri())
            elif "index" not in package and not file["url"].startswith(FILES_OF_PYPI):
                self.links.append(file["url"])
        if "index" in package:
            self.indexes.append(package["index"])

    def refuse(self, name: str, why: str, marker: str) -> None:
        """Note what is wrong with a package, if `marker` is true for the host."""
        self.refused.append((marker, self.problem(name, why)))

    def problem(self, name: str, why: str) -> str:
        """Return a sentence about a package."""
        return f"{self.where} has {name} with {why}."

    def marker(self, marker: str) -> str:
        """Return a marker without extras and groups, which are decided here."""
        chosen = {"extras": [], "dependency_groups": self.content.get("default-groups", [])}

        def decided(found: re.Match[str]) -> str:
            return TRUE if (found["name"] in chosen[found["set"]]) != bool(found["not"]) else FALSE

        text = MEMBER.sub(decided, marker)
        try:
            return str(Requirement(f"x ; {text}").marker) if text else ""
        except InvalidRequirement:
            raise ValueError(f"{marker!r} is no marker") from None


def _name(file: Mapping[str, Any]) -> str:
    """Return what names a file: its name, or the end of its path or address."""
    return str(file.get("name") or file.get("path") or file.get("url") or "")


def _origin(package: Mapping[str, Any]) -> str:
    """Return where the source of a package is that has no wheel."""
    for kind in ("vcs", "directory", "archive"):
        if source := package.get(kind):
            place = shown(str(source.get("url") or source.get("path")))
            return f"{source['type']}+{place}@{source['commit-id']}" if kind == "vcs" else place
    raise ValueError(f"{package['name']} has no files")


def _hashes(file: Mapping[str, Any]) -> Iterator[str]:
    for kind, digest in file.get("hashes", {}).items():
        if len(digest) == DIGESTS.get(kind):
            yield f"{kind}:{digest.lower()}"
