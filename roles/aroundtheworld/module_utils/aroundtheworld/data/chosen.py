"""Which of the backups in a repository is meant."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.systemd import HostError

Snapshot = Mapping[str, Any]


def choose(snapshots: Sequence[Snapshot], site: str, host: str, wanted: str) -> Snapshot:
    """Return the snapshot that an operator means.

    Args:
        snapshots: All of the repository, of any site, oldest first.
        site: The site.
        host: This host's name.
        wanted: The beginning of an id; a time (ISO 8601 with an offset), for the last one until
            then; or an empty text for the last one.

    Raises:
        HostError: There is none, or it is not clear which.
    """
    tag = f"site={site}"
    own = [each for each in snapshots if tag in (each.get("tags") or ())]
    if re.fullmatch(r"[0-9a-f]{4,64}", wanted):
        return _by_id(snapshots, own, site, wanted)
    here = [each for each in own if each["hostname"] == host]
    hosts = sorted({str(each["hostname"]) for each in own})
    if not here and len(hosts) > 1:
        raise HostError(
            f"There is no backup of {site} on {host}, but there are some of {', '.join(hosts)}. "
            "Say which one by its id in aroundtheworld_backup."
        )
    series = here or own
    if not series:
        raise HostError(f"There is no backup of the site {site} in this repository.")
    if not wanted:
        return series[-1]
    before = [each for each in series if moment(each) <= datetime.fromisoformat(wanted)]
    if not before:
        raise HostError(
            f"aroundtheworld_backup: there is no backup of {site} from {wanted} or before; the "
            f"oldest is {told(series[0])}."
        )
    return before[-1]


def _by_id(
    snapshots: Sequence[Snapshot], own: Sequence[Snapshot], site: str, wanted: str
) -> Snapshot:
    found = [each for each in own if str(each["id"]).startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        raise HostError(f"aroundtheworld_backup: {wanted!r} is the beginning of {len(found)} ids.")
    for each in snapshots:
        if str(each["id"]).startswith(wanted):
            tags = ", ".join(each.get("tags") or ()) or "nothing"
            raise HostError(
                f"aroundtheworld_backup: {wanted!r} is no backup of the site {site}; its tags are "
                f"{tags}."
            )
    last = ", ".join(told(each) for each in own[-5:]) or "none"
    raise HostError(f"aroundtheworld_backup: there is no backup {wanted!r}; the last are: {last}.")


def moment(snapshot: Snapshot) -> datetime:
    """Return when a snapshot was made."""
    # Python 3.11 takes six digits of a second, and restic writes nine.
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", str(snapshot["time"])))


def told(snapshot: Snapshot) -> str:
    """Return a snapshot in words."""
    when = moment(snapshot).isoformat(timespec="seconds")
    return f"{str(snapshot['id'])[:8]} of {when} from {snapshot['hostname']}"


def home_of(snapshot: Snapshot) -> Path:
    """Return where the site was on its host; raises `HostError` if that cannot be told."""
    for path in map(Path, snapshot["paths"]):
        if path.parts[-2:] == ("backup", "staging") and ".." not in path.parts:
            return path.parents[1]
    raise HostError(f"The backup {str(snapshot['id'])[:8]} does not say where its site was.")
