"""When the migration runs: once for each release, and never for one that is gone back to."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.aroundtheworld.layout import HomeLayout

# In a release, so that it goes with it.
MARK = ".migrated"


def is_due(home: Path, release: str, current: str, *, back: bool) -> bool:
    """Tell whether the database may not have been brought to a release yet.

    Args:
        home: The site's.
        release: The release that is to run.
        current: The one that runs, or an empty text. It counts as migrated, whether it has a mark
            or comes from a version of the role that made none.
        back: Whether it is gone back to, so that its code is older than the database.
    """
    migrated = (HomeLayout(home).release(release) / MARK).exists()
    return not back and release != current and not migrated


def mark(home: Path, *releases: str) -> None:
    """Note that the database was brought to these releases, as far as they are on the host."""
    for release in releases:
        directory = HomeLayout(home).release(release)
        if release and directory.is_dir() and not (directory / MARK).exists():
            (directory / MARK).touch(mode=0o644)
