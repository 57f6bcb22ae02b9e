"""A directory in memory for what a run brings along and the host is not to keep: a password."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible.module_utils.aroundtheworld.layout import RUN


@contextmanager
def workspace(site: str, run: Path = RUN) -> Iterator[Path]:
    """Have an empty directory for root alone, until the block ends.

    What a run that was killed has left there goes first. Whoever calls this has the site.

    Args:
        site: The site.
        run: The host's directory in memory.
    """
    path = run / f"{site}.restore"
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path)
