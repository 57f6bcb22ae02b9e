"""A site stands still while its data is exchanged: it is closed, and none of its processes runs.

What the site was before is written down first, so a run that is cut off is completed by the next
one, and the site becomes what it was. Nothing of it starts at a boot meanwhile, either.
"""

from __future__ import annotations

import json
from typing import Any

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.clock import now
from ansible.module_utils.aroundtheworld.files import (
    make_directory,
    read_mapping,
    write_atomically,
)
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.maintenance.end import End
from ansible.module_utils.aroundtheworld.maintenance.switch import Closing, Switch
from ansible.module_utils.aroundtheworld.running import Running
from ansible.module_utils.aroundtheworld.systemd import HostError, Systemd


class Standstill:
    """Has a site stand still, and go on."""

    def __init__(self, layout: SiteLayout, systemd: Systemd) -> None:
        """Take where the site's files are, and how to call systemd."""
        self.layout, self.systemd = layout, systemd
        self.switch, self._end = Switch(layout.home), End(layout, systemd)

    @property
    def record(self) -> dict[str, Any]:
        """Return what the site was before, or nothing when it does not stand still."""
        return dict(read_mapping(self.layout.standstill))

    def begin(self, closing: Closing) -> None:
        """Close the site, and stop its processes; does nothing more where that is so already.

        Args:
            closing: How it is closed, for everybody.

        Raises:
            HostError: Something goes on.
        """
        if not self.record:
            self._write_record()
        # It must not open by itself, when a maintenance with an end was there before.
        self._end.set("")
        if self.switch.differs(closing):
            self.switch.close(closing)
            self.switch.note(self.switch.expected_state(closing))
        if enabled := self.record["enabled"]:
            self.systemd.call("disable", "--quiet", "--", *enabled)
        self.stop()

    def stop(self) -> None:
        """Stop all processes of the site; raises `HostError` when one goes on."""
        for names in self._running():
            if names:
                self.systemd.call("stop", "--", *names)
                self.systemd.call("reset-failed", "--", *names, check=False)
        if left := [name for names in self._running() for name in names]:
            raise HostError(f"{', '.join(left)} cannot be stopped.")

    def start(self) -> None:
        """Start what ran before, and have it start at boot as before; raises `HostError`."""
        record = self.record
        if enabled := record.get("enabled"):
            self.systemd.call("enable", "--quiet", "--", *enabled)
        if units := record.get("units"):
            self.systemd.call("start", "--", *units)

    def end(self) -> None:
        """Have the site open, or closed as it was before."""
        record = self.record
        if not record:
            return
        before = record["closing"]
        if before and (not before["until"] or before["until"] > now()):
            closing = Closing(**before)
            self._end.set(closing.until)
            self.switch.close(closing)
            self.switch.note(self.switch.expected_state(closing))
        else:
            self.switch.open()
            self._end.set("")
        self.layout.standstill.unlink()

    def _write_record(self) -> None:
        names = self._names()
        shown = self.systemd.show(names) if names else {}
        closing = self.switch.closing()
        record = {
            "since": now(),
            # A job that is ended comes again at its time.
            "units": [
                name
                for name, unit in shown.items()
                if unit.get("ActiveState", "inactive") != "inactive" and self._starts_again(name)
            ],
            "enabled": [
                name for name, unit in shown.items() if unit.get("UnitFileState") == "enabled"
            ],
            "closing": closing and vars(closing),
        }
        make_directory(self.layout.backup, 0o711)
        write_atomically(self.layout.standstill, json.dumps(record) + "\n", 0o600)

    def _starts_again(self, name: str) -> bool:
        return name.startswith(f"{self.layout.name}@") or name.endswith(".timer")

    def _units(self) -> Running:
        """Return the units of the site, but for those that touch no data."""
        layout = self.layout
        spared = {
            *layout.not_rolled_out,
            *(layout.units / layout.metrics(kind) for kind in ("socket", "service")),
        }
        files = [path for path in belongings.files(layout.name, layout.root) if path not in spared]
        return Running(self.systemd, layout.name, files, layout.root)

    def _names(self) -> list[str]:
        """Return the units that may run; without a port a worker has no socket to speak of."""
        return sorted(
            name
            for name in self._units().names
            if name.endswith((".timer", ".service"))
            or (name.endswith(".socket") and name.partition("@")[2].partition(".")[0].isdigit())
        )

    def _running(self) -> list[list[str]]:
        """Return what runs, in groups that stop at once, without slices."""
        groups: list[list[str]] = self._units().groups()
        return groups[:2]
