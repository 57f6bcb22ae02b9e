"""Make a directory of the app's source, where that is a git revision or an archive.

Runs on the controller alone. What it makes is kept in a cache, by commit or checksum, each whole or
not there at all; so what was deployed once needs no network the next time. Nothing of a source is
run, and nothing in it can be written to, or link to, a place outside its own directory.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.action import Result, RoleAction, TaskVars
from aroundtheworld_controller.app.archive import ARCHIVE, from_archive
from aroundtheworld_controller.app.git import GIT, from_git
from aroundtheworld_controller.app.revision import revision_in_cache
from aroundtheworld_controller.app.source_tree import BadSourceError
from aroundtheworld_controller.cache import cache_directory
from aroundtheworld_controller.variables import checked


def below(source: Path, directory: str, variable: str) -> Path:
    """Return the app's directory in a source.

    Raises:
        BadSourceError: There is no such directory, or it is not in the source.
    """
    app = source / directory
    if Path(directory).is_absolute() or ".." in Path(directory).parts or not app.is_dir():
        directories = sorted(path.name for path in source.iterdir() if path.is_dir())
        raise BadSourceError(
            f"{variable}.directory: {directory!r} is not a directory in this source; at its top "
            f"are: {', '.join(directories) or 'none'}."
        )
    return app


def find_app(
    directory: str, git: Mapping[str, Any], archive: Mapping[str, Any], cache: Path
) -> Path:
    """Return the app's directory on the controller, from the only source that is set.

    Raises:
        BadInputError: More than one source is set, or it cannot be used.
    """
    sources = {"aroundtheworld_app_dir": directory, GIT: git, ARCHIVE: archive}
    names = [name for name, value in sources.items() if value]
    if len(names) != 1:
        raise BadSourceError(
            f"{' and '.join(names) or 'no source'}: set together; the app comes from exactly one "
            f"of {', '.join(sources)}."
        )
    value = checked(names[0], sources[names[0]])
    if git:
        return below(from_git(value, cache), value.get("directory") or "", GIT)
    if archive:
        return below(from_archive(value, cache), value.get("directory") or "", ARCHIVE)
    return Path(value)


class ActionModule(RoleAction):
    """The task ``aroundtheworld_source``; takes ``directory``, ``git`` and ``archive``."""

    _requires_connection = False

    def act(self, task_vars: TaskVars) -> Result:
        """Return the app's directory on the controller, and the commit that it is from."""
        cache = cache_directory()
        app = find_app(**self._task.args, cache=cache)
        revision = revision_in_cache(self._task.args["git"], app, cache)
        return {"changed": False, "directory": str(app), "revision": revision}
