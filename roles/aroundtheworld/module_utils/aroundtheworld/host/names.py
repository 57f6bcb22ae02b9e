"""Which names a site cannot have on a host, because something else there has them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ansible.module_utils.aroundtheworld.belongings import (
    marked_files,
    planned_files,
    read_claim,
)
from ansible.module_utils.aroundtheworld.claims import Claim
from ansible.module_utils.aroundtheworld.layout import ROOT, SystemLayout

# Names that systemd gives to units and slices of its own, on every host or when it needs them.
SYSTEMD = (
    *("app", "background", "capsule", "dbus", "getty", "init", "machine", "root", "session"),
    *("system", "systemd", "user"),
)
# Where packages put units, each below the root.
PACKAGED = ("usr/lib/systemd/system", "lib/systemd/system", "run/systemd/generator.late")
# Where systemd finds units, beside the directory that the role writes to.
UNIT_DIRECTORIES = (
    *PACKAGED,
    "etc/systemd/system.control",
    "run/systemd/transient",
    "etc/systemd/system.attached",
    "run/systemd/system",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
)


def name_problems(claim: Claim, root: Path = ROOT) -> Iterator[str]:
    """Yield why the site cannot be called as it is, each a sentence."""
    site = claim["site"]
    if site in SYSTEMD:
        yield (
            f"aroundtheworld_site: {site!r} is not allowed; systemd has units of its own whose "
            f"names begin with it, as {site}.slice would. Give the site another name. (If it is on "
            "this host already, --tags remove takes it off and keeps its data.)"
        )
    elif not read_claim(site, root) and (units := packaged_units(site, root)):
        yield (
            f"aroundtheworld_site: {site!r} is not allowed; this host has {units[0].name} from a "
            "Debian package, and the site's own units would be called alike. Give the site "
            "another name."
        )
    if others := foreign_files(claim, root):
        yield (
            f"aroundtheworld_site: this host has {', '.join(others)}, which the site {site!r} did "
            "not make and would overwrite or hide. Give the site or its pool another name, or move "
            "that away."
        )


def packaged_units(site: str, root: Path = ROOT) -> list[Path]:
    """Return units of packages, and their directories of drop-ins, with names like the site's."""
    like = re.compile(rf"{re.escape(site)}([@-].*)?\.[a-z]+(\.d)?")
    return [
        path
        for place in PACKAGED
        if (root / place).is_dir()
        for path in sorted((root / place).iterdir())
        if like.fullmatch(path.name)
    ]


def foreign_files(claim: Claim, root: Path = ROOT) -> list[str]:
    """Return files of the host that the site did not make and would overwrite or hide."""
    site = claim["site"]
    layout = SystemLayout(site, root)
    before = read_claim(site, root)
    listed = before["has"]["files"] if before else []
    own = {*marked_files(site, root), *map(Path, listed)}
    # A site from before there were claims.
    old = not before and layout.secrets.is_dir() and layout.environment_file.is_file()
    planned = planned_files(claim, root)
    paths = [path for path in planned if path not in own]
    names = {path.name for path in planned if path.parent == layout.units}
    if not before:
        # Later an operator may write it, for how the whole site yields to the rest of the host.
        names.add(layout.site_slice)
        paths.append(layout.units / layout.site_slice)
    paths += [root / place / name for place in UNIT_DIRECTORIES for name in sorted(names)]
    if not before or str(layout.logs) not in before["has"]["directories"]:
        paths.append(layout.logs)
    if not before and not old:
        paths.append(layout.run)
        if layout.etc.is_dir():
            paths += sorted(layout.etc.iterdir())[:1]
    present = [path for path in paths if path.exists() or path.is_symlink()]
    # /lib is a link to /usr/lib: name each file once.
    return [str(path) for path in dict.fromkeys(map(_real, present))]


def _real(path: Path) -> Path:
    return path.parent.resolve() / path.name
