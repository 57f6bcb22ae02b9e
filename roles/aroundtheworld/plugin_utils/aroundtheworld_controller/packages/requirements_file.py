"""Read a lockfile in the format of pip's requirements files, whoever wrote it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from aroundtheworld_controller.addresses import shown
from aroundtheworld_controller.packages.lockfile import DIGESTS, REQUIREMENTS, Lockfile, read_text
from aroundtheworld_controller.packages.references import (
    expanded,
    is_app,
    local_path,
    package_at,
    to_build,
    wheel_at,
)

HASH = re.compile("|".join(f"{kind}:[0-9a-f]{{{length}}}" for kind, length in DIGESTS.items()))
FRAGMENT = re.compile(r"[#&](sha256|sha384|sha512)=([0-9A-Fa-f]+)")
PYPI = re.compile(r"https://pypi\.org/simple/?")

LONG = {
    "-i": "--index-url",
    "--pypi-url": "--index-url",
    "-f": "--find-links",
    "-r": "--requirement",
    "-c": "--constraint",
    "-e": "--editable",
    "-C": "--config-settings",
}
WHERE = ("--index-url", "--extra-index-url", "--find-links", "--trusted-host")
# What changes nothing: each version is exact, each hash is checked, and only wheels are taken.
WITHOUT_EFFECT = ("--pre", "--prefer-binary", "--require-hashes", "--only-binary", "--use-feature")
OF_A_BUILD = ("--config-settings", "--config-setting", "--global-option")
FLAGS = ("--no-index", "--pre", "--prefer-binary", "--require-hashes")

A_LINE = (
    "allowed are lines like 'tornado==6.5 --hash=sha256:…', addresses of wheels with a hash, "
    f"'-e .' for the app itself, '-r other.txt', --no-index and {', '.join(WHERE)}"
)
A_PIN = "every line must name one exact version with '=='"
A_HASH = (
    "every line needs its '--hash=sha256:…', as 'uv export' and 'uv pip compile --generate-hashes' "
    "write it"
)


def read_requirements(path: Path, root: Path) -> Lockfile:
    """Return what a requirements file and those that it names say.

    Refused is each line that is neither an exact version with hashes nor an option that helps.

    Args:
        path: The file.
        root: The app's directory, which ``-e .`` may mean.

    Raises:
        BadInputError: A file cannot be read.
    """
    reader = _Reader(path, root)
    reader.read(path, path.name)
    return Lockfile(
        reader.requirements,
        reader.refused,
        reader.unbuilt,
        reader.options,
        reader.links,
        reader.places,
        reader.files,
    )


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a requirements file that say something, each with its number.

    A backslash continues a line on the next one; a comment ends with its own.
    """
    first, line = 1, ""
    for number, part in enumerate([*text.splitlines(), ""], 1):
        line += re.sub(r"(^|\s)#.*", "", part)
        if line.endswith("\\"):
            line = line[:-1]
            continue
        if line.strip():
            yield first, line.strip()
        first, line = number + 1, ""


