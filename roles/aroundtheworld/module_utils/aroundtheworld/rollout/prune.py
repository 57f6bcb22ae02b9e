"""What is not needed any more goes: releases, virtual environments, assets."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from ansible.module_utils.aroundtheworld.assets import Assets
from ansible.module_utils.aroundtheworld.changelog import last_good
from ansible.module_utils.aroundtheworld.layout import HomeLayout


def prune(home: Path, keep: int, running: Iterable[str]) -> list[str]:
    """Remove all but the `keep` newest releases, and what only the removed ones used.

    The current release, the one that a rollback would go to, and those that still run always stay.
    """
    layout = HomeLayout(home)
    current = layout.current_release()
    needed = {current, *running, *last_good(home, current)[:1]}
    releases = sorted(
        layout.installed(),
        key=lambda path: (path.name in needed, path.stat().st_mtime),
        reverse=True,
    )
    removed = []
    for path in releases[max(keep, len(needed)) :]:
        if path.name not in needed:
            shutil.rmtree(path)
            removed.append(f"release {path.name}")
    used = layout.environments_by_release().values()
    for path in layout.environments.iterdir():
        if path.name not in used:
            shutil.rmtree(path)
            removed.append(f"environment {path.name}")
    assets = Assets(home)
    if assets.static and assets.stale():
        assets.update()
    return removed
