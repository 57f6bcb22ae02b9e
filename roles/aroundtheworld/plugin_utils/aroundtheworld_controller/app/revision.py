"""The commit that an app comes from, for projects whose version is read from git.

The operator's repository is only read: what builds a project gets a repository of its own, with the
same commit and tags, and nobody's configuration, hooks and remotes.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aroundtheworld_controller.app.git import (
    mirror_directory,
    neutral_environment,
    operators_environment,
)


@dataclass(frozen=True)
class Revision:
    """A commit in a repository on the controller.

    Attributes:
        repository: Its git directory.
        commit: The commit's id.
        prefix: The app's directory in it, relative to its top.
    """

    repository: str
    commit: str
    prefix: str = ""

    def describe(self) -> str:
        """Return the commit, and what git calls it by the nearest tag with a number."""
        options = ("--tags", "--long", "--always", "--abbrev=40", "--match=*[0-9]*")
        return f"{self.commit} {self._git('describe', *options, self.commit)}".strip()

    def copy(self, directory: Path) -> None:
        """Make `directory` a checkout of the commit, of which git asks about no file.

        Its files are those of a release, which need not be all that the commit has.
        """
        _git(["init", "--quiet", "--template=", str(directory)], directory)
        own = directory / ".git"
        alternates = own / "objects" / "info" / "alternates"
        alternates.parent.mkdir(exist_ok=True)
        alternates.write_text(f"{Path(self.repository, 'objects')}\n")
        shallow = Path(self.repository, "shallow")
        if shallow.is_file():
            (own / "shallow").write_bytes(shallow.read_bytes())
        tags = self._git(
            "for-each-ref", "--format=%(objectname) %(refname)", f"--merged={self.commit}",
            "refs/tags",
        )  # fmt: skip
        (own / "packed-refs").write_text(f"{tags}\n" if tags else "")
        (own / "HEAD").write_text(f"{self.commit}\n")
        _git(["read-tree", self.commit], directory)
        names = _git(["ls-files", "-z"], directory)
        _git(["update-index", "--skip-worktree", "-z", "--stdin"], directory, names)

    def _git(self, *arguments: str) -> str:
        return _git([f"--git-dir={self.repository}", *arguments], Path(self.repository))


def revision_of(directory: Path) -> dict[str, str]:
    """Return the commit that is checked out in a directory, as `Revision` has it, or nothing."""
    ask = ["rev-parse", "--path-format=absolute", "--git-common-dir", "--show-prefix", "HEAD"]
    answer = _git(ask, directory, environment=operators_environment()).split("\n")
    if len(answer) != 3:
        return {}
    return {"repository": answer[0], "commit": answer[2], "prefix": answer[1].rstrip("/")}


def revision_in_cache(source: Mapping[str, Any], app: Path, cache: Path) -> dict[str, str]:
    """Return the commit that `from_git` made the app's directory from, or nothing.

    Args:
        source: ``aroundtheworld_app_git``, which may be empty.
        app: The app's directory.
        cache: The controller's.
    """
    if not source:
        return {}
    commit, *below = app.relative_to(cache / "trees").parts
    place = mirror_directory(source["repository"], cache)
    return {"repository": str(place), "commit": commit, "prefix": "/".join(below)}


def _git(
    arguments: Sequence[str],
    directory: Path,
    given: str = "",
    environment: Mapping[str, str] | None = None,
) -> str:
    """Return what git prints, without the last line's end; nothing where it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed commands
            ["git", *arguments],  # noqa: S607 - as everywhere
            cwd=directory,
            input=given,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
            env=environment or neutral_environment(directory),
        )
    except OSError:
        return ""
    return done.stdout.removesuffix("\n") if done.returncode == 0 else ""
