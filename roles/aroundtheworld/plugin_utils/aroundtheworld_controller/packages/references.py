"""What a lockfile may name besides packages of an index: files, directories and addresses."""

from __future__ import annotations

import os
import re
import tomllib
import urllib.parse
from pathlib import Path

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from aroundtheworld_controller.addresses import shown


def expanded(text: str, root: Path) -> str:
    """Return a text with the controller's variables in it, written as pip has them: ``${NAME}``.

    PDM writes `root`, the app's directory, as one.
    """
    values = {**os.environ, "PROJECT_ROOT": str(root)}
    return re.sub(r"\$\{([A-Z0-9_]+)\}", lambda found: values.get(found[1]) or found[0], text)


def local_path(reference: str, base: Path) -> Path | None:
    """Return the path that a path or file URL means, seen from `base`; other URLs have none."""
    if reference.startswith("file:"):
        path = re.sub(r"^//(localhost)?(?=/)", "", reference.removeprefix("file:"))
        return base / urllib.parse.unquote(path)
    return None if "://" in reference else base / Path(reference).expanduser()


def is_app(reference: str, root: Path, *bases: Path) -> bool:
    """Tell whether a path or file URL is the app's own directory, seen from one of `bases`."""
    plain = re.sub(r"(\[[^\]]*\])?(#.*)?$", "", reference)
    paths = (local_path(plain, base) for base in (root, *bases))
    try:
        return any(path is not None and path.resolve() == root.resolve() for path in paths)
    except (OSError, ValueError):
        return False


def wheel_at(address: str) -> tuple[str, str] | None:
    """Return name and version of the wheel that a path or an address leads to."""
    file = urllib.parse.unquote(re.split(r"[?#]", address, maxsplit=1)[0]).rpartition("/")[2]
    try:
        name, version, _, _ = parse_wheel_filename(file)
    except InvalidWheelFilename:
        return None
    return canonicalize_name(name), str(version)


def package_at(reference: str, path: Path | None) -> str:
    """Return the normalized name of the package whose source a path or an address leads to.

    Args:
        reference: The path or address, which may name the package behind ``#egg=``.
        path: The path, if it is one.
    """
    if path:
        try:
            project = tomllib.loads((path / "pyproject.toml").read_text(encoding="utf-8"))
            return canonicalize_name(str(project["project"]["name"]))
        except (OSError, ValueError, LookupError, TypeError):
            pass
    address, _, fragment = reference.partition("#")
    if egg := re.search(r"(?:^|&)egg=([A-Za-z0-9._-]+)", fragment):
        return canonicalize_name(egg[1])
    last = re.split(r"[?;\[]", address, maxsplit=1)[0].rstrip("/").rpartition("/")[2]
    name = re.sub(r"\.(git|zip|tar\.\w+|tgz)$", "", re.sub(r"@[^@]*$", "", last))
    return canonicalize_name(re.sub(r"-\d[^-]*$", "", name))


def to_build(name: str, reference: str) -> str:
    """Return how a requirement without a wheel gets one, for after "…; "."""
    what = f"{name} @ {reference}" if name and "://" in reference else reference
    return (
        f"it has to be built. Type `pip wheel --no-deps --wheel-dir wheels '{shown(what)}'`, and "
        "name that directory in aroundtheworld_wheels"
    )
