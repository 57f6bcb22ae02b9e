"""The controller's cache, which all hosts of a run and all runs share."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_directory() -> Path:
    """Return the controller's cache, where XDG says that caches are."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "aroundtheworld"


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Let one process at a time into the block; Ansible runs a task for several hosts at once."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
