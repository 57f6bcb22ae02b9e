"""What is at a path of nginx's directories: a file, a link, or nothing."""

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


# A file's text, a link, or nothing.
State = str | Link | None


def read_state(path: Path) -> State:
    """Return what is at the path."""
    if path.is_symlink():
        return Link(path.readlink())
    return read_exactly(path) if path.exists() else None


def write_state(path: Path, state: State) -> None:
    """Replace what is at the path at once."""
    if state is None:
        path.unlink(missing_ok=True)
    elif isinstance(state, Link):
        link_atomically(path, state)
    else:
        write_atomically(path, state, 0o644)


def read_text(path: Path) -> str:
    """Return the content of a file, or an empty text when there is none."""
    try:
        return str(read_exactly(path))
    except OSError:
        return ""