class _Reader:
    """Goes through a requirements file and those that it names."""

    def __init__(self, top: Path, root: Path) -> None:
        self.top, self.root = top, root
        self.requirements: list[dict[str, Any]] = []
        self.refused: list[tuple[str, str]] = []
        self.unbuilt: list[dict[str, str]] = []
        self.options: list[str] = []
        self.links: list[str] = []
        self.places: list[Path] = []
        self.files: list[Path] = []
        # Of the line that is being read.
        self.directory, self.where, self.line = top.parent, "", ""

    def read(self, path: Path, name: str) -> None:
        """Read a file, which messages call `name`."""
        if any(path.samefile(file) for file in self.files):
            return
        self.files.append(path)
        for number, line in logical_lines(read_text(path, name)):
            self.directory, self.line = path.parent, line
            self.where = f"{REQUIREMENTS}: {name}, line {number}"
            text, options = _split(line)
            try:
                pairs = list(_pairs(shlex.split(options)))
            except ValueError:
                self.refuse(line, A_LINE)
                continue
            if text:
                self.requirement(text, pairs)
            else:
                for option, value in pairs:
                    self.option(option, value)

    def refuse(self, text: str, why: str, marker: str = "") -> None:
        """Note what is wrong with a requirement or line, if `marker` is true for the host."""
        refused = (marker, self.problem(text, why))
        if refused not in self.refused:
            self.refused.append(refused)

    def problem(self, text: str, why: str) -> str:
        """Return a sentence about a requirement or line."""
        return f"{self.where} reads {shown(text)!r}; {why}."

    def option(self, name: str, value: str) -> None:
        """Take an option of a line without a requirement."""
        if name in WHERE and value:
            self.take_address(name, expanded(value, self.root))
        elif name == "--no-index":
            self.options += [name, ""]
        elif name == "--requirement" and value:
            self.take_file(value)
        elif name == "--editable" and value:
            self.reference("", value, self.line, [], "")
        elif name == "--constraint":
            self.refuse(self.line, "leave it out, because each version is exact already")
        elif name == "--no-binary" and value != ":none:":
            self.refuse(
                self.line,
                "hosts take wheels only. Leave it out to take the wheel that there is, or one of "
                "your own in aroundtheworld_wheels",
            )
        elif name not in (*WITHOUT_EFFECT, "--no-binary"):
            self.refuse(self.line, A_LINE)

    def take_address(self, name: str, value: str) -> None:
        """Take where pip on the controller finds wheels."""
        place = local_path(value, self.directory) if name == "--find-links" else None
        if place and not place.exists():
            self.refuse(self.line, f"there is no {place} on the controller")
        elif place:
            self.places.append(place.resolve())
            self.options += [name, str(place.resolve())]
        # It is pip's own default, and where the operator has another, as a mirror, that counts.
        elif name != "--index-url" or not PYPI.fullmatch(value):
            self.options += [name, value]

    def take_file(self, value: str) -> None:
        """Read another file, which is below the app's directory or the lockfile's."""
        path = (self.directory / value).resolve()
        tops = (self.root.resolve(), self.top.parent.resolve())
        if "://" in value or not any(path.is_relative_to(top) for top in tops):
            self.refuse(self.line, f"it must be a file in {self.top.parent}")
        elif not path.is_file():
            self.refuse(self.line, f"there is no {value} in {self.directory}")
        else:
            self.read(path, value)

    def requirement(self, text: str, pairs: Sequence[tuple[str, str]]) -> None:
        """Take a requirement with its hashes."""
        hashes = []
        for name, value in pairs:
            if name == "--hash":
                hashes += [value.lower()] if HASH.fullmatch(value.lower()) else []
            elif name not in OF_A_BUILD:
                self.refuse(self.line, A_LINE)
                return
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            reference, _, marker = text.partition(" ;")
            self.reference("", reference.strip(), text, hashes, marker.strip())
            return
        marker = str(requirement.marker or "")
        pins = [spec.version for spec in requirement.specifier if spec.operator == "=="]
        if requirement.url:
            self.reference(requirement.name, requirement.url, text, hashes, marker)
        elif len(pins) != 1 or "*" in pins[0] or len(requirement.specifier) != 1:
            self.refuse(text, A_PIN, marker)
        else:
            self.add(requirement.name, pins[0], text, hashes, marker)

    def add(self, name: str, version: str, text: str, hashes: list[str], marker: str) -> None:
        """Add a requirement, which must have a hash."""
        if hashes:
            hashes = sorted(set(hashes))
            self.requirements.append(
                {"name": name, "version": version, "marker": marker, "hashes": hashes}
            )
        else:
            self.refuse(text, A_HASH, marker)

    def reference(
        self, name: str, reference: str, text: str, hashes: list[str], marker: str
    ) -> None:
        """Take a path or an address: a wheel, or the app itself, whose files are the release."""
        address = expanded(reference, self.root)
        path = local_path(address.partition("#")[0], self.directory)
        wheel = wheel_at(address)
        if wheel and name and canonicalize_name(name) != wheel[0]:
            self.refuse(text, f"the file is not a wheel of {name}, but of {wheel[0]}", marker)
        elif wheel:
            hashes += [f"{kind}:{digest.lower()}" for kind, digest in FRAGMENT.findall(address)]
            self.places += [path.resolve()] if path else []
            self.links.append(path.resolve().as_uri() if path else address.partition("#")[0])
            self.add(*wheel, text, hashes, marker)
        elif is_app(address, self.root, self.directory):
            pass
        elif name or path is None or _is_path(address, path):
            package = canonicalize_name(name) or package_at(reference, path)
            problem = self.problem(text, to_build(name, reference))
            self.unbuilt.append({"name": package, "marker": marker, "problem": problem})
        else:
            self.refuse(text, A_LINE)


def _split(line: str) -> tuple[str, str]:
    """Return the requirement in a line, and its options."""
    found = re.search(r"(?:^|\s)(?=--?[A-Za-z])", line)
    return (line[: found.start()].strip(), line[found.end() :]) if found else (line, "")


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the options in words, by their long names, with their values."""
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if re.match("-[A-Za-z]", word):
            name, equals, value = word[:2], word[2:], word[2:].removeprefix("=")
        name = LONG.get(name, name)
        if not equals and name not in FLAGS and left:
            value = left.pop(0)
        yield name, value


def _is_path(text: str, path: Path) -> bool:
    """Tell whether a text is meant as a path, as pip decides it."""
    return text.startswith((".", "/", "file:")) or path.exists()
