"""How much room a backup may use where it is written."""

from __future__ import annotations

import os
from pathlib import Path

MIB = 1024**2
# What has to be left, for the site itself: so much, and not more than that of a large disk.
RESERVE_SHARE, RESERVE_MOST = 0.05, 2048 * MIB


def spare(directory: Path) -> int:
    """Return the bytes that may be used below a directory; negative when the reserve is touched."""
    about = os.statvfs(directory)
    whole = about.f_blocks * about.f_frsize
    return about.f_bavail * about.f_frsize - reserve(whole)


def reserve(whole: int) -> int:
    """Return the bytes to leave on a file system of this size."""
    return min(int(whole * RESERVE_SHARE), RESERVE_MOST)


def shown(size: float) -> str:
    """Return a size as a person reads it."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError
