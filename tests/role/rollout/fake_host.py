"""What of a host a rollout sees: unit files, systemd, and workers."""

from __future__ import annotations

import fnmatch
import functools
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld import belongings, claims
from ansible.module_utils.aroundtheworld.health_check import HealthCheck
from ansible.module_utils.aroundtheworld.layout import SystemLayout
from ansible.module_utils.aroundtheworld.systemd import HostError
from ansible.module_utils.aroundtheworld.worker_client import SILENT, WorkerStatus, parse_status

from tests.render import ADMIN, JOB, PUBLIC, QUEUE, render, variables_for

FIRST, SECOND = "111111111111", "222222222222"
# Units that most rollouts start, and that have tests of their own.
OFTEN = ("migrate.service", "schema.service", "trial.service")
LINKS = {
    "service": "multi-user.target.wants",
    "socket": "sockets.target.wants",
    "timer": "timers.target.wants",
}


Status = dict[str, Any]
"""What a worker reports on its control socket; less of a command, and nothing of a broken one."""


def parsed(status: Status) -> WorkerStatus:
    """Return the status as the module reads it."""
    if "state" in status:
        return parse_status(json.dumps(status).encode())
    return WorkerStatus(status["release"], status["config"]) if status else SILENT


def find(pattern: str, text: str) -> str:
    """Return what the pattern's group finds in a text."""
    found = re.search(pattern, text, re.M)
    assert found, f"{pattern} is not in:\n{text}"
    return found[1]


class CutOffError(BaseException):
    """The module's process was killed here, so it does nothing any more."""


