"""What a lockfile says, as a value, and what of it a host's own Python needs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from aroundtheworld_controller.variables import BadInputError

REQUIREMENTS = "aroundtheworld_requirements"
# What pip takes for a hash, and how many hexadecimal digits each has; others are too weak.
DIGESTS = {"sha256": 64, "sha384": 96, "sha512": 128}


@dataclass(frozen=True)
class Lockfile:
    """The requirements of an app, and where the controller gets them.

    Attributes:
        requirements: Each ``{name, version, marker, hashes}``.
        refused: Markers, which may be empty, and what is wrong where one is true.
        unbuilt: What has to be built first, each ``{name, marker, problem}``.
        options: For pip on the controller, name after name and value, as in ``--index-url``,
            ``https://…``. They may hold passwords, so they are in no result and on no host.
        links: Addresses of wheels, likewise.
        places: Files and directories on the controller among them.
        files: The lockfile, and those that it names.
        environments: Markers, one of which must be true on a host, if there are any.
        pythons: What says for which Pythons the app is, and the version specifier there.
    """

    requirements: Sequence[Mapping[str, Any]]
    refused: Sequence[tuple[str, str]] = ()
    unbuilt: Sequence[Mapping[str, str]] = ()
    options: Sequence[str] = ()
    links: Sequence[str] = ()
    places: Sequence[Path] = ()
    files: Sequence[Path] = ()
    environments: Sequence[str] = ()
    pythons: Sequence[tuple[str, str]] = ()

    def problems_for(self, environment: Mapping[str, str]) -> Iterator[str]:
        """Yield what is wrong for a Python with this PEP 508 `environment`."""
        if self.environments and not any(
            applies(marker, environment) for marker in self.environments
        ):
            yield (
                f"{REQUIREMENTS}: {self.files[0].name} is for {' or '.join(self.environments)}, "
                f"and the host has Python {environment['python_full_version']} on "
                f"{environment['sys_platform']}; lock for that too."
            )
        for marker, problem in self.refused:
            if applies(marker, environment):
                yield problem


def read_text(path: Path, name: str) -> str:
    """Return the text of a lockfile, which messages call `name`; raises `BadInputError`."""
    try:
        return path.read_text(encoding="utf-8-sig")  # whatever the controller's locale is
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(
            f"{REQUIREMENTS}: {name} in {path.parent} cannot be read: {error}."
        ) from None


def lock_for(requirements: Sequence[Mapping[str, Any]], environment: Mapping[str, str]) -> str:
    """Return the lockfile's text for one Python, markers decided by its PEP 508 `environment`.

    Raises:
        BadInputError: Two versions of a package would apply to it.
    """
    chosen: dict[str, dict[str, Any]] = {}
    for requirement in requirements:
        if not applies(requirement["marker"], environment):
            continue
        name, version = requirement["name"], requirement["version"]
        one = chosen.setdefault(canonicalize_name(name), {**requirement, "hashes": set()})
        if Version(one["version"]) != Version(version):
            raise BadInputError(
                f"{REQUIREMENTS}: {name} is locked as {one['version']} and as {version}, and both "
                f"are for Python {environment['python_full_version']}; lock one of them, or give "
                "each a marker."
            )
        one["hashes"] |= set(requirement["hashes"])
    lines = []
    for one in chosen.values():
        hashes = " ".join(f"--hash={digest}" for digest in sorted(one["hashes"]))
        lines.append(f"{one['name']}=={one['version']} {hashes}\n")
    return "".join(sorted(lines))


def applies(marker: str, environment: Mapping[str, str]) -> bool:
    """Tell whether a marker, which may be empty, is true for a Python."""
    condition = Requirement(f"x ; {marker}").marker if marker else None
    return condition is None or condition.evaluate({"extra": "", **environment})


def environment_for(
    requirements: Sequence[Mapping[str, Any]], python: Mapping[str, Any]
) -> dict[str, str]:
    """Return the ``id`` and ``lock`` text of the virtual environment for a host's own Python."""
    lock = lock_for(requirements, python["markers"])
    about = f"{python['implementation']}{python['version']}-{python['platform']}\n{lock}"
    return {"id": hashlib.sha256(about.encode()).hexdigest()[:12], "lock": lock}
