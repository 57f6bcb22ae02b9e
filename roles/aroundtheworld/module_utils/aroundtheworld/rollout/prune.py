"""What is not needed any more goes: releases, virtual environments, assets."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from ansible.module_utils.aroundtheworld.assets import Assets
from ansible.module_utils.aroundtheworld.changelog import last_good


def prune(home: Path, keep: int, running: Iterable[str]) -> list[str]:
    """Remove all but the `keep` newest releases, and environments and assets of none that stay.

    The current release, the one that a rollback would go to, and those that still run always stay.
    """
    current = (home / "current").readlink().name
    wanted = {current, *running, *last_good(home, current)[:1]}
    releases = sorted(
        (path for path in (home / "releases").iterdir() if not path.name.startswith(".")),
        key=lambda path: (path.name in wanted, path.stat().st_mtime),
        reverse=True,
    )
    removed = []
    for path in releases[max(keep, len(wanted)) :]:
        if path.name not in wanted:
            shutil.rmtree(path)
            removed.append(f"release {path.name}")
    used = {link.readlink().name for link in (home / "releases").glob("*/venv")}
    for path in (home / "environments").iterdir():
        if path.name not in used:
            shutil.rmtree(path)
            removed.append(f"environment {path.name}")
    assets = Assets(home)
    if assets.static and assets.stale():
        assets.update()
    return removed
