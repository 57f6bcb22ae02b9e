"""The texts of unit files, and the id that stands for a worker's settings."""

from __future__ import annotations

import difflib
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from ansible.module_utils.aroundtheworld.files import read_exactly, write_atomically

CONFIG = "@CONFIG@"


def split_units(text: str) -> dict[Path, str]:
    """Return path to content from a text in the format of ``systemctl cat``."""
    parts = re.split(r"^# (/\S+)\n", text, flags=re.M)[1:]
    return {
        Path(path): content.strip() + "\n"
        for path, content in zip(parts[::2], parts[1::2], strict=True)
    }


def settings_id(texts: Iterable[str], watched: Iterable[Path], key: bytes) -> str:
    """Return 12 hexadecimal digits that change with everything that a worker is started with.

    The watched files may hold secrets and everybody may read the id, so it comes from a keyed hash:
    without the key nobody can try which content leads to an id.
    """
    digest = hmac.new(key, digestmod=hashlib.sha256)
    for text in texts:
        digest.update(b"text %d\0" % len(text.encode()) + text.encode())
    for path in sorted(watched):
        if path.is_file():
            content = path.read_bytes()
            digest.update(f"{path} {len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def settings_key(path: Path, *, make: bool) -> bytes:
    """Return the key of `settings_id`, which only root can read.

    Args:
        path: Where it is.
        make: Whether it is made when there is none; else it is empty then.
    """
    if make and not read_exactly(path):
        write_atomically(path, secrets.token_hex(32), 0o600)
    return read_exactly(path).encode()


def stated(text: str, variable: str) -> str:
    """Return the value that a unit file's text gives the environment variable, or an empty text."""
    found = re.search(rf"^Environment={variable}=(\S*)$", text, flags=re.M)
    return found[1] if found else ""


def unified_diff(path: Path, before: str, after: str) -> str:
    """Return the difference as ``diff -u`` shows it."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), str(path), str(path)
    )
    return "".join(lines)


def text_of(path: Path) -> str:
    """Return the content of a file, or an empty text when there is none."""
    return read_exactly(path)
