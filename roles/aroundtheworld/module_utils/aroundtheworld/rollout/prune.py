"""What is not needed any more goes: releases, environments, assets, units."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.assets import Assets
from ansible.module_utils.aroundtheworld.changelog import last_good
from ansible.module_utils.aroundtheworld.rollout.observed import Observed


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


def remove_orphans(observed: Observed) -> None:
    """Stop and remove the units that no pool lists any more."""
    # Sockets first: a connection to one would start its service again.
    kinds = [
        [name for name in observed.orphans if name.endswith(kind)]
        for kind in (".socket", ".service", ".slice")
    ]
    for names in kinds:
        if names:
            observed.systemd.call("stop", "--", *names)
    if kinds[0] or kinds[1]:
        observed.systemd.call("disable", "--quiet", "--", *kinds[0], *kinds[1])
    paths = [path for paths in observed.orphans.values() for path in paths]
    for path in paths:
        belongings.remove_file(path)
    observed.systemd.call("daemon-reload")
    observed.systemd.call("reset-failed", "--", *observed.orphans, check=False)
    # Of a stand-in, too, there is nothing any more.
    stand_ins = [
        observed.site.drop_in(name.replace("@", "-handover@", 1))
        for name in observed.orphans
        if name.endswith(".service")
    ]
    belongings.give_up(observed.site.name, [*paths, *stand_ins], root=observed.site.root)
