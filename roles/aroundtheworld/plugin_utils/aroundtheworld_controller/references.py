"""What a lockfile may name besides packages of an index: files, directories and addresses."""

from __future__ import annotations

import os
import re
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


def to_build(name: str, reference: str) -> str:
    """Return how a requirement without a wheel gets one, for after "…; "."""
    what = f"{name} @ {reference}" if name and "://" in reference else reference
    return (
        f"it has to be built. Type `pip wheel --no-deps --wheel-dir wheels '{shown(what)}'`, and "
        "lock what that makes: `uv pip compile --find-links wheels --emit-find-links "
        "--generate-hashes …`"
    )
