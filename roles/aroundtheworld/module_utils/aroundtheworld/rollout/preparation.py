"""Before any worker is touched: the app is imported, the database migrated, commands are tried."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ansible.module_utils.aroundtheworld.data.undo_copies import UndoCopy
from ansible.module_utils.aroundtheworld.rollout import migration
from ansible.module_utils.aroundtheworld.rollout.copies import MigrationCopies
from ansible.module_utils.aroundtheworld.rollout.expected import Expected
from ansible.module_utils.aroundtheworld.rollout.host import Host
from ansible.module_utils.aroundtheworld.rollout.signals import InterruptedRun
from ansible.module_utils.aroundtheworld.rollout.unit_files import UnitFiles
from ansible.module_utils.aroundtheworld.systemd import HostError

# The variables by which an operator says how long a step may take.
TIMEOUTS = {
    "prepare": "aroundtheworld_import_timeout",
    "migrate": "aroundtheworld_migrate_timeout",
    "schema": "aroundtheworld_import_timeout",
}
LOCK_TIMEOUT = "aroundtheworld_migrate_lock_timeout"
# How a migration that fails says that a lock was in its way: PostgreSQL's name and number for it,
# which are the same in every language, and what SQLite says.
POSTGRESQL_LOCK = re.compile(r"lock timeout|LockNotAvailable|lock_not_available|\b55P03\b")
SQLITE_LOCK = re.compile(r"database (?:table )?is locked|SQLITE_BUSY")
# Of a traceback whose last lines may be a long statement.
SEARCHED_LINES = 200


class RefusedError(HostError):
    """A release cannot run on the database as it is, which says nothing about the release."""


class Preparation:
    """Runs the units that have to succeed first; a failure leaves the site as it was."""

    def __init__(
        self,
        host: Host,
        files: UnitFiles,
        expected: Expected,
        copies: MigrationCopies,
        *,
        back: bool,
    ) -> None:
        """Take what should be, what copies databases, and whether this is a rollback."""
        self._host, self._files, self._expected = host, files, expected
        self._copies, self._back = copies, back

    def run(self, units: Sequence[str]) -> None:
        """Run the units one after the other; raises `HostError` when one fails.

        Only their files are written before: a worker that dies meanwhile comes back as it was.
        """
        paths = [self._host.site.units / unit for unit in units]
        self._files.write({path: self._expected.files[path] for path in paths})
        self._files.reload()
        migrates = self._host.site.step("migrate")
        for unit in units:
            copy = self._copies.make(self._expected.release) if unit == migrates else None
            try:
                self._host.systemd.call("start", unit)
            except InterruptedRun:
                self._host.systemd.call("stop", "--", unit, check=False)
                raise
            except HostError:
                raise self._failure(unit, copy) from None
            if unit == migrates:
                migration.mark(self._host.site.home, self._expected.release)
            if copy:
                self._copies.mark_done(copy)

    def _failure(self, unit: str, copy: UndoCopy | None) -> HostError:
        site, systemd = self._host.site, self._host.systemd
        journal = systemd.journal(unit)
        result = systemd.call("show", "--property=Result", "--value", unit, check=False).strip()
        # So nothing on the host is left marked as failed.
        systemd.call("reset-failed", "--", unit, check=False)
        step = unit.removeprefix(f"{site.name}-").removesuffix(".service")
        text = self._expected.files[site.units / unit]
        why = ""
        if result == "timeout" and step in TIMEOUTS:
            limit = re.search(r"^TimeoutStartSec=(.*)$", text, re.M)
            why = f" It took longer than {TIMEOUTS[step]} allows, {limit[1] if limit else '?'} s."
        elif step == "migrate":
            why = lock_sentence(systemd.journal(unit, SEARCHED_LINES), text)
        elif step == "schema":
            why = schema_sentence(self._expected.release, back=self._back)
        if copy:
            why += (
                " The databases were copied before it. If it has left something half done, go back "
                f"to them: {with_data(copy.release)}."
            )
        refused = step == "schema" and result != "timeout"
        return (RefusedError if refused else HostError)(
            f"The release {self._expected.release} cannot be run, so no worker was restarted."
            f"{why} The journal of {unit}:\n{journal}"
        )


def lock_sentence(journal: str, unit: str) -> str:
    """Return that a migration gave up on a lock, if it did, for after another sentence.

    Args:
        journal: What the migration wrote.
        unit: The text of its unit.
    """
    if POSTGRESQL_LOCK.search(journal):
        limit = re.search(r"\bAROUNDTHEWORLD_LOCK_TIMEOUT=(\d+)", unit)
        told = f" for {limit[1]} s ({LOCK_TIMEOUT})" if limit else ""
        return (
            f" Its migration waited{told} for a lock that another session of PostgreSQL holds, and "
            "gave up, because every page would have waited behind it. Run again when that session "
            "has ended; pg_blocking_pids() and pg_stat_activity say which one it is."
        )
    if SQLITE_LOCK.search(journal):
        return (
            " Its migration gave up on the lock of SQLite's database, because another process was "
            "writing for longer than the app's busy timeout. Run again."
        )
    return ""


def schema_sentence(release: str, *, back: bool) -> str:
    """Return what to do about a release that cannot run on the database as it is."""
    if not back:
        return (
            " It says that it cannot run on the database as it is "
            "(aroundtheworld_schema_check_command). If the database is older, its migration does "
            "not do all of it, or has to run again (-e aroundtheworld_migrate=true)."
        )
    return (
        " It says that it cannot run on the database as it is "
        "(aroundtheworld_schema_check_command): a newer one has migrated it. To go back to the "
        f"data of that time as well: {with_data(release)}. If it only does not know that command "
        f"yet, and you know that it can run: --tags rollback -e aroundtheworld_release={release} "
        "-e aroundtheworld_schema_check_command="
    )


def with_data(release: str) -> str:
    """Return what an operator says to go back to a release and its data."""
    return f"--tags rollback -e aroundtheworld_with_data=true -e aroundtheworld_release={release}"
