"""The program ``<site>-backup``, which the units of backups run.

``back-up`` makes a backup. ``ended`` comes after it, however it ended, and writes down a failure.
``copy`` and ``put`` are the parts that run as the site's user.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from ansible.module_utils.aroundtheworld.clock import now
from ansible.module_utils.aroundtheworld.data import copying, putting
from ansible.module_utils.aroundtheworld.data.backup import Backup, invocation
from ansible.module_utils.aroundtheworld.data.room import shown
from ansible.module_utils.aroundtheworld.data.settings import read_settings
from ansible.module_utils.aroundtheworld.data.state import change_state
from ansible.module_utils.aroundtheworld.files import write_atomically
from ansible.module_utils.aroundtheworld.lock import release
from ansible.module_utils.aroundtheworld.systemd import HostError

USAGE = "usage: SITE-backup back-up SITE | ended SITE | copy | put"
# What runs as the site's user.
PARTS = {"copy": copying.main, "put": putting.main}


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
        steps = {"back-up": back_up, "ended": ended}
        step = steps[command]
    except (KeyError, ValueError):
        print(USAGE, file=sys.stderr)
        return 2
    return step(site, program)


def back_up(site: str, program: Path) -> int:
    """Make a backup, and tell how it went."""
    signal.signal(signal.SIGTERM, _end)
    try:
        state = Backup(read_settings(site), program).make()
    except (HostError, OSError) as failure:
        note_failure(site, str(failure))
        print(failure, file=sys.stderr)
        return 1
    except Exception as failure:
        note_failure(site, f"This should not happen: {type(failure).__name__}: {failure}")
        raise
    last = state["last"]
    for note in last["notes"]:
        print(note)
    print(
        f"Backup {last['id']}: {shown(last['bytes'])}, {shown(last['added'])} of them new, in "
        f"{last['seconds']} s, in {state['repository']}"
    )
    return 0


def _end(number: int, frame: FrameType | None) -> None:
    del frame
    sys.exit(128 + number)


def ended(site: str, program: Path) -> int:
    """Tidy up after a backup that was killed, and release the site."""
    settings = read_settings(site)
    backup = Backup(settings, program)
    release({"site": site, "run": invocation()})
    backup.remove_staging()
    result = os.environ.get("SERVICE_RESULT", "success")
    if result not in ("success", "exit-code"):
        note_failure(site, f"The backup was ended from outside ({result}).")
    elif result == "exit-code" and os.environ.get("EXIT_STATUS") != "1":
        note_failure(site, f"The backup ended with status {os.environ.get('EXIT_STATUS')}.")
    return 0


def note_failure(site: str, cause: str) -> None:
    """Write down why there is no backup, for status, metrics and the operator's command."""
    try:
        layout = read_settings(site).layout
    except HostError:
        return
    if not layout.home.is_dir():
        return
    change_state(layout, failed={"time": now(), "cause": cause})
    line = re.sub(r'([\\"$`])', r"\\\1", " ".join(cause.split()))
    write_atomically(layout.backup / "failure", f'BACKUP_FAILURE="{line}"\n', 0o600)
