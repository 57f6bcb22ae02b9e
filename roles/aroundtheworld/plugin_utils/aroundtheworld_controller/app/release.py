"""The release that an app on the controller is, as the plan describes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from aroundtheworld_controller.app.content import (
    MOST_PROBLEMS,
    RUNNER,
    app_files,
    compressed_problems,
    content_id,
    for_the_controller,
    identities,
    pointers,
    survey,
)
from aroundtheworld_controller.app.project import (
    about_build,
    has_module,
    is_own,
    library,
    modules_in_src,
    read_project,
)
from aroundtheworld_controller.app.revision import revision_of
from aroundtheworld_controller.packages.lockfile import Lockfile
from aroundtheworld_controller.packages.own_wheels import WHEELS, with_brought
from aroundtheworld_controller.packages.read_lock import read_lock
from aroundtheworld_controller.variables import BadInputError, refuse


def describe_release(
    variables: Mapping[str, Any], revision: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], Lockfile]:
    """Return the release, and what it runs with.

    It has ``id``, ``trees``, ``lockfiles``, and ``left_out``, names of what is not in it; ``lib``,
    which is ``wheel``, ``src`` or empty for what it has there; and for the wheel of its own project
    what `with_project` needs.

    Args:
        variables: The role's.
        revision: The commit that the app is from, as a `Revision` has it; empty for none. Without
            this, git is asked in the app's directory.

    Raises:
        BadInputError: The app directory is missing or unreadable, or its lock file cannot be used.
    """
    root, make_app = _app_directory(variables), variables["aroundtheworld_make_app"]
    path = Path(variables["aroundtheworld_requirements"]).expanduser()
    lock = with_brought(read_lock(root / path, root), variables.get(WHEELS, ""))
    project = read_project(root)
    built = any(is_own(name, project.name) for name in variables.get("aroundtheworld_build", ()))
    module = make_app.split(":")[0].split(".")[0]
    unseen = _is_unseen(module, root, lock)
    found, left_out = survey(root, variables["aroundtheworld_app_exclude"])
    # A wheel may bring it from anywhere.
    refuse(_module_problems(make_app, root, left_out, missing=unseen and not built))
    staying = for_the_controller(root, found, lock)
    files = {
        "app": (root, [file for file in found if file not in staying]),
        "runner": (RUNNER, app_files(RUNNER, ["__pycache__", "*.pyc", ".*"])),
    }
    static = variables["aroundtheworld_static"]
    refuse(directory_problems(static, *files["app"], make_app))
    lib = library(root, module, files["app"][1], built=built)
    about = "lib is src\n" if lib == "src" else ""
    if built:
        if revision is None and project.versioned:
            revision = revision_of(root)
        revision = revision if project.versioned else {}
        about = about_build(revision or {})
    identity, lockfiles = _identified(files, lock, about)
    refuse(compressed_problems(static, *files["app"]))
    release = {
        "id": identity,
        "trees": {
            label: {"root": str(top), "files": [file.as_posix() for file in names]}
            for label, (top, names) in files.items()
        },
        "lockfiles": list(map(str, lockfiles)),
        "left_out": left_out,
        "about": about,
        "lib": lib,
        "project": project.name,
        "versioned": project.versioned,
        "revision": revision if built else {},
        "module": module if unseen else "",
    }
    return release, replace(lock, pythons=[*project.pythons, *lock.pythons])


def _app_directory(variables: Mapping[str, Any]) -> Path:
    """Return the app's directory; raises `BadInputError` where there is none."""
    directory = variables["aroundtheworld_app_dir"]
    if not directory:
        raise BadInputError(
            "aroundtheworld_app_dir: is missing, and so are aroundtheworld_app_git and "
            "aroundtheworld_app_archive; exactly one of them must say where the app comes from."
        )
    root = Path(directory).expanduser().resolve()
    if not root.is_dir():
        raise BadInputError(
            f"aroundtheworld_app_dir: {directory!r} is not a directory on "
            "the controller; set the directory that holds the app and its requirements."
        )
    return root


def _identified(
    files: Mapping[str, tuple[Path, Sequence[Path]]], lock: Lockfile, about: str
) -> tuple[str, list[Path]]:
    """Return the release's id, and the lockfiles that are not among its files.

    Raises:
        BadInputError: A file cannot be read, or is not the file itself.
    """
    root, app = files["app"]
    try:
        missing = pointers(root, app)
        released = identities(root / file for file in app)
        lockfiles = [path for path in lock.files if identities([path]).isdisjoint(released)]
        identity = content_id(files, lockfiles, about)
    except OSError as error:
        raise BadInputError(
            f"aroundtheworld_app_dir: {error.filename} cannot be read ({error.strerror}); mend or "
            "remove it, or name it in aroundtheworld_app_exclude."
        ) from None
    refuse(
        f"aroundtheworld_app_dir: {str(root / file)!r} is not the file itself, but what "
        "Git LFS puts in its place; give a directory after `git lfs pull`, or an archive "
        "of it, or name it in aroundtheworld_app_exclude."
        for file in missing[:MOST_PROBLEMS]
    )
    return identity, lockfiles


def _module_problems(
    make_app: str, root: Path, left_out: Sequence[str], *, missing: bool
) -> Iterator[str]:
    """Yield why a release would not have the module that `make_app` names."""
    module = make_app.split(":")[0].split(".")[0]
    if missing:
        src = ", nor in its src/," if (root / "src").is_dir() else ""
        yield (
            f"aroundtheworld_make_app: {make_app!r} names the module "
            f"{module!r}, which is neither in {root}{src} nor among the locked requirements."
        )
    elif module and {module, f"{module}.py"} & set(left_out):
        yield (
            f"aroundtheworld_make_app: {make_app!r} names the module {module!r}, which "
            "aroundtheworld_app_exclude leaves out of the release."
        )


def _is_unseen(module: str, root: Path, lock: Lockfile) -> bool:
    """Tell whether a module is neither the app's nor, by its name, a locked requirement's."""
    if not module or has_module(root, module) or has_module(root / "src", module):
        return False
    known = {str(each.get("name")).replace("-", "_").lower() for each in lock.requirements}
    return module.lower() not in known


def directory_problems(
    static: Sequence[Mapping[str, str]], root: Path, files: Sequence[Path], make_app: str
) -> Iterator[str]:
    """Yield which directories of static files hold none of the app's, or its code in ``src/``."""
    parts = make_app.partition(":")[0].split(".")
    code = PurePosixPath("src", *parts) if parts[0] in modules_in_src(files) else None
    for index, entry in enumerate(static):
        where = f"aroundtheworld_static[{index}].directory: {entry['directory']!r}"
        if code and code.is_relative_to(entry["directory"]):
            yield (
                f"{where} is not allowed; it holds the app's code, which nginx would show to "
                "everybody."
            )
        elif not any(file.is_relative_to(entry["directory"]) for file in files):
            yield (
                f"{where} holds no file of the app; it must be a directory in {root} that "
                "aroundtheworld_app_exclude leaves in."
            )
