"""Commands to systemd and questions to it, through systemctl and the journal."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ansible.module_utils.aroundtheworld.journal import journal_lines

if TYPE_CHECKING:  # a backup by its timer runs without Ansible
    from ansible.module_utils.basic import AnsibleModule


class HostError(Exception):
    """Something on the host failed; the message is for a person."""


class Systemd:
    """Runs systemctl."""

    def __init__(self, module: AnsibleModule) -> None:
        """Keep `module` for running commands."""
        self.module = module

    def call(self, *arguments: str, check: bool = True) -> str:
        """Return what ``systemctl`` prints; raises `HostError` when it fails."""
        code, out, error = self.module.run_command(["systemctl", *arguments])
        if code and check:
            raise HostError(f"systemctl {' '.join(arguments[:4])} failed: {(error or out).strip()}")
        return str(out)

    def verify(self, directory: Path, units: Sequence[str]) -> str:
        """Return what systemd prints when it reads the files of units in a directory."""
        paths = [str(directory / unit) for unit in units]
        command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *paths]
        path = {"SYSTEMD_UNIT_PATH": f"{directory}:"}
        return str(self.module.run_command(command, environ_update=path)[2])

    def calendar(self, time: str) -> str:
        """Return what is wrong with a time in systemd's calendar, or an empty text."""
        command = ["systemd-analyze", "calendar", "--", time]
        code, out, error = self.module.run_command(command, environ_update={"LC_ALL": "C"})
        if code:
            return str(error or out).strip()
        return "it never comes" if re.search("^ *Next elapse: never$", out, re.MULTILINE) else ""

    def show(self, units: Sequence[str], more: Sequence[str] = ()) -> dict[str, dict[str, str]]:
        """Return by the name of each unit its properties, also `more` ones, from one call."""
        if not units:
            return {}
        names = "Id,ActiveState,UnitFileState,NeedDaemonReload"
        started = "ExecMainStartTimestampMonotonic"
        properties_to_show = ",".join([names, started, *more])
        out = self.call("show", f"--property={properties_to_show}", "--", *units)
        shown = {}
        for block in out.strip().split("\n\n"):
            properties = dict(line.partition("=")[::2] for line in block.splitlines())
            shown[properties["Id"]] = properties
        return shown

    def next_elapse(self, timers: Sequence[str]) -> dict[str, float]:
        """Return when timers elapse next, in seconds since 1970; nothing of one that does not."""
        if not timers:
            return {}
        out = self.call("list-timers", "--all", "--output=json", "--", *timers, check=False)
        with contextlib.suppress(ValueError, TypeError, KeyError):
            entries = json.loads(out)
            return {entry["unit"]: entry["next"] / 1e6 for entry in entries if entry["next"]}
        return {}

    def loaded(self, pattern: str) -> set[str]:
        """Return the names of the units in memory that match `pattern`."""
        out = self.call("list-units", "--all", "--plain", "--no-legend", pattern)
        return {line.split()[0] for line in out.splitlines() if line.strip()}

    def journal(self, unit: str, lines: int = 20, since: float | None = None) -> str:
        """Return the last `lines` in the journal about the unit's last start.

        Args:
            unit: Its name.
            lines: How many at most.
            since: A moment (seconds since 1970). Of a unit that has started more than once since,
                it is the last start whose process left lines of its own: one that has only just
                begun shows nothing about the failure yet.
        """
        invocation = self.call(
            "show", "--property=InvocationID", "--value", "--", unit, check=False
        ).strip()
        if since is not None:
            invocation = self._last_start_with_lines(unit, since) or invocation
        matches = [f"_SYSTEMD_INVOCATION_ID={invocation}", "+", f"INVOCATION_ID={invocation}"]
        return str(journal_lines(matches if invocation else [f"--unit={unit}"], lines))

    def _last_start_with_lines(self, unit: str, since: float) -> str:
        """Return the last start of the unit after a moment that left lines of its own, by its id.

        Of those the longest: a process that is only just starting may have left a line or two.
        """
        # Without the messages themselves, one of which may be 32 MiB long.
        fields = "--output-fields=_SYSTEMD_INVOCATION_ID"
        command = ["journalctl", "--no-pager", "--output=json", fields, f"--since=@{since:.0f}"]
        out = self.module.run_command([*command, "--lines=400", f"_SYSTEMD_UNIT={unit}"])[1]
        counts: dict[str, int] = {}
        for line in str(out).splitlines():
            with contextlib.suppress(ValueError):
                start = json.loads(line).get("_SYSTEMD_INVOCATION_ID", "")
                counts[start] = counts.get(start, 0) + 1
        latest = [start for start in counts if start][-2:]
        return max(latest, key=lambda start: counts[start], default="")
