"""Copies of the databases before a migration, for the way back with them."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.aroundtheworld.data.as_worker import unit_of
from ansible.module_utils.aroundtheworld.data.settings import Settings
from ansible.module_utils.aroundtheworld.data.undo_copies import UndoCopies, UndoCopy
from ansible.module_utils.aroundtheworld.rollout import migration
from ansible.module_utils.aroundtheworld.rollout.host import Host
from ansible.module_utils.aroundtheworld.rollout.phases import Phases
from ansible.module_utils.aroundtheworld.rollout.signals import InterruptedRun
from ansible.module_utils.aroundtheworld.systemd import HostError


class MigrationCopies:
    """Copies the databases that are to be copied before a migration."""

    def __init__(self, host: Host, data: Mapping[str, Any], former: str, phases: Phases) -> None:
        """Take the site, and what it takes to copy its databases.

        Args:
            host: The site on its host.
            data: ``settings`` as `Settings` has them, ``program`` in base64, and ``copied``, the
                names of the databases; or nothing.
            former: The release that runs now.
            phases: Where the copy is a phase.
        """
        self._host, self._data, self._former, self._phases = host, data, former, phases

    def make(self, release: str) -> UndoCopy | None:
        """Copy the databases before the migration of a release, if there is a way back to now.

        Raises:
            HostError: There is no copy, for the reason that it says and what to do.
        """
        if not self._former or not self._data.get("copied"):
            return None
        copies = undo_copies(self._data)
        databases = [
            database
            for database in copies.settings.databases
            if database["name"] in self._data["copied"]
        ]
        # A file that is not there yet, this migration makes.
        new = [each for each in databases if not is_there(each)]
        databases = [each for each in databases if each not in new]
        if not databases:
            return None
        migrated = migration.marked(self._host.site.home, self._former)
        names = ", ".join(database["name"] for database in new)
        without = f", without {names}, not there yet" if new else ""
        with self._phases.phase(f"copy the databases{without}"):
            try:
                return copies.make(self._former, release, databases, migrated)
            except InterruptedRun:
                self._host.systemd.call("stop", "--", unit_of(self._host.site.name), check=False)
                raise
            except HostError as failure:
                raise HostError(
                    "The databases have to be copied before the migration, and could not be, so "
                    f"nothing was changed and no worker was restarted.\n{failure}\n"
                    "Make room, or mend that, and run again. "
                    "aroundtheworld_migrate_copy: false leaves PostgreSQL's databases out."
                ) from None

    def mark_done(self, copy: UndoCopy) -> None:
        """Note that the migration after a copy succeeded."""
        undo_copies(self._data).mark_done(copy)


def is_there(database: Mapping[str, str]) -> bool:
    """Tell whether there is a database to copy; of a server, only a worker's process can ask."""
    return database["kind"] != "sqlite" or os.path.lexists(database["place"])


def undo_copies(data: Mapping[str, Any]) -> UndoCopies:
    """Return what makes copies, from the option of the module."""
    return UndoCopies(Settings(**data["settings"]), base64.b64decode(data["program"]))
