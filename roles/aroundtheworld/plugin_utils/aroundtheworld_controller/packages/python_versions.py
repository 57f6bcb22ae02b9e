"""Which Pythons an app and its requirements are for, and whether a host's own is one of them."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

# What pip prints of a wheel that turns out to be for others.
DIFFERENT = re.compile(
    r"Package '(?P<name>[^']+)' requires a different Python: \S+ not in '(?P<python>[^']+)'"
)
TO_LOCK = (
    "Lock versions for it, as `uv pip compile --python-version {minor} …` does, or deploy to a "
    "host with such a Python."
)


def project_pythons(pyproject: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield where a ``pyproject.toml`` says which Pythons the project is for, and the specifier."""
    try:
        requires = pyproject.get("project", {}).get("requires-python")
        poetry = pyproject.get("tool", {}).get("poetry", {}).get("dependencies", {}).get("python")
    except AttributeError:
        return  # it is the app's, and need not be good for anything here
    if isinstance(requires, str):
        yield "requires-python in pyproject.toml", requires
    elif isinstance(poetry, str):
        yield "python in pyproject.toml", poetry


def python_problems(
    pythons: Sequence[tuple[str, str]], python: Mapping[str, Any], host: str
) -> Iterator[str]:
    """Yield what says that the app is not for the host's own Python."""
    for where, wanted in pythons:
        if not fits(wanted, python):
            yield (
                f"{host} has Python {full_version(python)}, but {where} is {wanted!r}; deploy to a "
                "host with such a Python (Debian 12 has 3.11, Debian 13 has 3.13), or change what "
                "the app asks for."
            )


def wheel_problems(wheels: Path, python: Mapping[str, Any]) -> Iterator[str]:
    """Yield which wheels in a directory are not for the host's own Python."""
    for wheel in sorted(wheels.glob("*.whl")):
        wanted = _requires_python(wheel)
        if wanted and not fits(wanted, python):
            name, version, _, _ = parse_wheel_filename(wheel.name)
            yield _refusal(f"{name} {version}", wanted, python)


def printed_problem(printed: str, python: Mapping[str, Any]) -> str:
    """Return which package is not for the host's own Python, if pip printed that, or nothing."""
    if found := DIFFERENT.search(printed):
        return _refusal(found["name"], found["python"], python)
    return ""


def fits(wanted: str, python: Mapping[str, Any]) -> bool:
    """Tell whether a version specifier has the host's own Python; one that is none has all."""
    try:
        specifier = SpecifierSet(",".join(map(_standard, wanted.split(","))))
    except InvalidSpecifier:
        return True
    return specifier.contains(full_version(python), prereleases=True)


def full_version(python: Mapping[str, Any]) -> str:
    """Return the version of a host's own Python to its last digit."""
    return str(python["markers"]["python_full_version"]).rstrip("+")


def _standard(part: str) -> str:
    """Return a part of a specifier of Poetry's, such as ``^3.9``, as PEP 440 has it."""
    part = part.strip()
    if found := re.fullmatch(r"\^(\d+)(\.\d+)*", part):
        return f">={part[1:]},<{int(found[1]) + 1}"
    if found := re.fullmatch(r"~(\d+)\.(\d+)(\.\d+)*", part):
        return f">={part[1:]},<{found[1]}.{int(found[2]) + 1}"
    return part if not re.fullmatch(r"\d+(\.\d+)*(\.\*)?", part) else f"=={part}"


def _refusal(what: str, wanted: str, python: Mapping[str, Any]) -> str:
    return (
        f"aroundtheworld_requirements: {what} is for Python {wanted}, and the host has Python "
        f"{full_version(python)}. {TO_LOCK.format(minor=python['version'])}"
    )


def _requires_python(wheel: Path) -> str:
    """Return for which Pythons a wheel says that it is; an unreadable one is left to pip."""
    try:
        parse_wheel_filename(wheel.name)
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if re.fullmatch(r"[^/]+\.dist-info/METADATA", name):
                    text = archive.read(name).decode("utf-8", "replace")
                    return HeaderParser().parsestr(text).get("Requires-Python") or ""
    except (OSError, InvalidWheelFilename, zipfile.BadZipFile):
        pass
    return ""
