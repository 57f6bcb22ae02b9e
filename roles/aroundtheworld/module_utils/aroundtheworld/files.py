"""Files that another process may read at any moment."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any


def read_exactly(path: Path) -> str:
    """Return the content of a file, or an empty text when there is none.

    Carriage returns and bytes that are not UTF-8 come through, whatever the locale, so that what
    `write_atomically` wrote is read as the same text.
    """
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return ""


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping in a file of JSON, or nothing when there is no such file or mapping."""
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_atomically(path: Path, text: str, mode: int, group: int = -1) -> None:
    """Replace the file at once: a reader sees the old text or the new, also after a crash.

    Args:
        path: Where it is.
        text: The whole content.
        mode: Its permissions.
        group: Whose group it belongs to, if not this process's.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
            file.flush()
            if group >= 0:
                os.fchown(file.fileno(), -1, group)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def remove(path: Path) -> None:
    """Remove whatever is at the path, if it is still there; no link is followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def make_directory(path: Path, mode: int) -> None:
    """Have a directory with this mode, whatever the process's umask is."""
    path.mkdir(mode=mode, exist_ok=True)
    path.chmod(mode)


def link_atomically(link: Path, target: str | Path) -> None:
    """Point the symbolic link at `target` at once, so that it never is missing."""
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)
