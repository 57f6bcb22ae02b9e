"""Bring the release and its environment to the host, if they are not there yet.

The module of the same name says what the host lacks. Only then are wheels fetched on the
controller, by exact version and hash and for the host's own Python, so that a host needs no package
index; they are kept in a cache, by the environment's id, for the next host. What is lacking travels
in one archive.
"""

from __future__ import annotations

import functools
import subprocess
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
from aroundtheworld_controller.cache import cache_directory, only_one
from aroundtheworld_controller.content import executable

MODULE = "aroundtheworld_release"
display = Display()


def platforms(python: Mapping[str, Any]) -> list[str]:
    """Return the platform tags whose wheels run on the host, best first (PEP 600).

    manylinux_2_17 is the oldest that a current Python still gets; its old name is manylinux2014.
    """
    machine = python["machine"]
    newest = int(python["libc_version"].split(".")[1])
    return [f"manylinux_2_{minor}_{machine}" for minor in range(newest, 16, -1)] + [
        f"manylinux2014_{machine}",
        f"linux_{machine}",
    ]


def download_command(lock: Path, into: Path, python: Mapping[str, Any]) -> list[str]:
    """Return the pip command that fetches the wheels of `lock` for the host's `python`."""
    tag = python["implementation"] + python["version"].replace(".", "")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement", str(lock)]
    command += ["--dest", str(into), "--python-version"]
    # To the last digit: some wheels want at least 3.11.1, which "3.11" is not.
    command += [python["markers"]["python_full_version"]]
    command += ["--implementation", python["implementation"]]
    command += [part for abi in (tag, "abi3", "none") for part in ("--abi", abi)]
    command += [part for name in platforms(python) for part in ("--platform", name)]
    return command


def fetch_wheels(environment: Mapping[str, str], python: Mapping[str, Any], cache: Path) -> Path:
    """Return a directory with just the environment's wheels, fetched unless they are cached.

    Raises:
        AnsibleActionFail: A wheel cannot be had, or is not the one whose hash is in the lock file.
    """
    wheels = cache / "wheels" / environment["id"]
    with only_one(cache / "wheels" / f".{environment['id']}.lock"):
        if wheels.is_dir():
            return wheels
        count = environment["lock"].count("\n")
        display.display(f"Fetching {count} wheels for Python {python['version']} on the controller")
        with tempfile.TemporaryDirectory(dir=cache / "wheels") as work:
            lock, into = Path(work) / "requirements.txt", Path(work) / "wheels"
            lock.write_text(environment["lock"])
            into.mkdir()
            done = subprocess.run(  # noqa: S603 - a fixed command
                download_command(lock, into, python), capture_output=True, text=True, check=False
            )
            if done.returncode:
                last = "\n".join(done.stderr.strip().splitlines()[-12:])
                raise AnsibleActionFail(
                    "aroundtheworld_requirements: the locked wheels could not be fetched on the "
                    f"controller for Python {python['version']} on {python['platform']}. Every "
                    "requirement needs a wheel for it, with the hash in the lock file. pip "
                    f"said:\n{last}"
                )
            into.rename(wheels)
    return wheels


def add_tree(archive: tarfile.TarFile, label: str, root: Path, files: list[str]) -> None:
    """Add files under `label`, owned by root and writable by nobody else."""
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
            "who": plan["who"],
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
            with tarfile.open(local, "w:gz", compresslevel=1, dereference=True) as archive:
                if "release" in missing:
                    for label, tree in release["trees"].items():
                        add_tree(archive, label, Path(tree["root"]), tree["files"])
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
