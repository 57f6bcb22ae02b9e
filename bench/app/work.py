"""What the admin side is kept busy with, each kind for some seconds."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

SHARED = Path(os.environ.get("SHARED", "/tmp"))  # noqa: S108 - for looking at it by hand
DATABASE = SHARED / "strain.db"
MEGABYTE = 1024**2


def connect() -> sqlite3.Connection:
    """Return a connection in which reading does not wait for writing."""
    connection = sqlite3.connect(DATABASE, timeout=60, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE IF NOT EXISTS line (number INTEGER PRIMARY KEY, text TEXT)")
    return connection


def block(seconds: float) -> None:
    """Wait for something that is not asynchronous."""
    time.sleep(seconds)


def compute(seconds: float) -> None:
    """Keep the interpreter, and with it one processor."""
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        for _ in range(10_000):
            number = (number * 1103515245 + 12345) % 2**31


def remember(seconds: float) -> None:
    """Take memory and touch all of it, again and again."""
    end = time.monotonic() + seconds
    taken = bytearray()
    while time.monotonic() < end:
        taken.clear()  # or there would be twice as much
        taken = bytearray(128 * MEGABYTE)
        taken[::4096] = b"x" * len(taken[::4096])


def store(seconds: float) -> None:
    """Write to the disk, past the kernel's memory."""
    end = time.monotonic() + seconds
    block = os.urandom(4 * MEGABYTE)  # once: making them is work for a processor, not for the disk
    with (SHARED / "strain.bin").open("wb", buffering=0) as file:
        while time.monotonic() < end:
            file.write(block)
            os.fsync(file.fileno())
            file.seek(0)


def write(seconds: float) -> None:
    """Hold the database's only pen."""
    end = time.monotonic() + seconds
    connection = connect()
    try:
        connection.execute("BEGIN IMMEDIATE")
        while time.monotonic() < end:
            lines = [("x" * 500,)] * 200
            connection.executemany("INSERT INTO line (text) VALUES (?)", lines)
        connection.execute("DELETE FROM line WHERE number > 1")
        connection.execute("COMMIT")
    finally:
        connection.close()


def hog(seconds: float) -> None:
    """Take memory and more memory, and keep it."""
    end = time.monotonic() + seconds
    taken = []
    while time.monotonic() < end:
        taken.append(b"x" * 16 * MEGABYTE)
        time.sleep(0.02)


KINDS: dict[str, Callable[[float], None]] = {
    "block": block,
    "compute": compute,
    "remember": remember,
    "store": store,
    "write": write,
    "hog": hog,
}
