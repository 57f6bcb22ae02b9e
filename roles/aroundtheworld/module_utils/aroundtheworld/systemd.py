"""What systemd says, and how it is told something."""

from __future__ import annotations

from collections.abc import Sequence

from ansible.module_utils.basic import AnsibleModule


class HostError(Exception):
    """Something on the host did not come about; the message says what, for a person."""


class Systemd:
    """Asks systemd and tells it, through systemctl."""

    def __init__(self, module: AnsibleModule) -> None:
        """Keep `module` for running commands."""
        self.module = module

    def call(self, *arguments: str, check: bool = True) -> str:
        """Return what ``systemctl`` prints; raises `HostError` when it fails."""
        code, out, error = self.module.run_command(["systemctl", *arguments])
        if code and check:
            raise HostError(f"systemctl {' '.join(arguments[:4])} failed: {(error or out).strip()}")
        return str(out)

    def show(self, units: Sequence[str], more: Sequence[str] = ()) -> dict[str, dict[str, str]]:
        """Return unit name to its properties, perhaps `more`, for all `units` in one call."""
        if not units:
            return {}
        names = "Id,ActiveState,UnitFileState,NeedDaemonReload"
        started = "ExecMainStartTimestampMonotonic"
        asked = ",".join([names, started, *more])
        out = self.call("show", f"--property={asked}", "--", *units)
        found = {}
        for block in out.strip().split("\n\n"):
            properties = dict(line.partition("=")[::2] for line in block.splitlines())
            found[properties["Id"]] = properties
        return found

    def loaded(self, pattern: str) -> set[str]:
        """Return the names of the units in memory that match `pattern`."""
        out = self.call("list-units", "--all", "--plain", "--no-legend", pattern)
        return {line.split()[0] for line in out.splitlines() if line.strip()}

    def journal(self, unit: str, lines: int = 20) -> str:
        """Return the last `lines` in the journal about the unit's last start."""
        this = self.call(
            "show", "--property=InvocationID", "--value", "--", unit, check=False
        ).strip()
        matches = [f"_SYSTEMD_INVOCATION_ID={this}", "+", f"INVOCATION_ID={this}"]
        command = ["journalctl", "--no-pager", "--output=cat", f"--lines={lines}"]
        return str(
            self.module.run_command([*command, *(matches if this else [f"--unit={unit}"])])[1]
        ).strip()
