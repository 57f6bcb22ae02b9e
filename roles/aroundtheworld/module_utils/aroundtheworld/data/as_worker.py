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
from ansible.module_utils.aroundtheworld.untrusted import printable, printable_lines

REPORT_BYTES = 1024 * 1024
# For what visitors should not feel. A weight counts among its neighbours only: beside the slices of
# the system and of all sites, it yields to nginx as well as to workers.
LOW = (
    *("Slice=-.slice", "Nice=19", "CPUSchedulingPolicy=batch"),
    *("CPUWeight=10", "IOWeight=10", "IOSchedulingClass=idle"),
)
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
    more = [*priority, "WorkingDirectory=/"]
    more += [f"ReadWritePaths={writes}", f"LimitFSIZE={room}"]
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


def copy_databases(
    settings: Settings,
    program: Path,
    target: Path,
    databases: Sequence[Mapping[str, str]],
    priority: Sequence[str] = LOW,
) -> Mapping[str, Any]:
    """Have the site's user copy databases into a directory that is made, and return the report.

    Raises:
        HostError: One of them has no copy.
    """
    shared = settings.layout.shared
    own_directory(target, shared)
    task = {"shared": str(shared), "target": str(target), "databases": list(databases)}
    report = run_as_worker(settings, program, "copy", task, target, priority)
    refuse(report)
    return report


def own_directory(path: Path, shared: Path) -> os.stat_result:
    """Make a directory for the site's user alone, and return whose the data is.

    Whose that is, `shared` says: where the host knows its users from may be out of sight here.
    """
    path.mkdir(mode=0o700)
    owner = shared.stat()
    os.chown(path, owner.st_uid, owner.st_gid)
    return owner


def sentences(report: Mapping[str, Any], key: str) -> list[str]:
    """Return what the site's user has reported, fit to be shown."""
    return [printable(str(entry), 1000) for entry in report.get(key, [])]


def refuse(report: Mapping[str, Any]) -> None:
    """Raise `HostError` when the site's user has reported problems."""
    if problems := sentences(report, "problems"):
        raise HostError("\n".join(problems))


def _lines(settings: Settings) -> Iterator[str]:
    """Yield how a process of the site is run, without secrets that are not on the host."""
    for line in settings.process:
        secret = re.fullmatch(r"LoadCredential=[^:]+:(/.+)", line)
        if not secret or Path(secret[1]).exists():
            yield line
