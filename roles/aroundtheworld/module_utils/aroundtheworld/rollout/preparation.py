"""Before any worker is touched: the app is imported, the database migrated, commands are tried."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ansible.module_utils.aroundtheworld.rollout import migration
from ansible.module_utils.aroundtheworld.rollout.expected import Expected
from ansible.module_utils.aroundtheworld.rollout.host import Host
from ansible.module_utils.aroundtheworld.rollout.signals import InterruptedRun
from ansible.module_utils.aroundtheworld.rollout.unit_files import UnitFiles
from ansible.module_utils.aroundtheworld.systemd import HostError

# The variables by which an operator says how long a step may take.
TIMEOUTS = {
    "prepare": "aroundtheworld_import_timeout",
    "migrate": "aroundtheworld_migrate_timeout",
}


class Preparation:
    """Runs the units that have to succeed first; a failure leaves the site as it was."""

    def __init__(self, host: Host, files: UnitFiles, expected: Expected) -> None:
        """Take the release and the unit files that should be."""
        self._host, self._files, self._expected = host, files, expected

    def run(self, units: Sequence[str]) -> None:
        """Run the units one after the other; raises `HostError` when one fails.

        Only their files are written before: a worker that dies meanwhile comes back as it was.
        """
        paths = [self._host.site.units / unit for unit in units]
        self._files.write({path: self._expected.files[path] for path in paths})
        self._files.reload()
        for unit in units:
            try:
                self._host.systemd.call("start", unit)
            except InterruptedRun:
                self._host.systemd.call("stop", "--", unit, check=False)
                raise
            except HostError:
                raise self._failure(unit) from None
            if unit == self._host.site.step("migrate"):
                migration.mark(self._host.site.home, self._expected.release)

    def _failure(self, unit: str) -> HostError:
        site, systemd = self._host.site, self._host.systemd
        journal = systemd.journal(unit)
        result = systemd.call("show", "--property=Result", "--value", unit, check=False)
        # So nothing on the host is left marked as failed.
        systemd.call("reset-failed", "--", unit, check=False)
        step = unit.removeprefix(f"{site.name}-").removesuffix(".service")
        late = ""
        if result.strip() == "timeout" and step in TIMEOUTS:
            text = self._expected.files[site.units / unit]
            limit = re.search(r"^TimeoutStartSec=(.*)$", text, re.M)
            late = f" It took longer than {TIMEOUTS[step]} allows, {limit[1] if limit else '?'} s."
        return HostError(
            f"The release {self._expected.release} cannot be run, so no worker was restarted."
            f"{late} The journal of {unit}:\n{journal}"
        )
