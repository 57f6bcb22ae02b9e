"""Our own program, run as the site's user in the workers' sandbox: it opens what workers wrote."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.data.room import spare
from ansible.module_utils.aroundtheworld.data.settings import Settings
from ansible.module_utils.aroundtheworld.process import Process
from ansible.module_utils.aroundtheworld.systemd import HostError
from ansible.module_utils.aroundtheworld.untrusted import printable_lines

REPORT_BYTES = 1024 * 1024
# For what visitors should not feel.
LOW = ("Nice=19", "CPUWeight=10", "IOWeight=10", "IOSchedulingClass=idle")
# By subcommand, what has not been done.
FAILED = {
    "copy": "The databases could not be copied",
    "put": "The databases could not be put in their places",
    "check": "The databases could not be checked",
}


def invocation() -> str:
    """Return what tells this start of the service from all others."""
    return os.environ.get("INVOCATION_ID", f"backup-{os.getpid()}")


def unit_of(site: str) -> str:
    """Return the name of the unit in which this service, or process, runs our program."""
    return f"{site}-run-backup-{os.environ.get('INVOCATION_ID') or os.getpid()}.service"


def end_worker(site: str) -> None:
    """End what a service that was killed had begun: that does not end with it."""
    unit = unit_of(site)
    subprocess.run(  # noqa: S603 - no shell
        ["/usr/bin/systemctl", "stop", "--", unit],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )


def run_as_worker(
    settings: Settings,
    program: Path,
    subcommand: str,
    task: Mapping[str, Any],
    writes: Path,
    priority: Sequence[str] = LOW,
) -> Mapping[str, Any]:
    """Run our own program as a worker runs, and return what it reports.

    Args:
        settings: The site's.
        program: The program's file.
        subcommand: One of `FAILED`.
        task: What it is to do.
        writes: A directory that it may write to, beside what every worker may, and where there has
            to be room for it.
        priority: Lines of the unit.

    Raises:
        HostError: It could not be run, or has not reported anything.
    """
    unit = unit_of(settings.site).removesuffix(".service")
    release = Path(os.path.realpath(settings.layout.current))
    process = Process([*map(str, _lines(settings))], [])
    properties = process.properties(unit, release, release / "venv", release.name)
    room = max(spare(writes), 1)
    more = [*priority, f"ReadWritePaths={writes}", f"LimitFSIZE={room}", "WorkingDirectory=/"]
    command = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", f"--unit={unit}"]
    command += [*properties, *(f"--property={line}" for line in more), "--"]
    command += ["/usr/bin/python3", "-I", "-B", str(program), subcommand]
    done = subprocess.run(  # noqa: S603 - no shell
        command,
        input=json.dumps(task),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    try:
        found = json.loads(done.stdout[:REPORT_BYTES])
    except ValueError:
        found = None
    if done.returncode or not isinstance(found, dict):
        told = printable_lines((done.stderr or done.stdout).strip(), 8)
        raise HostError(f"{FAILED[subcommand]} (status {done.returncode}): {told}")
    return found


def _lines(settings: Settings) -> Iterator[str]:
    """Yield how a process of the site is run, without secrets that are not on the host."""
    for line in settings.process:
        secret = re.fullmatch(r"LoadCredential=[^:]+:(/.+)", line)
        if not secret or Path(secret[1]).exists():
            yield line
