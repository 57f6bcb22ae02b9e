"""Packages for the tests of builds: a backend that records what it saw, and source archives."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from aroundtheworld_controller.packages.build_tools import Toolbox

# A build backend (PEP 517): its wheel has the package's module, and what the build found around it.
BACKEND = """
import importlib.util, json, os, pathlib, subprocess, sys, zipfile

def get_requires_for_build_wheel(config=None):
    wanted = pathlib.Path("asks.txt")
    return wanted.read_text().split() if wanted.exists() else []

def build_wheel(into, config=None, metadata=None):
    named = pathlib.Path("wheel.txt").read_text().strip()
    name, version = named.split("-")[:2]
    about = f"{name}-{version}.dist-info"
    seen = {"environment": dict(os.environ), "stdin": sys.stdin.read(), "tools": [
        tool for tool in ("tinybuild", "other_tool", "pip", "ansible")
        if importlib.util.find_spec(tool)], "git": subprocess.run(
            ["git", "describe", "--tags", "--dirty"], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True).stdout}
    files = {"%s.py" % name: "", "seen.json": json.dumps(seen),
             f"{about}/METADATA": f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n",
             f"{about}/WHEEL": "Wheel-Version: 1.0\\nGenerator: tiny\\nRoot-Is-Purelib: true\\n",
             f"{about}/RECORD": ""}
    for path in sorted(pathlib.Path("data").rglob("*")):
        if path.is_file():
            files[path.relative_to("data").as_posix()] = path.read_text()
    with zipfile.ZipFile(pathlib.Path(into, named), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return named
"""

PYPROJECT = '[build-system]\nrequires = ["tinybuild"]\nbuild-backend = "tinybuild"\n'


def toolbox(directory: Path, needs: str = "") -> Toolbox:
    """Return tools of which one can build, and another is for those who ask for it."""
    for name in ("tinybuild", "other_tool"):
        tool = directory / name.replace("_", "-")
        about = tool / f"{name}-1.0.dist-info"
        about.mkdir(parents=True)
        more = f"Requires-Dist: {needs}\n" if needs and name == "tinybuild" else ""
        (about / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{more}"
        )
        (tool / f"{name}.py").write_text(BACKEND if name == "tinybuild" else "")
    return Toolbox(directory)


def package(directory: Path, wheel: str = "tiny-1.0-py3-none-any.whl", **more: str) -> Path:
    """Write a package that is built into a wheel of this name; `more` are other files."""
    files = {"pyproject.toml": PYPROJECT, "wheel.txt": wheel}
    for name, text in {
        **files,
        **{key.replace("__", "."): text for key, text in more.items()},
    }.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def seen(wheel: Path) -> dict[str, object]:
    """Return what the build of a wheel found around it."""
    with zipfile.ZipFile(wheel) as archive:
        found: dict[str, object] = json.loads(archive.read("seen.json"))
    return found


def source_archive(path: Path, files: Mapping[str, str]) -> str:
    """Write a source archive, a zip or tar file by its name; return its hash, as a lock has it."""
    top = path.name.removesuffix(".zip").removesuffix(".tar.gz")
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                archive.writestr(f"{top}/{name}", text)
    else:
        with tarfile.open(path, "w:gz") as tar:
            for name, text in files.items():
                member = tarfile.TarInfo(f"{top}/{name}")
                member.size = len(text.encode())
                tar.addfile(member, io.BytesIO(text.encode()))
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
