"""Which files and directories of an app are in no release."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path

# What nobody misses: the run does not tell that it is left out.
ORDINARY = (".*", "__pycache__", "*.py[co]", "*~", "#*#")
MOST_NAMES = 10  # that are told
# What a virtual environment consists of that was made in the app's directory itself.
AT_THE_TOP = ("/bin", "/include", "/lib/python3.*", "/lib64", "/pyvenv.cfg")


class Exclusion:
    """The rule of ``aroundtheworld_app_exclude``, as in a ``.gitignore``: the last pattern counts.

    A pattern is for names at any depth or, with a slash in it, for a path from the app's directory.
    One with ``!`` in front takes back in. A virtual environment is left out whatever it is called,
    unless a pattern takes it back in.
    """

    def __init__(self, root: Path, patterns: Sequence[str]) -> None:
        """Take the app's directory, and the variable's value."""
        self.root = root
        self.patterns = [*(AT_THE_TOP if is_virtual_environment(root) else ()), *patterns]

    def has(self, entry: Path) -> bool:
        """Tell whether a file or directory, relative to the app's, is left out."""
        path = self.root / entry
        left_out = is_virtual_environment(path)
        for pattern in self.patterns:
            back, rest = pattern.startswith("!"), pattern.removeprefix("!")
            anchored = "/" in rest.rstrip("/")
            name = entry.as_posix() if anchored else entry.name
            if fnmatch.fnmatchcase(name, rest.strip("/")) and (
                not rest.endswith("/") or path.is_dir()
            ):
                left_out = not back
        return left_out


def is_virtual_environment(path: Path) -> bool:
    """Tell whether a directory is one, of Python's own kind or of conda's."""
    return (path / "pyvenv.cfg").is_file() or (path / "conda-meta").is_dir()


def is_ordinary(name: str) -> bool:
    """Tell whether a name is of a dot file, a cache, or what an editor leaves behind."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in ORDINARY)


def sentence(release: str, left_out: Sequence[str]) -> str:
    """Return what to tell about what is not in a release."""
    listed = ", ".join(left_out[:MOST_NAMES])
    if more := left_out[MOST_NAMES:]:
        listed += f" and {len(more)} more"
    return f"Not in release {release}, by aroundtheworld_app_exclude: {listed}"
