"""The Python of a host, and a virtual environment for it."""

from __future__ import annotations

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
