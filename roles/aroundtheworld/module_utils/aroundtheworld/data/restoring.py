"""A backup takes the place of a site's data, or everything stays as it is.

First all of it is written beside the data and looked through, while the site serves. Then the site
stands still; its files are exchanged by renames; and its databases are put in their places by the
site's user. What was there before is kept until the next restore.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.changelog import append_log, secure
from ansible.module_utils.aroundtheworld.clock import now
from ansible.module_utils.aroundtheworld.data.as_worker import (
    copy_databases,
    refuse,
    run_as_worker,
    sentences,
)
from ansible.module_utils.aroundtheworld.data.chosen import Snapshot, choose, home_of, told
from ansible.module_utils.aroundtheworld.data.journal import (
    DONE,
    EXCHANGING,
    STOPPING,
    read_journal,
    restore_cut_off,
    write_journal,
)
from ansible.module_utils.aroundtheworld.data.restic import Restic
from ansible.module_utils.aroundtheworld.data.settings import Settings
from ansible.module_utils.aroundtheworld.data.staged import Staged, release_problems
from ansible.module_utils.aroundtheworld.data.undo_copies import record_path
from ansible.module_utils.aroundtheworld.files import read_exactly, write_atomically
from ansible.module_utils.aroundtheworld.maintenance.standstill import Standstill
from ansible.module_utils.aroundtheworld.maintenance.switch import Closing
from ansible.module_utils.aroundtheworld.rollout.migration import marked, set_marks
from ansible.module_utils.aroundtheworld.systemd import HostError

Database = Mapping[str, str]


@dataclass(frozen=True)
class Request:
    """What an operator asks for.

    Attributes:
        who: Who that is.
        closing: How the site is closed meanwhile.
        generated: The secrets whose values only the host knows.
    """

    who: str
    closing: Closing
    generated: Sequence[str]


@dataclass
class Outcome:
    """What a restore has come to.

    Attributes:
        release: The release that ran when the backup was made.
        environment: That release's virtual environment.
        notes: What the operator should know, each a sentence.
    """

    release: str = ""
    environment: str = ""
    notes: list[str] = field(default_factory=list)


class Restore:
    """Restores a backup onto a site that has its user and directories."""

    def __init__(
        self,
        settings: Settings,
        program: Path,
        standstill: Standstill,
        note_phase: Callable[[str], None],
    ) -> None:
        """Take the site, the program that puts databases in their places, and who is told."""
        self.settings, self.program, self.still = settings, program, standstill
        self.note_phase, self.layout = note_phase, settings.layout

    def take_back_cut_off(self) -> bool:
        """Take back a restore that was cut off, and have the site go on; tell if there was one."""
        if not restore_cut_off(self.layout):
            return False
        self.note_phase("taking back a restore that was cut off")
        if self.still.record:
            self.still.stop()  # what it has begun as the site's user may still go on
        self._back()
        return True

    def restore(self, restic: Restic, snapshot: Snapshot, request: Request) -> Outcome:
        """Restore a backup; afterwards the site stands still until its workers are started.

        Raises:
            HostError: The site is as it was.
        """
        staged = Staged(self.settings, snapshot)
        outcome = Outcome()
        try:
            self.note_phase("reading the backup")
            staged.write(restic)
            outcome.notes += staged.give_owners()
            staged.check_room()
            databases, notes = self._databases(staged)
            outcome.notes += notes
            refuse(self._put(staged.databases, databases, staged.manifest, rehearse=True))
            staged.install_release()
            outcome.release, outcome.environment = staged.release, staged.environment
            self._exchange(staged, databases, request, outcome)
        finally:
            if not restore_cut_off(self.layout):
                staged.remove()
        return outcome

    def _databases(self, staged: Staged) -> tuple[list[Database], list[str]]:
        """Return the databases to put in their places, and what to tell of others."""
        copied = {database["name"]: database for database in staged.manifest["databases"]}
        named = {database["name"]: database for database in self.settings.databases}
        notes = [
            f"The backup has no copy of the database {name!r}, which stays as it is, or as its "
            "file lay there."
            for name in named.keys() - copied.keys()
        ]
        databases = [database for name, database in named.items() if name in copied]
        for name in sorted(copied.keys() - named.keys()):
            database = copied[name]
            if database["kind"] == "sqlite":  # its file is in the backup as this copy only
                place = Path(database["place"]).relative_to(staged.home)
                databases.append({**database, "place": str(self.layout.home / place)})
            else:
                notes.append(
                    f"The backup has a copy of the database {name!r}, which "
                    "aroundtheworld_databases does not name; it was not put anywhere."
                )
        # A file can be taken back at once, a database of a server only by its dump.
        return sorted(databases, key=lambda database: database["kind"] != "sqlite"), notes

    # --- While the site stands still

    def _exchange(
        self, staged: Staged, databases: Sequence[Database], request: Request, outcome: Outcome
    ) -> None:
        """Exchange the data; a failure takes all of it back."""
        exchange = staged.exchange()
        self.note_phase("stopping the site")
        about = {"backup": told(staged.snapshot), "id": str(staged.snapshot["id"]), "time": now()}
        try:
            write_journal(self.layout, {**about, "phase": STOPPING})
            self.still.begin(request.closing)
            exchange.forget()
            self.layout.replaced.mkdir(mode=0o711)
            self.note_phase("keeping what there is")
            self._keep(databases)
            journal = {
                **about,
                "phase": EXCHANGING,
                "home": str(staged.home),
                "had": [str(place) for place in exchange.places() if os.path.lexists(place)],
                "databases": [dict(each) for each in databases],
                "secrets": self._secrets(staged, request.generated),
                "migrated": marked(self.layout.home, ""),
            }
            write_journal(self.layout, journal)
            self.note_phase("exchanging files")
            self._bring_secrets(staged, journal["secrets"])
            exchange.forward()
            os.sync()
            self.note_phase("putting databases in their places")
            report = self._put(staged.databases, databases, staged.manifest)
            # What was put nowhere need not be taken back, and may be what a lock is on.
            touched = [*report.get("done", []), *report.get("unsure", [])]
            put = [each for each in journal["databases"] if each["name"] in touched]
            write_journal(self.layout, {**journal, "databases": put})
            refuse(report)
            outcome.notes += sentences(report, "notes")
            exchange.settle()
            self._bring_log(staged)
            set_marks(self.layout.home, staged.manifest.get("migrated", [staged.release]))
            # An undo that was cut off is over: its databases are gone.
            record_path(self.layout).unlink(missing_ok=True)
            write_journal(self.layout, {**journal, "phase": DONE})
        except BaseException as failure:
            self.note_phase("taking it back")
            try:
                self._back()
            except (HostError, OSError) as worse:
                raise HostError(
                    f"{failure}\nNor could it be taken back: {worse}\nThe site is closed. Mend "
                    "the cause, and run --tags restore again: it begins with taking this back."
                ) from None
            raise
        self._log(staged, request)

    def _keep(self, databases: Sequence[Database]) -> None:
        """Dump the databases of servers; files are kept by renames."""
        servers = [each for each in databases if each["kind"] != "sqlite"]
        if not servers or not self.layout.current.exists():  # there was no site yet
            return
        target = self.layout.replaced / "databases"
        copy_databases(self.settings, self.program, target, servers, ())

    def _put(
        self,
        source: Path,
        databases: Sequence[Database],
        manifest: Mapping[str, Any],
        *,
        rehearse: bool = False,
    ) -> Mapping[str, Any]:
        """Have the site's user put databases in their places, and return what it reports."""
        if not databases:
            return {}
        task = {
            "shared": str(self.layout.shared),
            "source": str(source),
            "databases": list(databases),
            "wal": manifest.get("wal", []),
            "rehearse": rehearse,
        }
        shared = self.layout.shared
        report: Mapping[str, Any] = run_as_worker(
            self.settings, self.program, "put", task, shared, ()
        )
        return report

    # --- Secrets and the log

    def _secrets(self, staged: Staged, generated: Sequence[str]) -> list[str]:
        """Return the secrets that are to be what they were: only hosts know them."""
        return [
            name
            for name in generated
            if staged.secret(name).is_file()
            and read_exactly(staged.secret(name)) != read_exactly(self.layout.secrets / name)
        ]

    def _bring_secrets(self, staged: Staged, names: Sequence[str]) -> None:
        kept = self.layout.replaced / "secrets"
        kept.mkdir(mode=0o700)
        for name in names:
            place = self.layout.secrets / name
            if place.is_file():
                write_atomically(kept / name, read_exactly(place), 0o600)
            write_atomically(place, read_exactly(staged.secret(name)), 0o600)

    def _bring_log(self, staged: Staged) -> None:
        """Have the log of changes on a host that has none."""
        if staged.log.is_file() and not self.layout.log.exists():
            write_atomically(self.layout.log, read_exactly(staged.log), 0o600)
            secure(self.layout.home)

    def _log(self, staged: Staged, request: Request) -> None:
        release = self.layout.current_release() or staged.release
        entry = {"time": now(), "who": request.who, "verb": "restore", "from": release}
        end = {"to": release, "phases": [], "outcome": "done"}
        append_log(self.layout.home, {**entry, **end, "cause": f"backup {told(staged.snapshot)}"})

    # --- Back

    def _back(self) -> None:
        """Put back what the journal says, and have the site go on as before."""
        journal = read_journal(self.layout)
        if journal.get("phase") == EXCHANGING:
            # What is staged, also by a run that was cut off, says which places there are.
            home = Path(journal["home"])
            paths = [str(home / "backup" / "staging")]
            snapshot = {"id": journal["id"], "paths": paths, "time": journal["time"]}
            Staged(self.settings, snapshot).exchange().back(journal["had"])
            os.sync()
            for name in journal["secrets"]:
                kept = self.layout.replaced / "secrets" / name
                if kept.is_file():
                    write_atomically(self.layout.secrets / name, read_exactly(kept), 0o600)
            set_marks(self.layout.home, journal["migrated"])
            kept = self.layout.replaced / "databases"
            servers = [each for each in journal["databases"] if each["kind"] != "sqlite"]
            if servers and kept.is_dir():
                refuse(self._put(kept, servers, {}))
        self.layout.restore_journal.unlink(missing_ok=True)
        if self.layout.current.exists():
            self.still.start()
        self.still.end()


@dataclass(frozen=True)
class Found:
    """The backup that is meant.

    Attributes:
        snapshot: As restic knows it.
        manifest: What the backup says of itself.
    """

    snapshot: Snapshot
    manifest: Mapping[str, Any]

    @property
    def result(self) -> dict[str, str]:
        """Return it as a module tells it."""
        about = {key: str(self.manifest.get(key, "")) for key in ("release", "environment")}
        return {"backup": told(self.snapshot), **about}


def examine(restic: Restic, settings: Settings, which: str) -> Found:
    """Return the backup that is meant, once it is known that it can be restored here.

    Raises:
        HostError: It cannot, or there is none.
    """
    restic.check()
    snapshot = choose(restic.snapshots(), settings.site, socket.gethostname(), which)
    path = home_of(snapshot) / "backup" / "staging" / "manifest.json"
    manifest = json.loads(restic.file_text(str(snapshot["id"]), path))
    layout = settings.layout
    problems = "; ".join(release_problems(manifest, layout))
    if not layout.current.exists() and problems:
        raise HostError(
            f"The release in the backup {told(snapshot)} cannot run on this host: {problems}. "
            "Deploy the site here first, and then restore."
        )
    return Found(snapshot, manifest)
