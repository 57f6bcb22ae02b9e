"""The program ``<site>-backup``, which the units of backups run.

``back-up`` makes a backup, and ``drill`` tries the last one. ``ended`` and ``drill-ended`` come
after them, however they ended, and write down a failure. ``copy``, ``put`` and ``check`` are the
parts that run as the site's user.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from ansible.module_utils.aroundtheworld.clock import now
from ansible.module_utils.aroundtheworld.data import checking, copying, putting
from ansible.module_utils.aroundtheworld.data.as_worker import end_worker, invocation
from ansible.module_utils.aroundtheworld.data.backup import Backup
from ansible.module_utils.aroundtheworld.data.drill import Drill
from ansible.module_utils.aroundtheworld.data.room import shown
from ansible.module_utils.aroundtheworld.data.settings import Settings, read_settings
from ansible.module_utils.aroundtheworld.data.state import change_drill, change_state
from ansible.module_utils.aroundtheworld.files import write_atomically
from ansible.module_utils.aroundtheworld.lock import release
from ansible.module_utils.aroundtheworld.systemd import HostError

USAGE = "usage: SITE-backup back-up|ended|drill|drill-ended SITE | copy|put|check"
# What runs as the site's user.
PARTS = {"copy": copying.main, "put": putting.main, "check": checking.main}


def main(arguments: Sequence[str], program: Path) -> int:
    """Do what the arguments say, and return an exit status.

    Args:
        arguments: Those of the command line.
        program: The file of this program.
    """
    if len(arguments) == 1 and (part := PARTS.get(arguments[0])):
        part()
        return 0
    try:
        command, site = arguments
        steps = {"back-up": back_up, "ended": ended, "drill": drill, "drill-ended": drill_ended}
        step = steps[command]
    except (KeyError, ValueError):
        print(USAGE, file=sys.stderr)
        return 2
    return step(site, program)


def back_up(site: str, program: Path) -> int:
    """Make a backup, and tell how it went."""

    def make(settings: Settings) -> Iterator[str]:
        state = Backup(settings, program).make()
        last = state["last"]
        yield from last["notes"]
        yield (
            f"Backup {last['id']}: {shown(last['bytes'])}, {shown(last['added'])} of them new, in "
            f"{last['seconds']} s, in {state['repository']}"
        )

    return _do(site, "backup", make)


def drill(site: str, program: Path) -> int:
    """Try the last backup, and tell how it went."""

    def make(settings: Settings) -> Iterator[str]:
        last = Drill(settings, program).make()["last"]
        yield from last["notes"]
        for database in last["databases"]:
            counts = f"{database['tables']} tables with {database['rows']} rows"
            yield f"{database['name']}: {database['how']}, {counts}"
        yield (
            f"The backup {last['id']} of {last['of']} can be restored: {shown(last['bytes'])} were "
            f"{last['files']} in {last['seconds']} s"
        )

    return _do(site, "drill", make)


def _do(site: str, what: str, make: Callable[[Settings], Iterator[str]]) -> int:
    """Print what is made, or write down why it is not."""
    signal.signal(signal.SIGTERM, _end)
    try:
        for line in make(read_settings(site)):
            print(line)
    except (HostError, OSError) as failure:
        note_failure(site, what, str(failure))
        print(failure, file=sys.stderr)
        return 1
    except Exception as failure:
        note_failure(site, what, f"This should not happen: {type(failure).__name__}: {failure}")
        raise
    return 0


def _end(number: int, frame: FrameType | None) -> None:
    del frame
    sys.exit(128 + number)


def ended(site: str, program: Path) -> int:
    """Tidy up after a backup that was killed, and release the site."""
    settings = read_settings(site)
    backup = Backup(settings, program)
    end_worker(site)
    release({"site": site, "run": invocation()})
    backup.remove_staging()
    _note_end(site, "backup")
    return 0


def drill_ended(site: str, program: Path) -> int:
    """Tidy up after a drill that was killed."""
    settings = read_settings(site)
    end_worker(site)
    try:
        Drill(settings, program).tidy()
    finally:
        _note_end(site, "drill")
    return 0


def _note_end(site: str, what: str) -> None:
    """Write down that something was ended, unless it has written down why itself."""
    result = os.environ.get("SERVICE_RESULT", "success")
    if result not in ("success", "exit-code"):
        note_failure(site, what, f"The {what} was ended from outside ({result}).")
    elif result == "exit-code" and os.environ.get("EXIT_STATUS") != "1":
        note_failure(site, what, f"The {what} ended with status {os.environ.get('EXIT_STATUS')}.")


def note_failure(site: str, what: str, cause: str) -> None:
    """Write down why there is no backup or drill, for status, metrics and the operator's command.

    Args:
        site: The site.
        what: ``backup`` or ``drill``.
        cause: Why not.
    """
    try:
        layout = read_settings(site).layout
    except HostError:
        return
    if not layout.home.is_dir():
        return
    change = change_drill if what == "drill" else change_state
    change(layout, failed={"time": now(), "cause": cause})
    told = f"The drill failed. {cause}" if what == "drill" else cause
    line = re.sub(r'([\\"$`])', r"\\\1", " ".join(told.split()))
    path = layout.failure_of(what)
    write_atomically(path, f'BACKUP_FAILURE="{line}"\n', 0o600)
