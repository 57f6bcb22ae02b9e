"""Back to a copy of the databases: they are exchanged while nothing of the site runs.

What is there is copied first, and stays until the next time. A record is there from before anything
stops until the site is open again, so that a run that was cut off is completed by the next. It
names the copy of what was there as long as the databases may be others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.aroundtheworld.data.as_worker import refuse, run_as_worker, unit_of
from ansible.module_utils.aroundtheworld.data.undo_copies import (
    UndoCopies,
    UndoCopy,
    read_copies,
    read_record,
    record_path,
)
from ansible.module_utils.aroundtheworld.files import write_atomically
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.maintenance.standstill import Standstill
from ansible.module_utils.aroundtheworld.maintenance.switch import Closing
from ansible.module_utils.aroundtheworld.rollout import migration, signals
from ansible.module_utils.aroundtheworld.rollout.copies import (
    is_there,
    undo_copies,
)
from ansible.module_utils.aroundtheworld.rollout.host import Host
from ansible.module_utils.aroundtheworld.rollout.phases import Phases
from ansible.module_utils.aroundtheworld.rollout.revert import cause
from ansible.module_utils.aroundtheworld.rollout.signals import InterruptedRun
from ansible.module_utils.aroundtheworld.systemd import HostError

# Visitors wait, so it yields to nothing.
HIGH: tuple[str, ...] = ()


class Undo:
    """Exchanges the databases of a site for those of a copy, and takes that back.

    Attributes:
        copy: The copy to go back to, or None when this run does not go back.
        lost: How many seconds of changes the data do not have any more.
    """

    def __init__(self, host: Host, options: Mapping[str, Any], phases: Phases) -> None:
        """Take the site and the options of the module; nothing is changed yet."""
        self._site, self._systemd, self._phases = host.site, host.systemd, phases
        self._data, self._standstill = options["data"], Standstill(host.site, host.systemd)
        self._closing = options["closing"]
        self.lost = 0.0
        self.copy = _copy(host.site, options["undo"]) if options["undo"] else None

    def steps(self) -> list[str]:
        """Return what is done before the rollout, each a sentence."""
        if not self.copy:
            return []
        return [
            "close the site and stop its processes",
            f"put the databases of {self.copy.time} back",
        ]

    def recover(self) -> None:
        """Complete what a run that was cut off began, unless this one goes on with it.

        Raises:
            HostError: The databases cannot be taken back.
        """
        record = read_record(self._site)
        if not record or (self.copy and self.copy.name == record["copy"]):
            return
        if self._site.current_release() == record["to"] != record["from"]:
            self._settle()  # it was done but for the end
        else:
            self.take_back()

    def around(self, roll_out: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what a rollout returns, with the databases exchanged before it if that is due.

        Raises:
            HostError: It failed. Release and data belong together all the same, or the site stands
                still until the next run.
        """
        if self.copy:
            self._exchange(self.copy)
        try:
            result = roll_out()
        except (Exception, InterruptedRun) as failure:
            raise self._go_back(cause(failure, self._phases.failed)) from None
        self._settle()
        self._end()
        return result

    def take_back(self) -> None:
        """Have the databases be as they were before the exchange, with nothing of the site running.

        Raises:
            HostError: They could not be; the next run does it.
        """
        record = read_record(self._site)
        if not record.get("left"):
            return
        try:
            with self._phases.phase("take the databases back"):
                self._standstill.begin(_closing(record["closing"]))
                self._put(_copy(self._site, record["left"]))
        except (HostError, OSError) as failure:
            raise HostError(
                f"The databases could not be taken back to those of release {record['from']}: "
                f"{failure}\nSo the site stays closed, and nothing of it runs. Mend that, and run "
                "again: each run begins with this."
            ) from None
        self._settle()

    # --- Parts

    def _exchange(self, copy: UndoCopy) -> None:
        """Have the databases be as a copy has them; then nothing of the site runs.

        Raises:
            HostError: They are as they were, and the site runs as before.
        """
        try:
            self._refuse(copy)
            if not read_record(self._site):
                self._write_record(copy, "")
            with self._phases.phase("close the site and stop its processes"):
                self._standstill.begin(_closing(self._closing))
            self.lost = copy.age
            if not read_record(self._site)["left"]:
                self._keep(copy)
            with self._phases.phase(f"put the databases of {copy.time} back"):
                self._put(copy)
        except (Exception, InterruptedRun) as failure:
            why = cause(failure, self._phases.failed)
            self._systemd.call("stop", "--", unit_of(self._site.name), check=False)
            raise self._go_back(why, "\nRelease and data are as they were.") from None

    def _go_back(self, why: str, then: str = "") -> HostError:
        """Return what to say about a failure, when release and data belong together again.

        Args:
            why: What failed.
            then: What else to say, if all is as before.
        """
        signals.ignore()
        try:
            self.take_back()  # a rollout may have done that
        except HostError as failure:
            return HostError(why if str(failure) in why else f"{failure}\nIt began with: {why}")
        try:
            if read_record(self._site):
                self._standstill.start()
            self._end()
        except HostError as failure:
            return HostError(f"{why}\nThe site is still closed, and has to be started: {failure}")
        return HostError(f"{why}{then}")

    def _settle(self) -> None:
        """Write down that the databases stay as they are."""
        if record := read_record(self._site):
            _write(self._site, {**record, "left": ""})

    def _end(self) -> None:
        """Have the site open again; one that stands still for something else is left alone."""
        if read_record(self._site):
            self._standstill.end()
            record_path(self._site).unlink()

    def _refuse(self, copy: UndoCopy) -> None:
        """Find what would fail later, before anything stops; raises `HostError` for that."""
        refuse(self._ask_put({**self._task(copy), "rehearse": True}))

    def _keep(self, copy: UndoCopy) -> None:
        """Copy the databases that are exchanged, as they are, and write that down."""
        former = self._site.current_release()
        migrated = migration.marked(self._site.home, former)
        databases = [database for database in self._places(copy) if is_there(database)]
        with self._phases.phase("copy the databases as they are"):
            left = self._copies.make(former, "", databases, migrated, HIGH)
        self._write_record(copy, left.name)

    def _write_record(self, copy: UndoCopy, left: str) -> None:
        former = self._site.current_release()
        record = {"copy": copy.name, "left": left, "from": former, "to": copy.release}
        _write(self._site, {**record, "closing": self._closing})

    def _put(self, copy: UndoCopy) -> None:
        """Put the databases of a copy in their places, and the marks of migrations with them."""
        refuse(self._ask_put(self._task(copy)))
        migration.set_marks(self._site.home, copy.migrated)

    @property
    def _copies(self) -> UndoCopies:
        if not self._data:
            raise HostError(
                "aroundtheworld_databases: is empty, and has to name the databases that are to be "
                "put back."
            )
        return undo_copies(self._data)

    def _task(self, copy: UndoCopy) -> dict[str, Any]:
        return {
            "shared": str(self._site.shared),
            "source": str(copy.source),
            "databases": self._places(copy),
            "wal": list(copy.wal),
        }

    def _places(self, copy: UndoCopy) -> list[Mapping[str, str]]:
        """Return the databases of a copy, where the site has them today."""
        today = {(each["name"], each["kind"]): each for each in self._copies.settings.databases}
        return [today.get((each["name"], each["kind"]), each) for each in copy.databases]

    def _ask_put(self, task: Mapping[str, Any]) -> Mapping[str, Any]:
        """Have the site's user put databases in their places, and return what it reports."""
        copies = self._copies
        report: Mapping[str, Any] = run_as_worker(
            copies.settings, copies.program, "put", task, self._site.shared, HIGH
        )
        return report


def _copy(site: SiteLayout, name: str) -> UndoCopy:
    """Return a copy by its name; raises `HostError` when it is not there any more."""
    for copy in read_copies(site):
        if copy.name == name:
            return copy
    raise HostError(f"There is no copy of the databases in {site.undo / name}.")


def _closing(values: Mapping[str, Any]) -> Closing:
    return Closing(**{name: values[name] for name in Closing.__dataclass_fields__})


def _write(site: SiteLayout, record: Mapping[str, Any]) -> None:
    write_atomically(record_path(site), json.dumps(record) + "\n", 0o600)
