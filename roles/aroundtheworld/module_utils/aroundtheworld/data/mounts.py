"""What should be mounted in a site's data and is not: a backup of an empty directory is none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ansible.module_utils.aroundtheworld.layout import ROOT


def missing_mounts(directory: Path, root: Path = ROOT) -> list[Path]:
    """Return where the host's settings have something mounted and nothing is.

    That is what is needed to reach a directory, and what is in it.

    Args:
        directory: Where to look.
        root: Where the host's files are.
    """
    mounted = set(_mounted(root))
    configured = {*_fstab(root), *_units(root)}
    return sorted(
        place
        for place in configured - mounted
        if directory.is_relative_to(place) or place.is_relative_to(directory)
    )


def mounts_below(directory: Path, root: Path = ROOT) -> list[Path]:
    """Return what is mounted at a directory and below it."""
    return sorted({place for place in _mounted(root) if place.is_relative_to(directory)})


def _mounted(root: Path) -> Iterator[Path]:
    # Of the first process: a backup sees a part of the host only.
    for line in _lines(root / "proc" / "1" / "mountinfo"):
        yield _place(line.split()[4])


def _fstab(root: Path) -> Iterator[Path]:
    for line in _lines(root / "etc" / "fstab"):
        fields = line.split()
        if len(fields) > 2 and not fields[0].startswith("#") and fields[1].startswith("/"):
            yield _place(fields[1])


def _units(root: Path) -> Iterator[Path]:
    for unit in sorted((root / "etc" / "systemd" / "system").glob("*.mount")):
        for line in _lines(unit):
            if match := re.fullmatch(r"\s*Where\s*=\s*(/\S*)\s*", line):
                yield Path(match[1])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _place(text: str) -> Path:
    """Return a path as these files have it, with spaces and their like as octal numbers."""
    return Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text))
