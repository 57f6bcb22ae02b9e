"""Which backup is to be restored, and where: what a type cannot say."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from aroundtheworld_controller.data.backups import directory_of, repository_of

WHICH, TO = "aroundtheworld_backup", "aroundtheworld_restore_to"
# What visitors read meanwhile, unless the operator names another reason.
CLOSED_FOR = "The site's data is being restored."
IDENTITY = re.compile(r"[0-9a-f]{4,64}")


def restore_problems(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the variables of a restore."""
    which, to = variables[WHICH], variables[TO]
    if which and not IDENTITY.fullmatch(which) and not _moment(which):
        yield (
            f"{WHICH}: {which!r} is not allowed; it must be the beginning of a backup's id, as in "
            "'8e5b80f3', or a time, as in '2026-11-26T03:15', for the last one until then."
        )
    if not to:
        return
    home, repository = variables["aroundtheworld_home"], directory_of(repository_of(variables))
    inside = [
        place
        for place in (home, repository)
        if place and f"{posixpath.normpath(to)}/".startswith(f"{place}/")
    ]
    if not to.startswith("/") or to == "/" or inside:
        where = f" and not in {inside[0]}" if inside else ""
        yield (
            f"{TO}: {to!r} is not allowed; it must be an absolute path on the host{where}, of a "
            "directory that is empty or not there yet, as in '/root/yesterday'."
        )


def _moment(text: str) -> datetime | None:
    """Return a time, as the controller has it unless it has an offset."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.astimezone()


def moment_of(which: str) -> str:
    """Return which backup is meant as the host takes it: a time has its offset."""
    moment = None if IDENTITY.fullmatch(which) else _moment(which)
    return moment.isoformat() if moment else which
