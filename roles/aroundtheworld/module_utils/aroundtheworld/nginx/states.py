"""What is at a path that nginx reads: a file for everybody or for few, a link, or nothing."""

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


class Shared(str):
    """The text of a file that only the root user and nginx's own processes may read."""

    __slots__ = ()


# A file's text, a link, or nothing.
State = str | Private | Shared | Link | None


def differ(first: State, second: State) -> bool:
    """Tell whether one state has to be replaced to be the other."""
    return type(first) is not type(second) or first != second


def read_state(path: Path) -> State:
    """Return what is at the path."""
    if path.is_symlink():
        return Link(path.readlink())
    if not path.exists():
        return None
    text, others = read_exactly(path), path.stat().st_mode & 0o077
    if not others:
        return Private(text)
    return Shared(text) if others == 0o040 else text


def write_state(path: Path, state: State, group: int = -1) -> None:
    """Replace what is at the path at once; `group` is that of nginx's processes."""
    if state is None:
        path.unlink(missing_ok=True)
    elif isinstance(state, Link):
        link_atomically(path, state)
    elif isinstance(state, Shared):
        write_atomically(path, state, 0o640, group)
    else:
        write_atomically(path, state, 0o600 if isinstance(state, Private) else 0o644)


def read_text(path: Path) -> str:
    """Return the content of a file, or an empty text when there is none."""
    try:
        return str(read_exactly(path))
    except OSError:
        return ""
