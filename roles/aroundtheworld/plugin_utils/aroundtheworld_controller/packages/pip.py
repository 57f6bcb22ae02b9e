"""A pip for the controller, wherever its Ansible came from.

Ansible from ``pip install`` has pip beside it. From ``uv tool``, ``pipx`` or Debian's package it
often has none, but Python or Debian have a wheel of it somewhere, or there is uv or pipx to bring
it. Any will do, of any Python: it only downloads, for the Python that options name.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from aroundtheworld_controller.addresses import shown_with

# Where pip lies as a wheel: with Python itself, and with Debian's or Fedora's.
WHEEL_DIRECTORIES = (
    Path(importlib.util.__file__).parents[1] / "ensurepip" / "_bundled",
    Path("/usr/share/python-wheels"),
)
OLDEST = (20, 3)  # that takes several platforms at once
PATIENCE = 300.0  # seconds, because uv and pipx may have to fetch it first

# What to type where there is nothing at all, by the program that the controller installs with.
INSTALL = {
    "apt-get": "sudo apt install python3-pip-whl",
    "dnf": "sudo dnf install python3-pip",
    "brew": "brew install uv",
    "zypper": "sudo zypper install python3-pip",
    "pacman": "sudo pacman --sync python-pip",
    "apk": "sudo apk add py3-pip",
}

# Variables that would have pip ask, refuse, or fetch something else.
CONFUSING = ("PIP_PYTHON", "PIP_REQUIREMENT", "PIP_CONSTRAINT", "PIP_EDITABLE")
QUIETLY = {"PIP_NO_INPUT": "1", "PIP_REQUIRE_VIRTUALENV": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
# Where uv's users say what pip's users say otherwise.
UV_INDEXES = {
    "UV_DEFAULT_INDEX": "PIP_INDEX_URL",
    "UV_INDEX_URL": "PIP_INDEX_URL",
    "UV_INDEX": "PIP_EXTRA_INDEX_URL",
    "UV_EXTRA_INDEX_URL": "PIP_EXTRA_INDEX_URL",
    "UV_FIND_LINKS": "PIP_FIND_LINKS",
}


class NoPipError(Exception):
    """There is no pip; the message is a sentence with what to type."""


def find_pip() -> list[str]:
    """Return the command that runs a pip on this controller; raises `NoPipError`."""
    for command in _candidates():
        if _works(command):
            return command
    install = next((line for tool, line in INSTALL.items() if shutil.which(tool)), "")
    raise NoPipError(
        "The controller has nothing to fetch wheels with: its Ansible runs under "
        f"{sys.executable}, which has no pip, and there is neither a pip nor uv nor pipx on PATH. "
        f"Type: {install or 'python3 -m ensurepip --user'}"
    )


def environment() -> dict[str, str]:
    """Return the environment for a pip that asks nobody, with the operator's indexes."""
    found = {name: value for name, value in os.environ.items() if name not in CONFUSING}
    for theirs, ours in UV_INDEXES.items():
        if theirs in found:
            words = found[theirs].replace(",", " ").split()
            # An index may have a name: ours=https://index.example.org/simple
            addresses = [re.sub(r"^[\w-]+=(?=\w+:)", "", word) for word in words]
            found.setdefault(ours, " ".join(addresses))
    return found | QUIETLY


def run_pip(
    command: Sequence[str], timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Return what a command with a pip in it printed, and its status.

    Raises:
        OSError: There is no such program.
        subprocess.TimeoutExpired: It took longer than `timeout` seconds.
    """
    return subprocess.run(  # noqa: S603 - a pip that was found
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=timeout,
        env=environment(),
    )


def locked_wheels(pip: Sequence[str], lock: Path, into: Path) -> list[str]:
    """Return the command that has `pip` fetch just the wheels of `lock`, by their hashes."""
    command = [*pip, "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement", str(lock)]
    return [*command, "--dest", str(into)]


def last_lines(printed: str, pip: Sequence[str], addresses: Sequence[str] = ()) -> str:
    """Return the last lines of what a pip printed, and which pip it was, without passwords.

    Args:
        printed: What it printed.
        pip: Its command.
        addresses: Where it looked besides where the operator's settings say.
    """
    settings = (value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_")))
    for address in [*addresses, *(word for value in settings for word in value.split())]:
        printed = shown_with(address, printed)
    last = "\n".join(printed.strip().splitlines()[-12:])
    return f"`{' '.join(pip)}` printed:\n{last}"


def _candidates() -> Iterator[list[str]]:
    """Yield commands that may run pip; first those that need no network to do so."""
    if importlib.util.find_spec("pip"):
        yield [sys.executable, "-m", "pip"]
    for directory in WHEEL_DIRECTORIES:
        for wheel in sorted(directory.glob("pip-*.whl"), key=_version, reverse=True):
            yield [sys.executable, str(wheel / "pip")]
    for name in ("pip3", "pip"):
        if program := _program(name):
            yield [program]
    if program := _program("uv"):
        yield [program, "tool", "run", "--python", sys.executable, "pip"]
    if program := _program("pipx"):
        yield [program, "run", "pip"]


def _program(name: str) -> str | None:
    """Return where a program is: on PATH, beside Python, or where it installs itself."""
    beside = (Path(sys.executable).parent, Path.home() / ".local" / "bin")
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, beside)])
    return shutil.which(name, path=path)


def _version(text: object) -> tuple[int, ...]:
    """Return the first version that is named in a text."""
    found = re.search(r"\d+(?:\.\d+)+", str(text).rpartition("/")[2])
    return tuple(map(int, found[0].split("."))) if found else ()


def _works(command: list[str]) -> bool:
    try:
        done = run_pip([*command, "--version"], PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return False
    version = re.match(r"pip (\d\S*)", done.stdout)
    return done.returncode == 0 and version is not None and _version(version[1]) >= OLDEST
