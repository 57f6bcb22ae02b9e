"""The program that makes backups on a host, as one file that its own Python runs.

It is made of the same files as the role's modules, of those that it needs: so a timer and a person
have the same code, and the host has no Ansible.
"""

from __future__ import annotations

import functools
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROLE = Path(__file__).resolve().parents[3]
PACKAGE = "ansible.module_utils.aroundtheworld"
IMPORT = re.compile(
    rf"^ *from {PACKAGE}(?P<room>[\w.]*) import (?P<names>\([^)]*\)|.*)", re.MULTILINE
)
BEGIN = b"#!/usr/bin/python3 -IB\n"
MAIN = f"""\
import sys
from pathlib import Path

from {PACKAGE}.data.program import main

sys.exit(main(sys.argv[1:], Path(__file__).parent))
"""
# zip knows no earlier time; with a fixed one, the same files are the same program.
TIME = (1980, 1, 1, 0, 0, 0)


@functools.cache
def program() -> bytes:
    """Return the program: a line for the kernel, and a zip archive."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, text in sorted(_files().items()):
            zipped.writestr(zipfile.ZipInfo(name, TIME), text, zipfile.ZIP_DEFLATED)
    return BEGIN + archive.getvalue()


def _files() -> dict[str, str]:
    """Return the texts of the program's files by their names."""
    files = {"__main__.py": MAIN}
    left = ["data.program"]
    while left:
        path = _path(left.pop())
        name = str(PurePosixPath("ansible", "module_utils", "aroundtheworld", path))
        if name not in files:
            files[name] = (ROLE / "module_utils" / "aroundtheworld" / path).read_text()
            left += _imported(files[name])
    packages = {parent for name in files for parent in PurePosixPath(name).parents}
    return files | {f"{package}/__init__.py": "" for package in packages if package.name}


def _imported(text: str) -> Iterator[str]:
    """Yield the role's modules that a module imports, by their names below the package."""
    for match in IMPORT.finditer(text):
        room = match["room"].lstrip(".")
        names = re.findall(r"\w+", re.sub(r" as \w+", "", match["names"]))
        inside = [f"{room}.{name}".lstrip(".") for name in names]
        yield from [name for name in inside if _path(name, check=True)] or [room]


def _path(name: str, *, check: bool = False) -> str:
    """Return where a module is below the package; with `check`, an empty text if there is none."""
    path = f"{name.replace('.', '/')}.py"
    there = (ROLE / "module_utils" / "aroundtheworld" / path).is_file()
    return path if there or not check else ""
