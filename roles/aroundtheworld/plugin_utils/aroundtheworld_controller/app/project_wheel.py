"""The wheel of the app's own project, and what of it is in a release."""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from collections.abc import Collection, Iterator, Mapping
from importlib.metadata import PathDistribution
from pathlib import Path, PurePosixPath
from typing import Any

from ansible.utils.display import Display

from aroundtheworld_controller.app.content import is_same
from aroundtheworld_controller.app.project import has_module
from aroundtheworld_controller.app.revision import Revision
from aroundtheworld_controller.app.source_tree import BadSourceError, SourceTree, chunks_of
from aroundtheworld_controller.cache import make_once
from aroundtheworld_controller.packages.build import build, only_for_all
from aroundtheworld_controller.packages.build_tools import BuildFailure, toolbox

# What a former build left in a directory, and would be in the next one too.
LEFT_OVER = re.compile(r"(.*/)?[^/]*\.egg-info/.*|build/(lib|bdist)[^/]*/.*")
# What a console script calls (the entry points specification), and what it may be called.
ENTRY = re.compile(r"(?P<module>[^\W\d][\w.]*)\s*:\s*(?P<call>[^\W\d][\w.]*)\s*(\[.*\])?")
SCRIPT_NAME = re.compile(r"\w[\w.-]*")
# How the release's archive calls what comes from the wheel, which is in several places.
BUILT = "."

NO_COMMIT = (
    "\nIts version seems to be taken from git, and this source is in no repository: give "
    "aroundtheworld_app_git, or a checkout as aroundtheworld_app_dir."
)

SCRIPT = """\
#!python
import sys

from {module} import {name}

if __name__ == "__main__":
    sys.exit({call}())
"""

display = Display()


def with_project(release: Mapping[str, Any], cache: Path) -> dict[str, Any]:
    """Return a release with the wheel of its own project, built unless that was done before.

    The wheel's tree has ``lib`` with packages and metadata, ``bin`` with scripts, and in ``app``
    what the build made beside the app's own sources.

    Args:
        release: What `describe_release` returned.
        cache: The controller's.

    Raises:
        BuildFailure: It cannot be built.
    """
    built = _built(release, cache)
    module = release["module"]
    if module and not has_module(built / "lib", module):
        names = {path.stem for path in (built / "lib").iterdir() if path.suffix in ("", ".py")}
        raise BuildFailure(
            f"aroundtheworld_make_app names the module {module!r}, but in its wheel are: "
            f"{', '.join(sorted(names)) or 'none'}"
        )
    files = sorted(
        path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file()
    )
    tree = {"root": str(built), "files": files}
    return {**release, "trees": {**release["trees"], BUILT: tree}}


def _built(release: Mapping[str, Any], cache: Path) -> Path:
    project = release["project"]
    revision = Revision(**release["revision"]) if release["revision"] else None

    def make(into: Path) -> None:
        display.display(f"Building {project}, the app's own project, on the controller")
        app = release["trees"]["app"]
        with tempfile.TemporaryDirectory(prefix="aroundtheworld-project-") as work:
            top, wheels = Path(work, "repository"), Path(work, "wheels")
            source = top / (revision.prefix if revision else "")
            for directory in (source, wheels):
                directory.mkdir(parents=True)
            for file in app["files"]:
                (source / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(Path(app["root"], file), source / file)
            _check_same(release, source)
            for file in filter(LEFT_OVER.fullmatch, app["files"]):
                (source / file).unlink()
            if revision:
                revision.copy(top)
            try:
                wheel = build(source, wheels, toolbox(cache), top)
            except BuildFailure as failure:
                hint = NO_COMMIT if release["versioned"] and not revision else ""
                raise BuildFailure(f"{failure}{hint}") from None
            only_for_all(wheel, project)
            unpack_wheel(wheel, into, set(map(PurePosixPath, app["files"])))

    return make_once(cache / "projects" / release["id"], make)


def unpack_wheel(wheel: Path, into: Path, app: Collection[PurePosixPath]) -> None:
    """Write what a release has from a wheel into an empty directory; raises `BuildFailure`.

    Args:
        wheel: The wheel.
        into: Where to write.
        app: The app's own files.
    """
    tree = SourceTree(into)
    packages = {file.parts[0] for file in app if len(file.parts) > 1}
    left = []
    try:
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                file = PurePosixPath(entry.filename)
                place = _place(file)
                if entry.is_dir():
                    continue
                if not place:
                    left.append(entry.filename)
                    continue
                places = [place]
                # What a build makes beside sources is there too, where Python finds these first.
                if place.parts[0] == "lib" and file.parts[0] in packages and file not in app:
                    places.append(PurePosixPath("app", file))
                for name in places:
                    with archive.open(entry) as content:
                        tree.add_file(str(name), chunks_of(content), entry.file_size)
        for script, text in _scripts(into / "lib"):
            tree.add_file(f"bin/{script}", iter([text.encode()]), len(text.encode()))
    except (BadSourceError, zipfile.BadZipFile) as bad:
        raise BuildFailure(f"its wheel {wheel.name} cannot be used: {bad}") from None
    if left:
        display.warning(
            f"{wheel.name} has files outside of its packages, which are in no release: "
            f"{', '.join(sorted(left)[:5])}. Make them data of a package, if the app needs them."
        )


def _place(file: PurePosixPath) -> PurePosixPath | None:
    """Return where a release has a file of a wheel."""
    if not file.parts[0].endswith(".data"):
        return PurePosixPath("lib", file)
    kind, rest = file.parts[1], file.parts[2:]
    place = {"purelib": "lib", "platlib": "lib", "scripts": "bin"}.get(kind)
    return PurePosixPath(place, *rest) if place else None


def _scripts(lib: Path) -> Iterator[tuple[str, str]]:
    """Yield the console scripts of the only distribution in `lib`, names and texts."""
    about = next(lib.glob("*.dist-info"), None)
    for entry in PathDistribution(about).entry_points if about else ():
        if entry.group not in ("console_scripts", "gui_scripts"):
            continue
        leads = ENTRY.fullmatch(entry.value)
        if not leads or not SCRIPT_NAME.fullmatch(entry.name):
            raise BuildFailure(
                f"its script {entry.name!r} = {entry.value!r} is none that Python could run"
            )
        module, call = leads["module"], leads["call"]
        name = call.partition(".")[0]
        yield entry.name, SCRIPT.format(module=module, name=name, call=call)


def source_trees(release: Mapping[str, Any]) -> dict[str, tuple[Path, list[Path]]]:
    """Return the trees that a release's id stands for."""
    return {
        label: (Path(tree["root"]), [Path(file) for file in tree["files"]])
        for label, tree in release["trees"].items()
        if label != BUILT
    }


def _check_same(release: Mapping[str, Any], source: Path) -> None:
    """Raise `BuildFailure` unless a copy of the app's files is what the release's id stands for."""
    trees = source_trees(release)
    trees["app"] = (source, trees["app"][1])
    if not is_same(release, trees):
        raise BuildFailure("its files were changed while the run went on; run again")
