"""Sums of the databases' copies, by which a drill knows that they are those that were made."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from pathlib import Path


def sums(directory: Path) -> dict[str, str]:
    """Return the SHA-256 of each file in a directory, by its name.

    A worker may have put something else there: links are not followed, and nothing is waited for.
    """
    found = {}
    with contextlib.suppress(FileNotFoundError):
        for path in sorted(directory.iterdir()):
            with contextlib.suppress(OSError):
                handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                with os.fdopen(handle, "rb") as file:
                    if stat.S_ISREG(os.fstat(handle).st_mode):
                        found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
