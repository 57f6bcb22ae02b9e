"""How much room there is on the host's file systems, for what a deployment puts there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def nearest(path: Path) -> Path:
    """Return the path, or the nearest directory above it that there is."""
    return next(place for place in (path, *path.parents) if place.exists())


def left(path: Path) -> dict[str, Any]:
    """Return what is left on the file system where the path is, or would be.

    Returns:
        C(mount), where it is mounted; C(device), which tells it from others; C(bytes) and
        C(inodes) that users other than root may still take: root's reserve is for trouble.
        C(inodes) is none on a file system that makes them as it needs them.
    """
    place = nearest(path)
    about = os.statvfs(place)
    mount = place.resolve()
    while mount != mount.parent and mount.stat().st_dev == mount.parent.stat().st_dev:
        mount = mount.parent
    return {
        "mount": str(mount),
        "device": place.stat().st_dev,
        "bytes": about.f_bavail * about.f_frsize,
        "inodes": about.f_favail if about.f_files else None,
    }


def room(home: Path, temporary: Path) -> Mapping[str, dict[str, Any]]:
    """Return what is left for each kind of thing that a deployment puts on the host.

    Args:
        home: Home of the site.
        temporary: Where Ansible puts what it brings.
    """
    places = {
        "home": home,
        "temporary": temporary,
        "settings": Path("/etc"),
        "programs": Path("/usr"),
        "lists": Path("/var/lib/apt/lists"),
    }
    return {kind: left(path) for kind, path in places.items()}
