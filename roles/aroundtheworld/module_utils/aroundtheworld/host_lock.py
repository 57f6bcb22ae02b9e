"""Locks that the kernel ends with their process, and the lock of the host.

Two sites of one host cannot do some things at once, such as trying all of nginx's configuration.
Only root can write in /run.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible.module_utils.aroundtheworld.layout import RUN
from ansible.module_utils.aroundtheworld.systemd import HostError

HOST_LOCK = RUN / "aroundtheworld.lock"
HOST_LOCK_SECONDS = 120.0


class BusyError(Exception):
    """Another process has the kernel lock."""


@contextmanager
def kernel_lock(path: Path, seconds: float) -> Iterator[None]:
    """Hold a kernel lock (flock); raises `BusyError` when another process keeps it longer.

    Args:
        path: A file, which is made when it is missing.
        seconds: How long to wait for another process.
    """
    deadline = time.monotonic() + seconds
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(handle, path):
                break
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(handle)
                raise BusyError from None
            time.sleep(0.02)
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # it was removed meanwhile, or another process has it
    try:
        yield
    finally:
        os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    """Tell whether the open file still is what the path leads to."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(handle)
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


@contextmanager
def only_site() -> Iterator[None]:
    """Hold the host's lock, and wait for it; hold it for a moment only.

    Raises:
        HostError: Another site holds it for longer than anything there is to do takes.
    """
    try:
        with kernel_lock(HOST_LOCK, HOST_LOCK_SECONDS):
            yield
    except BusyError:
        raise HostError(
            f"Another site on this host has held {HOST_LOCK} for more than "
            f"{HOST_LOCK_SECONDS:.0f} s. Run again when its run is over."
        ) from None
