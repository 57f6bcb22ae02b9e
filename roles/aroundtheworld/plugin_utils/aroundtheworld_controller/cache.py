"""The controller's cache, which all hosts of a run and all runs share."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_directory() -> Path:
    """Return the controller's cache, where XDG puts caches."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "aroundtheworld"


@contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Let one process at a time into the block; Ansible runs a task for several hosts at once."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def make_once(directory: Path, make: Callable[[Path], None]) -> Path:
    """Return `directory`, which is either whole or not there.

    Args:
        directory: A place in the cache.
        make: Fills an empty directory, if `directory` is not there yet. What it leaves beside that
            is removed.
    """
    with locked(directory.with_name(f".{directory.name}.lock")):
        if not directory.is_dir():
            with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".new-") as work:
                new = Path(work, "new")
                new.mkdir()
                make(new)
                new.rename(directory)
    return directory
