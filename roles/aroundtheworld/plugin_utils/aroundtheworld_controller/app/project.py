"""The app as a Python project: what it is called, where its modules are, where its version is."""

from __future__ import annotations

import ast
import configparser
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from aroundtheworld_controller.app.revision import Revision
from aroundtheworld_controller.packages.build_tools import tools_id
from aroundtheworld_controller.packages.python_versions import project_pythons

FILES = ("pyproject.toml", "setup.cfg", "setup.py")
# Tools that take a project's version from git; what has one of these names may be that of a commit.
VERSIONED = re.compile(
    r"setuptools[_-]scm|use_scm_version|hatch-vcs|vcs-versioning|versioningit|versioneer|\bpbr\b"
    r"|dynamic-versioning|setuptools-git-versioning|source\s*=\s*[\"']scm[\"']"
)


@dataclass(frozen=True)
class Project:
    """What an app's directory says of itself as a project.

    Attributes:
        name: As packages are called; empty where it does not say.
        versioned: Its version may be that of a git commit.
        pythons: Which Pythons it is for: where that is said, and the specifier.
    """

    name: str = ""
    versioned: bool = False
    pythons: tuple[tuple[str, str], ...] = ()


def read_project(root: Path) -> Project:
    """Return the project in a directory, which may be none."""
    texts = {name: _text(root / name) for name in FILES}
    try:
        pyproject = tomllib.loads(texts["pyproject.toml"])
    except ValueError:  # it need not be built, so it may be whatever it likes
        pyproject = {}
    poetry = _table(pyproject, "tool", "poetry").get("name")
    name = _table(pyproject, "project").get("name") or poetry
    name = name or _name_in_cfg(texts["setup.cfg"]) or _name_in_setup(texts["setup.py"])
    versioned = any(VERSIONED.search(text) for text in texts.values())
    pythons = tuple(project_pythons(pyproject))
    return Project(name if isinstance(name, str) else "", versioned, pythons)


def about_build(revision: Mapping[str, str]) -> str:
    """Return what decides about a project's wheel besides its files.

    Args:
        revision: The commit that its version is from, or nothing.
    """
    described = Revision(**revision).describe() if revision else ""
    return f"built with {tools_id()} {described}\n"


def library(root: Path, module: str, files: Collection[Path], *, built: bool) -> str:
    """Return what a release has in ``lib``: ``wheel``, ``src``, or nothing.

    Args:
        root: The app's directory.
        module: Where the app is made, without what is below it; empty if there is none.
        files: The app's files.
        built: Whether the project is built.
    """
    if built:
        return "wheel"
    there = modules_in_src(files)
    if not there or (module and has_module(root, module)):
        return ""
    return "src" if module in there or any((root / name).is_file() for name in FILES) else ""


def has_module(directory: Path, name: str) -> bool:
    """Tell whether a module or package of this name is in a directory."""
    return (directory / name).is_dir() or (directory / f"{name}.py").is_file()


def modules_in_src(files: Collection[Path]) -> set[str]:
    """Return the modules and packages that are in ``src/``, by their names."""
    found = [file.parts for file in files if file.parts[0] == "src" and file.suffix == ".py"]
    return {parts[1].removesuffix(".py") for parts in found}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _table(tables: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    found: Any = tables
    for name in names:
        found = found.get(name, {}) if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) else {}


def _name_in_cfg(text: str) -> str:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error:
        return ""
    return parser.get("metadata", "name", fallback="")


def _name_in_setup(text: str) -> str:
    """Return the name that a ``setup.py`` sets as a text; it is read, and not run."""
    try:
        calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    except (SyntaxError, ValueError):
        return ""
    for call in calls:
        if getattr(call.func, "id", getattr(call.func, "attr", "")) == "setup":
            for keyword in call.keywords:
                if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
                    return str(keyword.value.value)
    return ""


def is_own(name: str, project: str) -> bool:
    """Tell whether a name in ``aroundtheworld_build`` is that of the app's own project."""
    return bool(project) and canonicalize_name(name) == canonicalize_name(project)
