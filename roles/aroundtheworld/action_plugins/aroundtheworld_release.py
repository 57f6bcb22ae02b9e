"""Bring the release and its virtual environment to the host, if they are not there yet.

The module of the same name says what the host lacks. Only then are wheels fetched on the
controller, by exact version and hash and for the host's own Python, so that a host needs no package
index; they are kept in a cache, by the virtual environment's id, for the next host. What is missing
travels in one archive.
"""

from __future__ import annotations

import functools
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.action import Result, RoleAction, TaskVars
from aroundtheworld_controller.app.content import executable, is_same
from aroundtheworld_controller.app.project_wheel import source_trees
from aroundtheworld_controller.cache import cache_directory
from aroundtheworld_controller.packages.wheels import fetch_wheels, host_lock

display = Display()


def add_tree(archive: tarfile.TarFile, label: str, root: Path, files: list[str]) -> None:
    """Add files under `label`, owned by root and writable by nobody else.

    A link to a file becomes that file: the app may have some, and the runner has.
    """
    archive.dereference = True
    now = int(time.time())

    def released(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mode = 0o755 if executable(root / file) else 0o644
        # nginx tells versions of a file apart by time and size, but the files of an archive or a
        # reproducible build may all have the same time.
        entry.mtime = now
        return entry

    for file in files:
        archive.add(root / file, f"{label}/{file}", recursive=False, filter=released)


def add_release(archive: tarfile.TarFile, release: Mapping[str, Any]) -> None:
    """Add the trees of a release, which must still be what its id stands for.

    Raises:
        AnsibleActionFail: A file has been changed since the plan, in an editor for instance.
    """
    try:
        for label, tree in release["trees"].items():
            add_tree(archive, label, Path(tree["root"]), tree["files"])
        same = is_same(release, source_trees(release))
    except OSError as error:
        raise AnsibleActionFail(
            f"aroundtheworld_app_dir: {error.filename} could be read when the run began, and it "
            f"cannot now ({error.strerror}). Nothing was deployed; run again."
        ) from None
    if not same:
        raise AnsibleActionFail(
            "aroundtheworld_app_dir: files in it were changed while the run went on. Nothing was "
            "deployed; run again."
        )
    if release["lib"] == "src":
        link = tarfile.TarInfo("lib")
        link.type, link.linkname = tarfile.SYMTYPE, "app/src"
        archive.addfile(link)


class ActionModule(RoleAction):
    """The task ``aroundtheworld_release``.

    Takes ``home``, ``plan`` and ``static``, and for check mode what the module needs to have the
    release say what its migration would do.
    """

    def act(self, task_vars: TaskVars) -> Result:
        """Return the module's result, which says what was missing and is there now."""
        plan = self._task.args["plan"]
        arguments = {
            "home": self._task.args["home"],
            "release": plan["release"]["id"],
            "environment": plan["environment"]["id"],
            "static": self._task.args["static"],
            "lock": plan["lock"],
        }

        def module(**more: str) -> Result:
            return self.module("release", {**arguments, **more}, task_vars)

        state = module()
        if state.get("failed"):
            return state
        if not self._task.check_mode:
            return self._with_archive(state["missing"], plan, module) if state["missing"] else state

        # A site that is not there yet has no database to look at, nor a user to do it.
        migrate_check = self._task.args["migrate_check"]
        if not migrate_check or state["current"] in ("", plan["release"]["id"]):
            return state
        names = ("migrate_check", "process", "secrets")
        check = functools.partial(module, **{name: self._task.args[name] for name in names})
        complete = {"release", "environment"}.isdisjoint(state["missing"])
        result = check() if complete else self._with_archive(state["missing"], plan, check)
        if result.get("migration"):
            host = task_vars["inventory_hostname"]
            display.display(f"{host}: the migration would do this:\n{result['migration']}")
        return result

    def _with_archive(
        self, missing: list[str], plan: Mapping[str, Any], module: Callable[..., Result]
    ) -> Result:
        """Return what the module does with an archive of what is missing."""
        environment = plan["environment"]
        with tempfile.TemporaryDirectory() as work:
            local = Path(work) / "release.tar.gz"
            with tarfile.open(local, "w:gz", compresslevel=1) as archive:
                if "release" in missing:
                    add_release(archive, plan["release"])
                if "environment" in missing:
                    wheels = fetch_wheels(environment, plan["host"]["python"], cache_directory())
                    names = sorted(wheel.name for wheel in wheels.iterdir())
                    add_tree(archive, "wheels", wheels, names)
                    lockfile = Path(work) / "requirements.txt"
                    lockfile.write_text(host_lock(environment, wheels))
                    archive.add(lockfile, "requirements.txt")
            remote = self._connection._shell.join_path(
                self._connection._shell.tmpdir or self._make_tmp_path(), "release.tar.gz"
            )
            self._connection.put_file(str(local), remote)
        return module(archive=remote)
