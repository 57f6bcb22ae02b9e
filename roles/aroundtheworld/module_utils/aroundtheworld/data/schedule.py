"""What a host has for backups: the program with its settings, and the units that run it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.data.as_worker import LOW
from ansible.module_utils.aroundtheworld.data.backup import check_directory
from ansible.module_utils.aroundtheworld.data.mounts import missing_mounts
from ansible.module_utils.aroundtheworld.data.restic import directory_of
from ansible.module_utils.aroundtheworld.data.settings import (
    Settings,
    password_path,
    settings_path,
    variables_path,
)
from ansible.module_utils.aroundtheworld.data.state import (
    change_drill,
    change_state,
    due,
    read_drill,
    read_state,
)
from ansible.module_utils.aroundtheworld.files import (
    link_atomically,
    read_exactly,
    write_atomically,
)
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.systemd import HostError, Systemd

# Of the host it sees what it needs, and nothing else: a worker may put a link in the place of a
# directory that root is just reading.
SERVICE = """{mark}
[Unit]
Description={site}: {about}
After=local-fs.target remote-fs.target network-online.target
Wants=network-online.target
{on_failure}
[Service]
Type=oneshot
ExecStart={script} {does} {site}
ExecStopPost={script} {tidies} {site}
TimeoutStopSec=60
{priority}
OOMScoreAdjust=500
Environment=TMPDIR={work} HOME=/root
UMask=0077
RuntimeDirectory=aroundtheworld-locks
RuntimeDirectoryMode=0755
RuntimeDirectoryPreserve=yes
ProtectSystem=full
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
PrivateDevices=yes
PrivateTmp=yes
NoNewPrivileges=yes
# To read all that workers wrote, and to have them write their copies.
CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_CHOWN CAP_FOWNER CAP_KILL
TemporaryFileSystem={hidden}
InaccessiblePaths=-/run/credentials
BindReadOnlyPaths={seen}
BindPaths={written}
"""
HIDDEN = ("/etc", "/home", "/media", "/mnt", "/opt", "/root", "/srv", "/var")
# For the names of users and hosts, for systemd's and ssh's own settings, and for mounts.
SEEN = (
    *("passwd", "group", "nsswitch.conf", "hosts", "hostname", "resolv.conf", "localtime"),
    *("machine-id", "fstab", "systemd", "ssh", "ssl", "ld.so.cache", "ld.so.conf", "alternatives"),
)
TIMER = """{mark}
[Unit]
Description={site}: when {subject}

[Timer]
OnCalendar={at}
# A host that was down at that time makes up for it.
Persistent=yes
AccuracySec=1s

[Install]
WantedBy=timers.target
"""
FAILED = """{mark}
[Unit]
Description={site}: tells that a {what} failed

