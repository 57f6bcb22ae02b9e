"""When the migration runs: once for each release, and never in a rollback."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ansible.module_utils.aroundtheworld.layout import HomeLayout

# In a release, so that it goes with it.
MARK = ".migrated"


def is_due(home: Path, release: str, current: str, *, back: bool) -> bool:
    """Tell whether the database may not have been migrated for a release yet.

    Args:
        home: The home of the site.
        release: The release that is to run.
        current: The release that runs, or an empty text. It counts as migrated, with a mark or
            without, because former versions of the role did not make marks.
        back: Whether this is a rollback: the release is older than the database.
    """
    return not back and release != current and not _mark(home, release).exists()


def mark(home: Path, *releases: str) -> None:
    """Note that the database was migrated for these releases, if they are on the host."""
    for release in releases:
        path = _mark(home, release)
        if release and path.parent.is_dir() and not path.exists():
            path.touch(mode=0o644)


def marked(home: Path, current: str) -> list[str]:
    """Return the releases that the database was migrated for; the current one counts as such."""
    names = {path.parent.name for path in HomeLayout(home).releases.glob(f"[!.]*/{MARK}")}
    return sorted(names | {current} - {""})


def set_marks(home: Path, releases: Collection[str]) -> None:
    """Have these releases count as migrated, and no others: the database is another one."""
    for path in HomeLayout(home).installed():
        if path.name not in releases:
            _mark(home, path.name).unlink(missing_ok=True)
    mark(home, *releases)


def _mark(home: Path, release: str) -> Path:
    return HomeLayout(home).release(release) / MARK
