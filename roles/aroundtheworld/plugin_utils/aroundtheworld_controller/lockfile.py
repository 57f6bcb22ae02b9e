"""The app's hash-locked requirements, and what of them a host's own Python needs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from aroundtheworld_controller.variables import BadInputError

HASH = re.compile(r"--hash[= ](sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})")


def read_lock(path: Path) -> list[dict[str, Any]]:
    """Return the requirements of a hash-locked file, each ``{name, version, marker, hashes}``.

    Raises:
        BadInputError: The file is missing, or a line is not an exact version with hashes.
    """
    shown = f"aroundtheworld_requirements: {path.name}"
    if not path.is_file():
        raise BadInputError(
            f"{shown} does not exist in {path.parent}; make it with "
            "'uv pip compile --universal --generate-hashes' from the app's requirements."
        )
    try:
        text = path.read_text(encoding="utf-8-sig")  # whatever the controller's locale is
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{shown} in {path.parent} cannot be read: {error}.") from None
    requirements, problems = [], []
    for number, line in logical_lines(text):
        text = line.split(" --", 1)[0].strip()
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            problems.append(
                f"{shown}, line {number} reads {text!r}; allowed are lines like "
                "'tornado==6.5 --hash=sha256:…' (no options, no links, no directories)."
            )
            continue
        pins = [spec.version for spec in requirement.specifier if spec.operator == "=="]
        hashes = HASH.findall(line)
        if len(pins) != 1 or "*" in pins[0] or len(requirement.specifier) != 1 or requirement.url:
            problems.append(
                f"{shown} has {text!r}; every line must name one exact version with '=='."
            )
        elif not hashes:
            problems.append(
                f"{shown} has {text!r} without a hash; every line needs its '--hash=sha256:…', "
                "as 'uv pip compile --generate-hashes' writes it."
            )
        else:
            requirements.append(
                {
                    "name": requirement.name,
                    "version": pins[0],
                    "marker": str(requirement.marker or ""),
                    "hashes": sorted(hashes),
                }
            )
    if problems:
        raise BadInputError(*problems)
    return requirements


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


def lock_for(requirements: Sequence[Mapping[str, Any]], environment: Mapping[str, str]) -> str:
    """Return the lockfile's text for one Python, markers decided by its PEP 508 `environment`."""
    lines = []
    for requirement in requirements:
        marker = (
            Requirement(f"{requirement['name']} ; {requirement['marker']}").marker
            if requirement["marker"]
            else None
        )
        if marker is None or marker.evaluate(dict(environment)):
            hashes = " ".join(f"--hash={digest}" for digest in requirement["hashes"])
            lines.append(f"{requirement['name']}=={requirement['version']} {hashes}\n")
    return "".join(sorted(lines))


def environment_for(
    requirements: Sequence[Mapping[str, Any]], python: Mapping[str, Any]
) -> dict[str, str]:
    """Return the ``id`` and ``lock`` text of the virtual environment for a host's own Python."""
    lock = lock_for(requirements, python["markers"])
    about = f"{python['implementation']}{python['version']}-{python['platform']}\n{lock}"
    return {"id": hashlib.sha256(about.encode()).hexdigest()[:12], "lock": lock}