[Service]
Type=oneshot
EnvironmentFile=-{failure}
ExecStart=/usr/bin/env {command}
"""


class Task(NamedTuple):
    """What a timer begins.

    Attributes:
        what: The word for it.
        about: What its service does, for people.
        subject: What happens at its time, for people.
        does: The program's word for it.
        tidies: The program's word for what comes after it.
        name: Returns the name of its unit of a kind.
        failed: Returns the name of the service that tells of a failure.
        at: Returns when it is to begin.
        change: Writes some of its state.
        read: Returns its state.
    """

    what: str
    about: str
    subject: str
    does: str
    tidies: str
    name: Callable[[SiteLayout, str], str]
    failed: Callable[[SiteLayout], str]
    at: Callable[[Settings], str]
    change: Callable[..., dict[str, Any]]
    read: Callable[[SiteLayout], dict[str, Any]]


BACKUP = Task(
    "backup",
    "backs up databases, files and release",
    "it is backed up",
    "back-up",
    "ended",
    SiteLayout.backs_up,
    lambda layout: layout.backup_failed,
    lambda settings: settings.at,
    change_state,
    read_state,
)
DRILL = Task(
    "drill",
    "tries whether the last backup can be restored",
    "its last backup is tried",
    "drill",
    "drill-ended",
    SiteLayout.drills,
    lambda layout: layout.drill_failed,
    lambda settings: settings.drill_at,
    change_drill,
    read_drill,
)
TASKS = (BACKUP, DRILL)


class Schedule:
    """Compares what a host has for the backups of a site with what it should, and makes it.

    Attributes:
        changes: What was changed, or would be.
    """

    def __init__(self, layout: SiteLayout, systemd: Systemd, *, check_mode: bool) -> None:
        """Take where the site's files are, and how to call systemd."""
        self.layout, self.systemd, self.check_mode = layout, systemd, check_mode
        self.changes: list[str] = []

    def converge(self, wanted: Mapping[str, Any]) -> None:
        """Have the host make backups; an empty mapping means that it makes none by itself.

        Args:
            wanted: ``settings`` as `Settings` has them, ``on_failure`` as a unit has it,
                ``password``, ``environment`` for restic, and ``program`` in base64.

        Raises:
            HostError: The host is not fit for it.
        """
        if not wanted:
            for task in TASKS:
                self._set_timer(task, "")
            return
        settings = Settings(**wanted["settings"])
        self._refuse_foreign()
        self._make_directories(settings)
        program = base64.b64decode(wanted["program"]).decode("utf-8", "surrogateescape")
        self._write(self.layout.backup_script, program, 0o755)
        self._write(password_path(self.layout), wanted["password"] + "\n", 0o600, hidden=True)
        variables = json.dumps(wanted["environment"], sort_keys=True) + "\n"
        self._write(variables_path(self.layout), variables, 0o600, hidden=True)
        self._write(settings_path(self.layout), settings.text(), 0o600)
        texts = self._units(settings, wanted["on_failure"])
        changed = [self._write(path, text, 0o644) for path, text in texts.items()]
        for failed in (self.layout.backup_failed, self.layout.drill_failed):
            if self.layout.units / failed not in texts:
                changed.append(self._remove(self.layout.units / failed))
        if any(changed) and not self.check_mode:
            self.systemd.call("daemon-reload")
        for task in TASKS:
            self._set_timer(task, task.at(settings))

    def _units(self, settings: Settings, on_failure: str) -> dict[Path, str]:
        """Return the texts of the services."""
        layout, repository = self.layout, directory_of(settings.repository)
        written = [layout.backup, *filter(None, [repository])]
        seen = [layout.home, layout.etc]
        seen += [Path("/etc", name) for name in SEEN]
        seen += [] if repository else [Path("/root/.ssh")]
        values = {
            "mark": belongings.mark(layout.name),
            "site": layout.name,
            "priority": "\n".join(LOW),
            "script": layout.backup_script,
            "work": layout.backup / "cache",
            "hidden": " ".join(f"{path}:ro" for path in HIDDEN),
            "seen": " ".join(map(_quoted, seen)),
            "written": " ".join(map(_quoted, written)),
        }
        texts = {}
        for task in TASKS:
            service, failed = task.name(layout, "service"), task.failed(layout)
            values |= {"what": task.what, "about": task.about, "does": task.does}
            values |= {"tidies": task.tidies, "failure": layout.failure_of(task.what)}
            values |= {"command": on_failure}
            values["on_failure"] = f"OnFailure={failed}\n" if on_failure else ""
            texts[layout.units / service] = SERVICE.format(**values)
            if on_failure:
                texts[layout.units / failed] = FAILED.format(**values)
        return texts

    def _refuse_foreign(self) -> None:
        foreign = [
            str(path)
            for path in self.layout.backup_files
            if path.exists() and path not in belongings.files(self.layout.name, self.layout.root)
        ]
        if foreign:
            raise HostError(
                f"this host has {', '.join(foreign)}, which the role did not make and would "
                "overwrite. Move that away, or give the site another name."
            )

    def _make_directories(self, settings: Settings) -> None:
        """Make the directories of backups; root alone may enter the repository."""
        for path, mode in (
            (self.layout.backup_settings, 0o700),
            (self.layout.backup, 0o711),
            (self.layout.backup / "cache", 0o700),
        ):
            if not path.is_dir() and self._changing(f"directory {path}"):
                path.mkdir()
                path.chmod(mode)
        repository = directory_of(settings.repository)
        if not repository:
            return
        # The plan knows its name; where links and mounts lead to only the host does.
        if repository.resolve().is_relative_to(self.layout.home.resolve()):
            raise HostError(
                f"{repository} leads to {repository.resolve()}, which is in the site's home, and a "
                "backup would contain itself. Name a directory elsewhere, best on another disk, in "
                "aroundtheworld_backup_repository."
            )
        if missing := missing_mounts(repository, self.layout.root):
            raise HostError(
                f"{missing[0]} is not mounted, and this host's settings say that it should be, for "
                f"the repository {repository} (aroundtheworld_backup_repository). Mount it first."
            )
        known = read_state(self.layout)
        gone = known["id"] and known["repository"] == settings.repository
        # One that had backups is made by nobody again: the next backup says that it is gone.
        if not repository.exists() and not gone and self._changing(f"directory {repository}"):
            repository.mkdir(parents=True)
            repository.chmod(0o700)
        check_directory(repository)

    def _set_timer(self, task: Task, at: str) -> None:
        """Have something begin at that time, or not by itself."""
        layout = self.layout
        timer = layout.units / task.name(layout, "timer")
        link = layout.units / "timers.target.wants" / timer.name
        stamp = layout.stamp(timer.name)
        own = belongings.files(layout.name, layout.root)
        if not at:
            if timer not in own:
                return
            if timer.exists() and self._changing(f"no {timer}"):
                self.systemd.call("stop", "--", timer.name, check=False)
                for path in (link, timer, stamp):
                    belongings.remove_file(path)
                self.systemd.call("daemon-reload")
                belongings.give_up(layout.name, [timer, stamp], root=layout.root)
                task.change(layout, at="", due=None)
            return
        text = TIMER.format(
            mark=belongings.mark(layout.name), site=layout.name, subject=task.subject, at=at
        )
        if self._write(timer, text, 0o644, [stamp]) and not self.check_mode:
            link.unlink(missing_ok=True)  # made again last: with it, the timer runs
            self.systemd.call("daemon-reload")
        if not link.is_symlink() and self._changing(f"{timer.name} runs"):
            self.systemd.call("restart", "--", timer.name)
            link.parent.mkdir(exist_ok=True)
            task.change(layout, at=at, due=due(at, 0.0))
            link_atomically(link, timer)

    # --- Files

    def _changing(self, change: str) -> bool:
        """Note a change, and tell whether to make it."""
        self.changes.append(change)
        return not self.check_mode

    def _write(
        self, path: Path, text: str, mode: int, more: Sequence[Path] = (), *, hidden: bool = False
    ) -> bool:
        """Write a file, and tell whether it was another one; `more` comes with it later."""
        same = path.exists() and read_exactly(path) == text
        if same and path.stat().st_mode & 0o777 == mode:
            return False
        if self._changing(f"content of {path}{' (not shown)' if hidden else ''}"):
            if not path.is_relative_to(self.layout.etc):
                belongings.take(self.layout.name, [path, *more], root=self.layout.root)
            for draft in belongings.half_made([path]):
                draft.unlink()
            write_atomically(path, text, mode)
        return True

    def _remove(self, path: Path) -> bool:
        """Remove a file of the site's, and tell whether there was one."""
        if path not in belongings.files(self.layout.name, self.layout.root):
            return False
        if self._changing(f"no {path}"):
            belongings.remove_file(path)
            belongings.give_up(self.layout.name, [path], root=self.layout.root)
        return True


def _quoted(path: Path) -> str:
    """Return a path for a list of paths in a unit; what is not there is left out."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"-{text}"' if " " in text else f"-{text}"


def back_up_now(layout: SiteLayout, systemd: Systemd, who: str) -> dict[str, Any]:
    """Have the service make a backup, and return the state of backups; raises `HostError`."""
    request = json.dumps({"who": who}) + "\n"
    write_atomically(layout.backup / "request.json", request, 0o600)
    return do_now(BACKUP, layout, systemd)


def do_now(task: Task, layout: SiteLayout, systemd: Systemd) -> dict[str, Any]:
    """Have the service do it, and return its state afterwards; raises `HostError`."""
    before, service = task.read(layout), task.name(layout, "service")
    try:
        systemd.call("start", "--", service)
    except HostError as failure:
        state = task.read(layout)
        told = state["failed"] if state["failed"] != before["failed"] else {}
        raise HostError(told.get("cause") or f"{failure}\n{systemd.journal(service)}") from None
    return task.read(layout)
