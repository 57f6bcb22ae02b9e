"""What a site has on its host: written down before it is made, and removed by that list alone.

The list is the part ``has`` of the site's claim. A site of an older role, which wrote no such list,
gets it from the ports and pools in its claim and from the files that carry the role's mark.

Code that writes a file outside the site's home calls `take` with its path first, so a run that was
cut off leaves no file that is not listed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.claims import Claim, claim_text
from ansible.module_utils.aroundtheworld.files import write_atomically
from ansible.module_utils.aroundtheworld.layout import DROP_IN, ROOT, STEPS, SystemLayout

POOLS, METRICS = "aroundtheworld_pools", "aroundtheworld_metrics_port"

# The directory of homes, unless a variable names another home.
USUAL = Path("/var/lib/tornado")

Has = dict[str, list[Any]]
"""``files`` and ``directories`` by their paths, ``users`` each with ``name`` and ``uid``."""


def mark(site: str) -> str:
    """Return the line by which files of the role are known, as comments have it."""
    return f"# Made by the aroundtheworld role for the site {site}. A run puts it back."


# --- Which files there are ------------------------------------------------------------------------


def ports(claim: Claim, variable: str) -> list[int]:
    """Return the ports that a claim has because of a variable."""
    return [entry["port"] for entry in claim["sockets"] if entry["variable"] == variable]


def unit_files(claim: Claim, root: Path = ROOT) -> list[Path]:
    """Return the unit files of a site with this claim."""
    layout = SystemLayout(claim["site"], root)
    names = [layout.service(""), layout.socket(""), layout.stand_in("")]
    names += map(layout.step, STEPS)
    if ports(claim, METRICS):
        names += [layout.metrics("socket"), layout.metrics("service")]
    for pool in claim["pools"]:
        names += [layout.slice(pool), layout.stand_in_slice(pool)]
    queues = claim.get("queues", {})  # which a site of an older role does not have
    jobs = claim.get("jobs", [])
    names += map(layout.slice, [*queues, *jobs])
    names += [layout.job(pool, kind) for pool in jobs for kind in ("service", "timer")]
    instances = [f"{pool}-{number + 1}" for pool in queues for number in range(queues[pool])]
    return [
        *(layout.units / name for name in names),
        *(layout.drop_in(layout.service(port)) for port in [*ports(claim, POOLS), *instances]),
    ]


def log_files(site: str, root: Path = ROOT) -> list[Path]:
    """Return nginx's logs of the site, also of former days, by whichever name."""
    return [*_logs_in(SystemLayout(site, root).logs, ""), *former_logs(site, root)]


def former_logs(site: str, root: Path = ROOT) -> list[Path]:
    """Return those logs that are where former versions of the role had them."""
    return _logs_in(SystemLayout(site, root).nginx_logs, f"{site}.")


def _logs_in(directory: Path, prefix: str) -> list[Path]:
    name = re.compile(rf"{re.escape(prefix)}(access|error)\.log([.-]\d+)*(\.(gz|xz|bz2|zst))?")
    paths = directory.iterdir() if directory.is_dir() else ()
    return sorted(path for path in paths if name.fullmatch(path.name))


def planned_files(claim: Claim, root: Path = ROOT) -> list[Path]:
    """Return every file outside its home and ``/etc/SITE`` that a site with this claim has."""
    layout = SystemLayout(claim["site"], root)
    backups = layout.backup_files if claim.get("backup") else []
    return [*unit_files(claim, root), layout.script, layout.rotation, *layout.nginx_files, *backups]


# --- The mark -------------------------------------------------------------------------------------


def old_marks(site: str) -> list[tuple[re.Pattern[str], str]]:
    """Return patterns of names, each with the phrase that such a file of an older role has."""
    worker, name = "Environment=AROUNDTHEWORLD_PORT=%i", re.escape(site)
    return [
        (re.compile(rf"{name}(-handover)?@\.service"), worker),
        (re.compile(rf"{name}@\.socket"), f"Description={site}: listening socket of the worker"),
        (
            re.compile(rf"{name}-prepare\.service"),
            f"Description={site}: what a release needs before any worker runs it",
        ),
        (
            re.compile(rf"{name}-metrics\.(socket|service)"),
            "/runner/aroundtheworld_exporter.py",
        ),
        (re.compile(rf"{name}-[a-z0-9_]+\.slice"), f"Description={site}: all workers of the "),
        (re.compile(rf"{name}(-handover)?@\d+\.service\.d/pool\.conf"), "AROUNDTHEWORLD_POOL="),
        (
            re.compile(rf"{name}-run"),
            "# Runs a command the way the workers of the current release run",
        ),
        (re.compile(rf"{name}\.conf"), f"log_format {site} escape=json"),
    ]


def is_marked(path: Path, site: str) -> bool:
    """Tell whether the role made a file for the site, by its content."""
    try:
        text = path.read_text()
    except (OSError, ValueError):
        return False
    if mark(site) in text.splitlines()[:3]:
        return True
    name = f"{path.parent.name}/{path.name}" if path.name == DROP_IN else path.name
    return any(pattern.fullmatch(name) and phrase in text for pattern, phrase in old_marks(site))


def marked_files(site: str, root: Path = ROOT) -> list[Path]:
    """Return the files that carry the role's mark for the site, where the role writes any."""
    layout = SystemLayout(site, root)
    candidates = [
        path
        for pattern in (f"{site}@.*", f"{site}-*.*", f"{site}@*.d/*", f"{site}-handover@*.d/*")
        for path in layout.units.glob(pattern)
    ]
    candidates += [layout.script, layout.rotation, *layout.nginx_files]
    return sorted({path for path in candidates if path.is_file() and is_marked(path, site)})


