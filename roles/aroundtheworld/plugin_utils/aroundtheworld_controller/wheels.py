"""Fetch the wheels of a lock file on the controller, for a host's own Python."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display

from aroundtheworld_controller.cache import only_one

display = Display()


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


def download_command(lock: Path, into: Path, python: Mapping[str, Any]) -> list[str]:
    """Return the pip command that fetches the wheels of `lock` for the host's `python`."""
    tag = python["implementation"] + python["version"].replace(".", "")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement", str(lock)]
    command += ["--dest", str(into), "--python-version"]
    # To the last digit: some wheels want at least 3.11.1, which "3.11" is not.
    command += [python["markers"]["python_full_version"]]
    command += ["--implementation", python["implementation"]]
    command += [part for abi in (tag, "abi3", "none") for part in ("--abi", abi)]
    command += [part for name in platforms(python) for part in ("--platform", name)]
    return command


def fetch_wheels(environment: Mapping[str, str], python: Mapping[str, Any], cache: Path) -> Path:
    """Return a directory with just the environment's wheels, fetched unless they are cached.

    Raises:
        AnsibleActionFail: A wheel cannot be had, or is not the one whose hash is in the lock file.
    """
    wheels = cache / "wheels" / environment["id"]
    with only_one(cache / "wheels" / f".{environment['id']}.lock"):
        if wheels.is_dir():
            return wheels
        count = environment["lock"].count("\n")
        display.display(f"Fetching {count} wheels for Python {python['version']} on the controller")
        with tempfile.TemporaryDirectory(dir=cache / "wheels") as work:
            lock, into = Path(work) / "requirements.txt", Path(work) / "wheels"
            lock.write_text(environment["lock"])
            into.mkdir()
            done = subprocess.run(  # noqa: S603 - a fixed command
                download_command(lock, into, python), capture_output=True, text=True, check=False
            )
            if done.returncode:
                last = "\n".join(done.stderr.strip().splitlines()[-12:])
                raise AnsibleActionFail(
                    "aroundtheworld_requirements: the locked wheels could not be fetched on the "
                    f"controller for Python {python['version']} on {python['platform']}. Every "
                    "requirement needs a wheel for it, with the hash in the lock file. pip "
                    f"said:\n{last}"
                )
            into.rename(wheels)
    return wheels
