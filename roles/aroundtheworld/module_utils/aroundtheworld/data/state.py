"""How a site's last backup and drill went, for status, metrics and the next backup.

The file of backups has ``at`` (when there is one, as the settings have it), ``due`` (the Unix time
after which the last backup is too old, or none), ``repository`` and ``id`` (where the last one
went, and that repository's own id), ``last`` and ``failed``. The last two are nothing, or have
``time`` (UTC, as ISO 8601); ``last`` has ``id``, ``seconds``, ``bytes``, ``added`` and ``notes``
too, and ``failed`` has ``cause``.

That of drills has ``at``, ``due``, ``last`` and ``failed`` in the same way. Its ``last`` has ``id``
and ``of`` (which backup, and when that was made), ``seconds``, ``bytes``, ``files`` (``restored``,
or only ``read``), ``databases`` (each with ``name``, ``how``, ``tables`` and ``rows``) and
``notes``.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.files import make_directory, read_mapping, write_atomically
from ansible.module_utils.aroundtheworld.layout import HomeLayout
from ansible.module_utils.aroundtheworld.untrusted import printable

NOTHING: Mapping[str, Any] = {
    "at": "",
    "due": None,
    "repository": "",
    "id": "",
    "last": {},
    "failed": {},
}
NO_DRILL: Mapping[str, Any] = {"at": "", "due": None, "last": {}, "failed": {}}
# A backup counts as late so long after it should have begun, and twice what the last one took.
GRACE_SECONDS = 3600.0
NEXT = re.compile(r"(?:Next elapse|\(in UTC\)): \w{3} (\S+ \S+) UTC")


def read_state(layout: HomeLayout) -> dict[str, Any]:
    """Return the state of a site's backups; all of it empty when there was none yet."""
    return _read(layout.backup_state, NOTHING)


def read_drill(layout: HomeLayout) -> dict[str, Any]:
    """Return the state of a site's drills; all of it empty when there was none yet."""
    return _read(layout.drill_state, NO_DRILL)


def _read(path: Path, nothing: Mapping[str, Any]) -> dict[str, Any]:
    found = read_mapping(path)
    return {key: found.get(key, value) for key, value in nothing.items()}


def change_state(layout: HomeLayout, **changes: object) -> dict[str, Any]:
    """Write some of the state of backups, and return all of it."""
    return _change(layout, layout.backup_state, read_state(layout), changes)


def change_drill(layout: HomeLayout, **changes: object) -> dict[str, Any]:
    """Write some of the state of drills, and return all of it."""
    return _change(layout, layout.drill_state, read_drill(layout), changes)


def _change(
    layout: HomeLayout, path: Path, before: Mapping[str, Any], changes: Mapping[str, object]
) -> dict[str, Any]:
    state = {**before, **changes}
    if state != before:
        make_directory(layout.backup, 0o711)
        write_atomically(path, json.dumps(state) + "\n", 0o644)
    return state


def backup_status(layout: HomeLayout, moment: float) -> tuple[dict[str, Any], list[str]]:
    """Return what an operator should know of a site's backups, and what is wrong with them.

    Args:
        layout: Where the site is.
        moment: The Unix time.
    """
    state, drill = read_state(layout), read_drill(layout)
    if state == NOTHING and drill == NO_DRILL:
        return {}, []
    known = {key: state[key] for key in ("at", "due", "repository", "last", "failed")}
    problems = [*_problems("backup", state, moment), *_problems("drill", drill, moment)]
    return {**known, "drill": drill}, problems


def _problems(what: str, state: Mapping[str, Any], moment: float) -> Iterator[str]:
    last, failed = state["last"], state["failed"]
    if failed:
        yield f"the {what} of {failed['time']} failed: {printable(failed['cause'])}"
    if state["due"] and moment > state["due"]:
        when = f"is of {last['time']}" if last else "was never made"
        yield f"the last {what} {when}, and the next one is late"


def due(at: str, seconds: float) -> float | None:
    """Return after which Unix time a backup is late that should begin next at that time.

    Args:
        at: As systemd's calendar takes it, in the host's own time; an empty text means never.
        seconds: What the last backup took.
    """
    if not at:
        return None
    done = subprocess.run(  # noqa: S603 - no shell
        ["/usr/bin/systemd-analyze", "calendar", at],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if not (found := NEXT.findall(done.stdout)):
        return None
    begin = datetime.strptime(found[-1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    return begin + GRACE_SECONDS + 2 * seconds