# --- The list -------------------------------------------------------------------------------------


def nothing() -> Has:
    """Return the list of a site that has nothing yet."""
    return {"files": [], "directories": [], "users": []}


def adopted(claim: Claim, root: Path = ROOT) -> Has:
    """Return what a site of an older role has, which wrote no list.

    That is what follows from its claim, as far as it is there, and what carries the mark: a worker
    of an earlier inventory may be left from a run that was cut off.
    """
    site = claim["site"]
    known = set(marked_files(site, root))
    if claim["sockets"]:  # otherwise it was removed, and only its data is left
        # A worker's drop-in also when it is missing: the worker's units may still be in memory.
        known.update(
            path
            for path in planned_files(claim, root)
            if path.name == DROP_IN or path.exists() or path.is_symlink()
        )
    home = Path(claim["home"])
    directories = [home, SystemLayout(site, root).etc]
    if home.parent == USUAL:  # only the role makes it
        directories.append(USUAL)
    return {
        "files": sorted(map(str, known)),
        "directories": [str(path) for path in directories if path.is_dir()],
        "users": [],
    }


def read_claim(site: str, root: Path = ROOT) -> dict[str, Any]:
    """Return a site's claim with the list of what it has, or nothing when it has none."""
    try:
        claim: dict[str, Any] = json.loads(SystemLayout(site, root).claim.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(claim, dict) or not {"home", "sockets", "pools"} <= claim.keys():
        return {}
    claim.setdefault("has", adopted(claim, root))
    return claim


def has(site: str, root: Path = ROOT) -> Has:
    """Return what the site has."""
    belongings: Has = read_claim(site, root).get("has", nothing())
    return belongings


def files(site: str, root: Path = ROOT) -> set[Path]:
    """Return the files that the site has outside its home; not all need to be there."""
    return {Path(path) for path in has(site, root)["files"]}


def take(
    site: str,
    files: Iterable[Path] = (),
    directories: Iterable[Path] = (),
    users: Iterable[Mapping[str, Any]] = (),
    root: Path = ROOT,
) -> None:
    """List what the site is about to have; call this before you make it.

    Nothing is written when all of it is listed already, or when there is no claim yet: the claim is
    the first thing that a site gets.
    """
    _change(site, root, more=(files, directories, users))


def give_up(
    site: str,
    files: Iterable[Path] = (),
    directories: Iterable[Path] = (),
    users: Iterable[Mapping[str, Any]] = (),
    root: Path = ROOT,
) -> None:
    """Take what the site has no longer from the list; call this after you removed it."""
    _change(site, root, less=(files, directories, users))


def _change(
    site: str,
    root: Path,
    more: tuple[Iterable[Any], ...] = ((), (), ()),
    less: tuple[Iterable[Any], ...] = ((), (), ()),
) -> None:
    layout = SystemLayout(site, root)
    if not layout.claim.exists():
        return
    with alone(layout):
        claim = read_claim(site, root)
        if not claim:
            return
        listed: Has = {}
        for kind, added, dropped in zip(nothing(), more, less, strict=True):
            gone = [plain(entry) for entry in dropped]
            entries = [entry for entry in claim["has"].get(kind, []) if entry not in gone]
            entries += [entry for entry in map(plain, added) if entry not in entries]
            listed[kind] = sorted(entries, key=str)
        text = claim_text({**claim, "has": listed})
        if layout.claim.read_text() != text:
            write_atomically(layout.claim, text, 0o644)


@contextlib.contextmanager
def alone(layout: SystemLayout) -> Iterator[None]:
    """Keep others from changing the site's claim: it can be closed while a run goes on.

    The kernel ends this with the process. It is held for as long as it takes to write a file.
    """
    handle = os.open(layout.etc, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def plain(entry: object) -> Any:  # noqa: ANN401 - a path as text, a user as a mapping
    """Return an entry of the list as JSON has it."""
    return dict(entry) if isinstance(entry, Mapping) else str(entry)


def links(files: Iterable[Path], units: Path) -> Iterator[Path]:
    """Yield the links by which systemd starts the site's units at boot."""
    own = set(files)
    for link in sorted(units.glob("*.wants/*")):
        if link.is_symlink():
            with contextlib.suppress(OSError):
                if Path(os.path.normpath(link.parent / link.readlink())) in own:
                    yield link


def half_made(files: Iterable[Path]) -> Iterator[Path]:
    """Yield what a run that was killed left beside files that it was writing."""
    names: dict[Path, list[str]] = {}
    for path in files:
        names.setdefault(path.parent, []).append(re.escape(path.name))
    for directory, whole in names.items():
        # As `write_atomically` and `link_atomically` call them.
        like = re.compile(rf"\.({'|'.join(whole)})\.([a-z0-9_]{{8}}|new)")
        if directory.is_dir():
            yield from sorted(path for path in directory.iterdir() if like.fullmatch(path.name))


def remove_file(path: Path) -> None:
    """Remove a file, and the directory of a drop-in or of links unless another file is in it."""
    path.unlink(missing_ok=True)
    # systemctl makes the directory of links with the first of them, and leaves it behind.
    if path.parent.name.endswith((".service.d", ".wants")):
        with contextlib.suppress(OSError):
            path.parent.rmdir()
