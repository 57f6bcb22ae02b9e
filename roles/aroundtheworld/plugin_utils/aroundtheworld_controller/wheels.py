"""Fetch the wheels of a lockfile on the controller, for a host's own Python."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display

from aroundtheworld_controller.addresses import shown_with
from aroundtheworld_controller.cache import make_once
from aroundtheworld_controller.pip import NoPipError, environment, find_pip

display = Display()

# What pip prints when it does not get as far as looking for wheels.
UNREACHABLE = re.compile(
    r"connection|timed? ?out|name resolution|proxy|certificate|SSL|HTTP error|\b(401|403|5\d\d) ",
    re.IGNORECASE,
)


def platforms(python: Mapping[str, Any]) -> list[str]:
    """Return the platform tags whose wheels run on the host, best first (PEP 600).

    manylinux_2_17 is the oldest that a current Python still gets; its old name is manylinux2014.
    """
    machine = python["machine"]
    newest = int(python["libc_version"].split(".")[1])
    return [f"manylinux_2_{minor}_{machine}" for minor in range(newest, 16, -1)] + [
        f"manylinux2014_{machine}",
        f"linux_{machine}",
    ]


def download_command(
    pip: Sequence[str], lock: Path, into: Path, python: Mapping[str, Any]
) -> list[str]:
    """Return the command that has `pip` fetch the wheels of `lock` for the host's `python`."""
    tag = python["implementation"] + python["version"].replace(".", "")
    command = [*pip, "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement", str(lock)]
    command += ["--dest", str(into), "--python-version"]
    # To the last digit: some wheels want at least 3.11.1, which "3.11" is not.
    command += [python["markers"]["python_full_version"]]
    command += ["--implementation", python["implementation"]]
    command += [part for abi in (tag, "abi3", "none") for part in ("--abi", abi)]
    command += [part for name in platforms(python) for part in ("--platform", name)]
    return command


def fetch_wheels(
    virtual_environment: Mapping[str, str], python: Mapping[str, Any], cache: Path
) -> Path:
    """Return a directory with just the environment's wheels, fetched unless they are cached.

    Raises:
        AnsibleActionFail: A wheel cannot be had, or its hash is not in the lockfile.
    """

    def fetch(into: Path) -> None:
        try:
            pip = find_pip()
        except NoPipError as missing:
            raise AnsibleActionFail(str(missing)) from None
        lockfile = into.with_name("requirements.txt")
        lockfile.write_text(virtual_environment["lock"])
        count = virtual_environment["lock"].count("\n")
        display.display(f"Fetching {count} wheels for Python {python['version']} on the controller")
        done = subprocess.run(  # noqa: S603 - a fixed command
            download_command(pip, lockfile, into, python),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=environment(),
        )
        if done.returncode:
            raise AnsibleActionFail(
                "aroundtheworld_requirements: the locked wheels could not be fetched on the "
                f"controller for Python {python['version']} on {python['platform']}. "
                + explain(done.stderr, pip)
            )

    return make_once(cache / "wheels" / virtual_environment["id"], fetch)


def explain(printed: str, pip: Sequence[str]) -> str:
    """Return why pip may have failed, and its last lines, without passwords."""
    for name, value in os.environ.items():
        if name.startswith(("PIP_", "UV_")):
            for address in value.split():
                printed = shown_with(address, printed)
    last = "\n".join(printed.strip().splitlines()[-12:])
    cause = (
        "The package index did not give them."
        if UNREACHABLE.search(printed)
        else "Every requirement needs a wheel for it, with the hash in the lockfile."
    )
    return f"{cause} `{' '.join(pip)}` printed:\n{last}"
