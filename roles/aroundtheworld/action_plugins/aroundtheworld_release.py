"""Bring the release and its environment to the host, if they are not there yet.

The module of the same name says what the host lacks. Only then are wheels fetched on the
controller, by exact version and hash and for the host's own Python, so that a host needs no package
index; they are kept in a cache, by the environment's id, for the next host. What is lacking travels
in one archive.
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
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.cache import cache_directory
from aroundtheworld_controller.content import content_id, executable
from aroundtheworld_controller.wheels import fetch_wheels

MODULE = "aroundtheworld_release"
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
        # reproducible build may all be of one time.
        entry.mtime = now
        return entry

    for file in files:
        archive.add(root / file, f"{label}/{file}", recursive=False, filter=released)


def add_release(archive: tarfile.TarFile, release: Mapping[str, Any]) -> None:
    """Add the trees of a release, which must still be what its id stands for.

    Raises:
        AnsibleActionFail: A file has been changed since the plan, in an editor for instance.
    """
    trees = {
        label: (Path(tree["root"]), [Path(file) for file in tree["files"]])
        for label, tree in release["trees"].items()
    }
    try:
        for label, (root, files) in trees.items():
            add_tree(archive, label, root, list(map(str, files)))
        same = content_id(trees) == release["id"]
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


class ActionModule(ActionBase):
    """The task ``aroundtheworld_release``.

    Takes ``home``, ``plan`` and ``static``, and for check mode what the module needs to have the
    release say what its migration would do.
    """

    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the module's result, which says what was missing and is there now."""
        super().run(tmp, task_vars)
        plan, home = self._task.args["plan"], self._task.args["home"]
        release, environment = plan["release"], plan["environment"]
        arguments = {
            "home": home,
            "release": release["id"],
            "environment": environment["id"],
            "static": self._task.args["static"],
            "lock": plan["lock"],
        }

        def module(**more: str) -> dict[str, Any]:
            done: dict[str, Any] = self._execute_module(
                module_name=MODULE, module_args={**arguments, **more}, task_vars=task_vars
            )
            return done

        state = module()
        if state.get("failed"):
            return state
        if not self._task.check_mode:
            return self._with_archive(state["missing"], plan, module) if state["missing"] else state

        # A site that is not there yet has no database to look at, nor a user to do it.
        migrate_check = self._task.args["migrate_check"]
        if not migrate_check or state["current"] in ("", release["id"]):
            return state
        about = {"migrate_check": migrate_check, "process": self._task.args["process"]}
        look = functools.partial(module, **about)
        there = {"release", "environment"}.isdisjoint(state["missing"])
        said = look() if there else self._with_archive(state["missing"], plan, look)
        if said.get("migration"):
            name = (task_vars or {})["inventory_hostname"]
            display.display(f"{name}: the migration would do this:\n{said['migration']}")
        return said

    def _with_archive(
        self, missing: list[str], plan: Mapping[str, Any], module: Callable[..., dict[str, Any]]
    ) -> dict[str, Any]:
        """Return what the module does with an archive of what is missing."""
        release, environment = plan["release"], plan["environment"]
        with tempfile.TemporaryDirectory() as work:
            local = Path(work) / "release.tar.gz"
            with tarfile.open(local, "w:gz", compresslevel=1) as archive:
                if "release" in missing:
                    add_release(archive, release)
                if "environment" in missing:
                    wheels = fetch_wheels(environment, plan["host"]["python"], cache_directory())
                    names = sorted(wheel.name for wheel in wheels.iterdir())
                    add_tree(archive, "wheels", wheels, names)
                    lock = Path(work) / "requirements.txt"
                    lock.write_text(environment["lock"])
                    archive.add(lock, "requirements.txt")
            remote = self._connection._shell.join_path(
                self._connection._shell.tmpdir or self._make_tmp_path(), "release.tar.gz"
            )
            self._connection.put_file(str(local), remote)
        return module(archive=remote)