class Host:
    """What of a host the module sees: unit files, what systemd has read of them, workers."""

    def __init__(self, directory: Path) -> None:
        """Make the files of a host on which nothing is deployed."""
        self.root = directory
        self.units = directory / "etc/systemd/system"
        self.home = directory / "home"
        self.secrets = directory / "secrets"
        stamps = directory / "var/lib/systemd/timers"
        for made in (self.units, self.home, self.secrets, directory / "run", stamps):
            made.mkdir(parents=True)
        (self.secrets / "cookie_secret").write_text("x")
        self.claim = SystemLayout("aroundtheworld", directory).claim
        self.claim.parent.mkdir(parents=True)
        nothing = {"http_port": 80, "server_names": ["_"], "pools": [], "sockets": []}
        about = {"site": "aroundtheworld", "home": str(self.home), "user": "tornado"}
        self.claim.write_text(claims.claim_text(about | nothing | {"has": belongings.nothing()}))
        self.read: dict[Path, str] = {}  # unit files as systemd knows them
        # Name of a service to the status of its process, and when it started.
        self.running: dict[str, tuple[Status, float]] = {}
        self.ended: dict[str, float] = {}
        self.listening: dict[str, str | None] = {}  # name of a socket to its address
        self.timers: set[str] = set()  # that wait for their times
        self.never: dict[str, str] = {}  # times to what systemd says of them
        self.bound: set[str] = set()  # services that bind their port themselves
        self.calls: list[str] = []
        self.migrated: list[str] = []  # releases for which the migration ran
        self.unmigratable: set[str] = set()  # releases of which it fails
        self.asked: list[str] = []  # releases that were asked whether they can run on the database
        self.unfit: set[str] = set()  # releases that cannot
        self.wrote = ""  # what is in the journal of a unit
        self.tried = 0  # how often commands were tried
        self.prepared: list[str] = []  # releases for which the preparation ran
        self.cut_off_at: int | None = None
        self.dead = False
        # What happens to the module while systemd restarts something.
        self.late: Callable[[], object] | None = None
        # What systemd has still to restart, after so many calls.
        self.pending: list[str] = []
        self.delay = 0
        self.counts: dict[str, int] = {}  # kind of an event to how many there were
        # Kind of an event, its number, and what happens to the module then.
        self.disturbed: tuple[str, int, Callable[[], object]] | None = None
        self.broken: set[str] = set()  # services that do not become ready
        self.sick: set[str] = set()  # releases that answer the health path with an error
        # Release to the HTTP status with which it answers the health path.
        self.statuses: dict[str, int] = {}
        # Which release was checked, and how.
        self.checks: list[tuple[str, HealthCheck]] = []
        self.accepted: list[str] = []  # services that were let take connections
        self.unsteady: set[str] = set()  # releases of which workers of a queue end all the time
        self.crippled: set[str] = set()  # releases that block their event loop when they are ready
        for release in (FIRST, SECOND):
            (self.home / "releases" / release).mkdir(parents=True)
            (self.home / "releases" / release / "venv").symlink_to("../../environments/e")
        (self.home / "environments" / "e").mkdir(parents=True)
        self.refused: set[str] = set()  # releases of which the preparation fails
        # What systemd prints about unit files in a directory.
        self.verify: Callable[[Path, Sequence[str]], str] = lambda directory, names: ""

    def lives(self) -> None:
        """Raise `CutOffError` when the module's process is no more."""
        if self.dead:
            raise CutOffError

    def happens(self, kind: str) -> None:
        """Count an event, at which a test may disturb the module, once."""
        number = self.counts[kind] = self.counts.get(kind, -1) + 1
        if self.disturbed and self.disturbed[:2] == (kind, number):
            disturb, self.disturbed = self.disturbed[2], None
            disturb()

    # --- What the module calls instead of systemctl and the control sockets

    def call(self, *arguments: str, check: bool = True) -> str:
        """Carry out a command of systemctl."""
        verb, names = arguments[0], [name for name in arguments[1:] if not name.startswith("-")]
        if verb == "list-units":
            active = {*self.running, *self.listening, *self.timers} & {*names}
            return "".join(f"{name} loaded active running\n" for name in active)
        if self.cut_off_at == len(self.calls):
            self.dead = True
            raise CutOffError
        if verb == "restart" and self.late:
            # systemd begins, and carries it out while the module is interrupted meanwhile.
            interrupt, self.late = self.late, None
            self.pending = names
            self.calls.append(" ".join([verb, *names]))
            interrupt()
        self.happens("call")
        self.delay -= 1
        while self.pending and (self.delay < 0 or verb == "restart"):
            self._restart(self.pending.pop())  # with what systemd has read by now
        self.calls.append(" ".join([verb, *names]))
        assert not [name for name in names if re.search(r"@\D.*\.socket$", name)], "no such port"
        gone = [name for name in names if name.endswith(".timer") and not self._text(name)]
        if gone and check:
            raise HostError(f"Unit {gone[0]} not loaded.")
        # Of what is started at once, systemd starts the sockets before their services.
        for name in sorted(names, key=lambda name: not name.endswith(".socket")):
            getattr(self, f"_{verb.replace('-', '_')}", lambda name: None)(name)
        if verb == "daemon-reload":
            self.read = self._files()
            # What systemd holds for an address that its unit does not name any more, it closes.
            for name, address in list(self.listening.items()):
                if self._address(name) != address:
                    self.listening[name] = None
        return ""

    def show(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return properties of units."""
        return {name: self._show(name) for name in names}

    def loaded(self, pattern: str) -> set[str]:
        """Return units in memory."""
        return set(fnmatch.filter([*self.running, *self.listening], pattern))

    def calendar(self, time: str) -> str:
        """Return what systemd says of a time."""
        return self.never.get(time, "")

    def addresses(self) -> set[str | None]:
        """Return where the host listens."""
        bound = {f"0.0.0.0:{name.partition('@')[2][:5]}" for name in self.bound}
        return set(self.listening.values()) | bound | {"0.0.0.0:22"}

    def journal(self, unit: str, lines: int = 20, since: float | None = None) -> str:
        """Return what stands for the journal of a unit."""
        return f"(the journal of {unit}){self.wrote}"

    def _behind(self, private: Path) -> str:
        name = private.parent.name
        if name.startswith("job-"):
            return f"aroundtheworld-{name}.service"
        instance = name.removeprefix("handover-")
        return f"aroundtheworld{'' if name == instance else '-handover'}@{instance}.service"

    def read_status(self, control: Path) -> WorkerStatus:
        """Return a worker's status."""
        self.happens("look")
        status = dict(self.running.get(self._behind(control), ({}, 0))[0])
        if status.get("release") in self.crippled and status["state"] == "ready":
            status |= {"busy_seconds": 7.5, "busy_in": "Slow.get"}
        return parsed(status)

    def read_statuses(self, controls: Mapping[Any, Path]) -> dict[Any, WorkerStatus]:
        """Return the status of several workers."""
        return {key: self.read_status(control) for key, control in controls.items()}

    def accept(self, control: Path) -> str:
        """Let a worker take connections."""
        self.accepted.append(self._behind(control))
        self.running[self._behind(control)][0]["state"] = "ready"
        return ""

    def problem(self, check: HealthCheck, app: Path | str) -> str:
        """Return what is wrong with a health check."""
        if isinstance(app, str):  # a command, or its stand-in
            port = app.rpartition(":")[2]
            names = [f"aroundtheworld{infix}@{port}.service" for infix in ("-handover", "")]
            answering = next(name for name in names if name in self.running)
        else:
            answering = self._behind(app)
        release = self.running[answering][0]["release"]
        self.checks.append((release, check))
        if (status := self.statuses.get(release, 200)) and not check.allows(status):
            return str(check.wrong(status))
        sick = release in self.sick
        return f"it answers {check.path} with status 500" if sick else ""

    # --- systemd

    def _files(self) -> dict[Path, str]:
        files: dict[Path, str] = {}
        for directory, inner, names in os.walk(self.units):
            if directory == str(self.units):
                inner[:] = (name for name in inner if not name.startswith("."))
                names = [name for name in names if not name.startswith(".")]
            paths = (Path(directory, name) for name in names)
            files |= {path: text for path in paths if (text := self._file(path)) is not None}
        return files

    @staticmethod
    def _file(path: Path) -> str | None:
        """Return the text of a file; none of a link or of what is not there."""
        return path.read_text() if path.is_file() and not path.is_symlink() else None

    def _sources(self, name: str) -> list[Path]:
        stem, _, kind = name.rpartition(".")
        template = self.units / f"{stem.partition('@')[0]}{'@' if '@' in stem else ''}.{kind}"
        return [template, self.units / f"{name}.d" / "pool.conf"]

    def _show(self, name: str) -> dict[str, str]:
        kind = name.rpartition(".")[2]
        stale = any(self._file(path) != self.read.get(path) for path in self._sources(name))
        known = name in self.running or name in self.listening or name in self.timers
        known = known or kind == "slice"
        linked = (self.units / LINKS.get(kind, "") / name).is_symlink()
        shown = {
            "Id": name,
            "ActiveState": "active" if known else "inactive",
            "UnitFileState": "enabled" if linked else "disabled",
            "NeedDaemonReload": "yes" if stale and self.read else "no",
        }
        status, at = self.running.get(name, ({}, 0))
        if "@mail-" in name and status.get("release") in self.unsteady:
            self.running[name] = (status, at + 1)  # systemd has started it again
        if started := self.running.get(name, ({}, self.ended.get(name, 0)))[1]:
            shown["ExecMainStartTimestampMonotonic"] = str(int(started * 1e6))
        return shown

    def _text(self, name: str) -> str:
        # Of a unit that systemd does not know yet it reads the files now.
        sources = self._sources(name)
        disk = {path: self._file(path) for path in sources if path not in self.read}
        self.read = self.read | {path: text for path, text in disk.items() if text is not None}
        return "".join(self.read.get(path, "") for path in sources)

    def _address(self, name: str) -> str:
        port = name.partition("@")[2].rpartition(".")[0]
        return find(r"^ListenStream=(.*)$", self._text(name)).replace("%i", port)

    def _start(self, name: str) -> None:
        text = self._text(name)
        port = name.partition("@")[2].rpartition(".")[0]
        if name.endswith(".socket"):
            self.listening.setdefault(name, self._address(name))
        elif name.endswith(".timer"):
            assert text, "there is no such timer"
            self.timers.add(name)
            self.stamp(name).touch()  # where there is none
        elif name.endswith("-prepare.service"):
            release = find(r"/releases/(\w+)/app$", text)
            if release in self.refused:
                raise HostError("systemctl start failed")
            self.prepared.append(release)
        elif name.endswith("-migrate.service"):
            release = find(r"/releases/(\w+)/app$", text)
            if release in self.unmigratable:
                raise HostError("systemctl start failed")
            self.migrated.append(release)
        elif name.endswith("-schema.service"):
            self.asked.append(find(r"/releases/(\w+)/app$", text))
            if self.asked[-1] in self.unfit:
                raise HostError("systemctl start failed")
        elif name.endswith("-trial.service"):
            self.tried += 1
        elif name.endswith("-metrics.service"):
            self.running[name] = ({"text": text}, time.monotonic())
        elif name not in self.running:
            kind = (re.findall(r"AROUNDTHEWORLD_KIND=(.*)$", text, re.M) or ["runner"])[0]
            listens = bool(self.listening.get(f"aroundtheworld@{port}.socket"))
            assert listens is (kind not in ("binds", "queue")), "worker and socket do not fit"
            if kind == "binds":
                self.bound.add(name)
            status = {
                "release": find(r"AROUNDTHEWORLD_RELEASE=(.*)$", text),
                "config": find(r"AROUNDTHEWORLD_CONFIG=(.*)$", text),
                "state": "held" if "-handover@" in name else "ready",
                "responses": {"2xx": 100},
                "busy_seconds": 0.0,
                "busy_in": None,
                "loop_lag_seconds": {"max": 0.0},
                "latency_seconds": {"buckets": [[0.01, 100]]},
            }
            if kind != "runner":
                if name in self.broken:
                    return
                status = {key: status[key] for key in ("release", "config")}
            self.running[name] = ({} if name in self.broken else status, time.monotonic())

    def _stop(self, name: str) -> None:
        if name in self.running:  # of what has ended, systemd keeps when it started
            self.ended[name] = self.running.pop(name)[1]
        self.listening.pop(name, None)
        self.timers.discard(name)
        self.bound.discard(name)

    def _restart(self, name: str) -> None:
        self._stop(name)
        self._start(name)

    def _enable(self, name: str) -> None:
        link = self.units / LINKS[name.rpartition(".")[2]] / name
        link.parent.mkdir(exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(self._sources(name)[0])

    def _disable(self, name: str) -> None:
        (self.units / LINKS[name.rpartition(".")[2]] / name).unlink(missing_ok=True)

    # --- What a test asks

    def stamp(self, timer: str) -> Path:
        """Return systemd's file about when a timer elapsed."""
        path: Path = SystemLayout("aroundtheworld", self.root).stamp(timer)
        return path

    def releases(self) -> dict[int, str | None]:
        """Return each port to the release that its worker runs."""
        return {int(name): release for name, release in self._releases() if name.isdigit()}

    def queue(self) -> dict[str, str | None]:
        """Return each worker of the queue to the release that it runs."""
        return {name: release for name, release in self._releases() if not name.isdigit()}

    def _releases(self) -> list[tuple[str, str | None]]:
        return [
            (name.partition("@")[2].removesuffix(".service"), status.get("release"))
            for name, (status, _) in self.running.items()
            if "-handover@" not in name and "@" in name
        ]

    def log(self) -> list[dict[str, Any]]:
        """Return the log of changes."""
        return [json.loads(line) for line in (self.home / "deploys.jsonl").read_text().splitlines()]

    def restarts(self) -> list[str]:
        """Return what was started and stopped, but for what has tests of its own."""
        calls = [call for call in self.calls if call.startswith(("start ", "restart ", "stop "))]
        return [call for call in calls if call.partition("-")[2] not in OFTEN]

    def snapshot(self) -> tuple[Any, ...]:
        """Return all that a rollout changes."""
        links = sorted(path.name for path in self.units.glob("*.wants/*"))
        current = self.home / "current"
        running = {name: status for name, (status, _) in self.running.items()}
        target = current.readlink() if current.is_symlink() else None
        listening = dict(self.listening)
        return self._files(), links, self.read, running, listening, set(self.timers), target


KINDS: dict[str, dict[str, Any]] = {
    "runner": {},
    "takes": {"command": "serve"},
    "binds": {"command": "serve {port}", "binds": True},
    "sticky": {"sticky": "cookie"},
    "sticky command": {"sticky": "cookie", "command": "serve", "read_timeout": 400},
}


@functools.cache
def units_text(
    ports: tuple[tuple[int, ...], tuple[int, ...]],
    address: str,
    secrets: tuple[str, ...],
    kinds: tuple[str, str],
    metrics: int = 0,
    queue: int = 0,
    at: tuple[str, ...] = (),
    schema: str = "",
) -> tuple[str, list[dict[str, Any]]]:
    """Return all unit files of a site with a public and an admin pool, and its workers.

    It may have a queue, with so many workers, a job that is run at these times, and a command that
    says whether a release can run on the database.

    The release is ``@RELEASE@``, so that a text can be used for any.
    """
    pools = [PUBLIC | {"ports": list(ports[0])} | KINDS[kinds[0]]]
    if ports[1]:
        pools.append(ADMIN | {"ports": list(ports[1])} | KINDS[kinds[1]])
    if queue:
        pools.append(QUEUE | {"processes": queue})
    if at:
        pools.append(JOB | {"at": [*at]})
    variables = variables_for(
        {
            "aroundtheworld_pools": pools,
            "aroundtheworld_listen_address": address,
            "aroundtheworld_secrets": dict.fromkeys(secrets, "generate"),
            "aroundtheworld_metrics_port": metrics,
            "aroundtheworld_schema_check_command": schema,
        }
    )
    plan = variables["__aroundtheworld_plan"]
    plan["release"]["id"] = "@RELEASE@"
    return render("units.j2", variables), plan["workers"]


class Clock:
    """The time, but nobody waits for it to pass."""

    def __init__(self) -> None:
        """Begin with the real time."""
        self.slept = 0.0

    def time(self) -> float:
        """Return the time of day."""
        return time.time() + self.slept

    def monotonic(self) -> float:
        """Return the seconds of a clock that nobody sets."""
        return time.monotonic() + self.slept

    def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.slept += seconds


EVERY_WORKER_ON_FIRST = dict.fromkeys([10001, 10002, 10003, 10004], FIRST)


def replacement_calls(*batches: int | tuple[int, ...]) -> list[str]:
    """Return the calls of systemctl by which workers are replaced, each by its port or several."""
    calls: list[str] = []
    for batch in batches:
        ports = batch if isinstance(batch, tuple) else (batch,)
        services = " ".join(f"aroundtheworld@{port}.service" for port in ports)
        stand_ins = services.replace("@", "-handover@")
        calls += [f"stop {stand_ins}", f"start {stand_ins}"]
        calls += [f"restart {services}", f"stop {stand_ins}"]
    return calls


FEWER = ((10001,), ())
