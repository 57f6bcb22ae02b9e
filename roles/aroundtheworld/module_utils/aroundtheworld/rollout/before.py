"""The unit files from before a rollout, kept until it is over."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from ansible.module_utils.aroundtheworld.layout import SiteLayout


def keep(site: SiteLayout, files: Iterable[Path]) -> None:
    """Keep the unit files as they are, unless a rollout that was cut off kept better ones."""
    if site.kept or not site.current.is_symlink():
        return
    unfinished = site.unfinished_before
    shutil.rmtree(unfinished, ignore_errors=True)
    for path in files:
        if path.exists():
            copy = unfinished / path.relative_to(site.units)
            copy.parent.mkdir(parents=True, exist_ok=True)
            try:  # files are replaced and never changed, so this stays as it is
                os.link(path, copy)
            except OSError:
                shutil.copy2(path, copy)
    if unfinished.exists():
        unfinished.rename(site.before)


def copies(site: SiteLayout) -> dict[Path, Path]:
    """Return where each unit file that was kept belongs, and its copy."""
    kept = site.kept
    if not kept:
        return {}
    return {site.units / copy.relative_to(kept): copy for copy in kept.rglob("*") if copy.is_file()}


def forget(site: SiteLayout) -> None:
    """Remove what was kept: there is nothing to go back to any more."""
    while kept := site.kept:
        shutil.rmtree(kept)
