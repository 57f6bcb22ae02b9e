"""The role's own files, for tests and tools that need them without a host."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

CHECKOUT = Path(__file__).resolve().parents[1]
ROLE = CHECKOUT / "roles" / "aroundtheworld"


@functools.cache
def load_python(path: str) -> ModuleType:
    """Return the module in the role's file `path`, which no package path leads to."""
    return load_file(f"role_{path.replace('/', '_').removesuffix('.py')}", ROLE / path)


def load_file(name: str, path: Path) -> ModuleType:
    """Return the module in a file, under a name of its own."""
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


@functools.cache
def load_yaml(path: str) -> Any:
    """Return the content of the role's YAML file `path`."""
    return yaml.safe_load((ROLE / path).read_text())


@functools.cache
def load_options() -> dict[str, dict[str, Any]]:
    """Return the role's variables with their specifications."""
    options: dict[str, dict[str, Any]]
    options = load_yaml("meta/argument_specs.yml")["argument_specs"]["variables"]["options"]
    return options
