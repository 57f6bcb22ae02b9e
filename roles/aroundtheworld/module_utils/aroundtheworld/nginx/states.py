"""What is at a path that nginx reads: a file, one that only root may read, a link, or nothing."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.aroundtheworld.files import (
    link_atomically,
    read_exactly,
    write_atomically,
)


class Link(str):
    """What a symbolic link leads to."""

    __slots__ = ()


class Private(str):
    """The text of a file that only the root user may read."""

    __slots__ = ()


# A file's text, a link, or nothing.
State = str | Private | Link | None


def differ(first: State, second: State) -> bool:
    """Tell whether one state has to be replaced to be the other."""
    return type(first) is not type(second) or first != second


def read_state(path: Path) -> State:
    """Return what is at the path."""
    if path.is_symlink():
        return Link(path.readlink())
    if not path.exists():
        return None
    text = read_exactly(path)
    return text if path.stat().st_mode & 0o077 else Private(text)


def write_state(path: Path, state: State) -> None:
    """Replace what is at the path at once."""
    if state is None:
        path.unlink(missing_ok=True)
    elif isinstance(state, Link):
        link_atomically(path, state)
    else:
        write_atomically(path, state, 0o600 if isinstance(state, Private) else 0o644)


def read_text(path: Path) -> str:
    """Return the content of a file, or an empty text when there is none."""
    try:
        return str(read_exactly(path))
    except OSError:
        return ""
