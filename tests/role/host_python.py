"""The Python of a host, a virtual environment for it, and where pip's wheel is here."""

from __future__ import annotations

from aroundtheworld_controller.packages.pip import WHEEL_DIRECTORIES

# Python's own directory, or Debian's, whose Python has none of its own.
PIP_WHEELS = next(directory for directory in WHEEL_DIRECTORIES if any(directory.glob("pip-*.whl")))

HASHES = ["sha256:" + digit * 64 for digit in "01"]


def markers(version: str) -> dict[str, str]:
    """Return what PEP 508 says of a Python of this version."""
    return {
        "python_version": version,
        "python_full_version": f"{version}.2",
        "sys_platform": "linux",
    }


PYTHON = {
    "version": "3.11",
    "implementation": "cp",
    "platform": "x86_64-glibc2.36",
    "machine": "x86_64",
    "libc_version": "2.36",
    "markers": markers("3.11"),
}

ENVIRONMENT = {"id": "ba9876543210", "lock": f"tornado==6.5.2 --hash={HASHES[0]}\n"}
