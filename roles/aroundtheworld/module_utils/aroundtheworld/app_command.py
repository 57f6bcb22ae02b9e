"""Run a command of the app as a process of the site, and have what it prints."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.aroundtheworld.commands import Run
from ansible.module_utils.aroundtheworld.layout import HomeLayout
from ansible.module_utils.aroundtheworld.process import Process
from ansible.module_utils.aroundtheworld.untrusted import printable_lines


@dataclass(frozen=True)
class Place:
    """Where a release is on the host.

    Attributes:
        release: Its directory.
        environment: That of its virtual environment.
        name: Its id.
    """

    release: Path
    environment: Path
    name: str

    @classmethod
    def of(cls, layout: HomeLayout, name: str) -> Place:
        """Return the place of a release that is whole on the host."""
        release = layout.release(name)
        return cls(release, release / "venv", name)


@dataclass(frozen=True)
class Answer:
    """How a command ended.

    Attributes:
        status: Its exit status; systemd's own when the command could not be run.
        printed: What it printed, of which every character can be shown; when it failed, to its
            standard error too.
    """

    status: int
    printed: str


def ask(
    run: Run,
    process: Process,
    place: Place,
    command: Sequence[str],
    unit: str,
    *,
    seconds: int = 0,
    lines: int = 20,
) -> Answer:
    """Run a command of a release as a worker of it would run, and return how it ended.

    Root runs nothing of a release. The command can write what a worker can.

    Args:
        run: Runs a command on the host.
        process: How a process of the site is run.
        place: Where the release is.
        command: The words of the command.
        unit: What its unit is called, before a number: of a site, ``<site>-run-…`` is its own.
        seconds: After how many it is killed; 0 for never.
        lines: How many of the last lines it printed are kept, at most.
    """
    unit = f"{unit}-{os.getpid()}"
    properties = process.properties(unit, place.release, place.environment, place.name)
    limit = [f"--property=RuntimeMaxSec={seconds}"] if seconds else []
    systemd_run = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", f"--unit={unit}"]
    status, out, error = run([*systemd_run, *properties, *limit, "--", "/usr/bin/env", *command])
    printed = f"{out}{error}" if status else out
    return Answer(status, printable_lines(printed.strip(), lines))
