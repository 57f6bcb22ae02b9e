#!/usr/bin/python
"""Ansible module: every worker of a site runs the wanted release with the wanted settings.

What is done follows from the state that is found, not from what changed in this run: unit files are
compared with the wanted ones, and each running worker is asked on its private socket which release
and settings it runs. So a run that was cut off anywhere is completed by the next one.

A worker that serves is exchanged without losing a request: a stand-in, a second process on the same
listening socket, starts with the new release and has to prove itself before it takes a connection;
only then is the worker itself restarted. When anything fails, every worker that was touched is
exchanged back.

A pool with a command of its own has no private socket. One that takes systemd's socket gets a
stand-in as well, which nobody can ask whether it is ready; one that binds its port is restarted.
What such a command was started with is noted by its unit.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_workers
short_description: Run a site's workers as systemd services
description:
  - Writes the unit files, and starts or exchanges each worker that does not run what it should; one
    at a time, until a public one does.
  - A worker counts as started when it says on its private socket that it is ready, with the wanted
    release, and answers the health path.
  - Before the first one starts, the unit C(SITE-prepare.service) has to succeed.
  - C(current) is switched when all workers run the release. A failure puts every touched one back.
options:
  site: {description: Name of the site and prefix of its units., type: str, required: true}
  home: {description: Directory of the site., type: path, required: true}
  release: {description: Id of the wanted release., type: str, required: true}
  address:
    description: Address of the listening sockets, IPv6 in brackets.
    type: str
    required: true
  units:
    description:
      - All unit files in the format of C(systemctl cat). C(@CONFIG@) in them stands for a worker's
        settings.
    type: str
    required: true
  workers:
    description:
      - In the order of their exchange, each with C(port), C(pool), C(blocking), C(kind),
        C(health_path) and C(start_timeout).
    type: list
    elements: dict
    required: true
  watch:
    description: Files and directories whose change makes workers restart.
    type: list
    elements: path
    default: []
  health_timeout:
    description: Seconds in which a new process must answer its health path.
    type: int
    default: 5
  canary_seconds:
    description: How long the first public worker is watched before the others follow.
    type: int
    default: 0
  keep_releases: {description: How many releases stay on the host., type: int, default: 5}
  verb: {description: What the log calls this change., type: str, default: deploy}
  who: {description: Who makes this change., type: str, default: somebody}
  run: {description: By what a reader of the lock's story knows this run., type: str, default: ""}
  remove_orphans:
    description: Only remove workers and pools that are not wanted any more.
    type: bool
    default: false
author: The Around The World authors
"""

EXAMPLES = r"""
- name: Every worker runs the release
  aroundtheworld_workers:
    site: aroundtheworld
    home: /var/lib/tornado/aroundtheworld
    release: 0123456789ab
    address: 127.0.0.1
    units: "{{ lookup('ansible.builtin.template', 'units.j2') }}"
    workers:
      - port: 10001
        pool: public
        blocking: false
        kind: runner
        health_path: /
        start_timeout: 30
"""

RETURN = r"""
steps: {description: "What is done, in order, each a sentence", type: list, returned: always}
phases: {description: "What was done, each with its seconds", type: list, returned: always}
orphans: {description: Units that no pool lists any more, type: list, returned: always}
"""

import difflib
import hashlib
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.assets import Assets
from ansible.module_utils.aroundtheworld.files import link_atomically, write_atomically
from ansible.module_utils.aroundtheworld.lock import append_log, last_good, now, only_change
from ansible.module_utils.aroundtheworld.sockets import listeners
from ansible.module_utils.aroundtheworld.systemd import HostError, Systemd, accept, health, probe
from ansible.module_utils.basic import AnsibleModule

UNIT_DIRECTORY = Path("/etc/systemd/system")
CONFIG = "@CONFIG@"
POLL_SECONDS = 0.05
# systemd returned from starting a worker, so it was ready or has failed; a restart takes a moment.
READY_SECONDS = 5.0
# Nobody can ask a command whether it takes connections yet, so it gets this long before the process
# beside it, which does, is stopped. Connections that come too early wait in the socket.
SETTLE_SECONDS = 2.0

# The canary is given up when, over at least so many requests, …
CANARY_REQUESTS = 20
# … so many failed, and a share that is so much above that of its siblings, …
CANARY_FAILURES, CANARY_ERRORS = 3, 0.02
# … or a quarter of them took so many times as long as theirs, and by so many seconds. (A higher
# percentile of so few requests is the one slow page that somebody happened to ask for.)
CANARY_QUARTER, CANARY_SLOWER, CANARY_SECONDS = 0.75, 3.0, 0.25
# It is given up at once when its event loop was blocked for so many seconds longer than theirs.
CANARY_BLOCKED = 1.0


# --- Unit files -----------------------------------------------------------------------------------


def split_units(text: str) -> dict[Path, str]:
    """Return path to content from a text in the format of ``systemctl cat``."""
    parts = re.split(r"^# (/\S+)\n", text, flags=re.M)[1:]
    return {
        Path(path): content.strip() + "\n"
        for path, content in zip(parts[::2], parts[1::2], strict=True)
    }


def config_id(texts: Iterable[str], watched: Iterable[Path]) -> str:
    """Return 12 hexadecimal digits that stand for everything that a worker must be restarted for.

    Of the watched files, which may hold secrets, only the time of their last change goes in.
    """
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    for path in sorted(watched):
        if path.exists():
            digest.update(f"{path} {path.stat().st_mtime_ns}\0".encode())
    return digest.hexdigest()[:12]


def stated(text: str, variable: str) -> str:
    """Return the value that a unit file's text gives the environment variable, or an empty text."""
    found = re.search(rf"^Environment={variable}=(\S*)$", text, flags=re.M)
    return found[1] if found else ""


def unified_diff(path: Path, before: str, after: str) -> str:
    """Return the difference as ``diff -u`` shows it."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), str(path), str(path)
    )
    return "".join(lines)


def text_of(path: Path) -> str:
    """Return the content of a file, or an empty text when there is none."""
    return path.read_text() if path.exists() else ""


# --- One worker -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """A worker as it should be.

    Attributes:
        kind: C(runner), or for a command of the pool's own whether it C(takes) systemd's socket or
            C(binds) its port itself.
    """

    port: int
    pool: str
    blocking: bool
    release: str
    config: str
    listen: str
    kind: str = "runner"
    health_path: str = "/"
    start_timeout: float = 30.0

    @property
    def is_public_runner(self) -> bool:
        """Whether it has visitors, and can say how they fare."""
        return self.kind == "runner" and not self.blocking

    def why_restart(
        self,
        service: Mapping[str, str],
        listening: Mapping[str, str],
        addresses: Collection[str],
        said: Mapping[str, Any],
    ) -> str:
        """Return why the worker has to be exchanged, or an empty text when it runs what it should.

        Args:
            service: Properties of its service unit.
            listening: Properties of its socket unit.
            addresses: Where the host listens, each as ``address:port``.
            said: Its answer on the private socket.
        """
        listens = listening.get("ActiveState") == "active"
        if service.get("ActiveState") != "active" or listens is (self.kind == "binds"):
            return "it is not running"
        if self.kind == "binds":  # on whatever address it was told to
            addresses = {address.rpartition(":")[2] for address in addresses}
        if self.listen not in addresses and str(self.port) not in addresses:
            return f"nothing listens on {self.listen}"
        if not said:
            return (
                "it does not answer on its private socket"
                if self.kind == "runner"
                else "nothing says what it was started with"
            )
        if said.get("release") != self.release:
            return f"it runs release {said.get('release')}"
        if said.get("config") != self.config:
            return "its settings changed"
        return ""


def slowest(pairs: Sequence[tuple[Any, Any]], fraction: float) -> float:
    """Return the percentile of the answers that workers gave between two words of theirs.

    Args:
        pairs: What each worker said of itself before and after, with the counts of its buckets.
        fraction: Which percentile, 0 to 1.

    Returns:
        The upper bound in seconds of the bucket that it falls into; 0 without an answer.
    """
    counts: dict[float, int] = {}
    for sooner, later in pairs:
        for sign, said in ((-1, sooner), (1, later)):
            for bound, count in said["latency_seconds"]["buckets"]:
                counts[bound] = counts.get(bound, 0) + sign * count
    rank = math.ceil(fraction * sum(counts.values()))
    for bound, count in sorted(counts.items()):
        rank -= count
        if count and rank <= 0:
            return bound
    return 0.0


Pairs = Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
"""What workers said of themselves at some moment, each with what it said later."""

# What a worker has said that has not begun yet.
NOTHING: Mapping[str, Any] = {"responses": {}}


def comparable(pairs: Pairs) -> Pairs:
    """Return those that can be compared.

    One that runs an older runner, does not answer right now, or was restarted in between cannot.
    """
    return [
        (sooner, later)
        for sooner, later in pairs
        if "responses" in sooner
        and "responses" in later
        and sooner.get("pid", later.get("pid")) == later.get("pid")
    ]


def answers(pairs: Pairs, *kinds: str) -> int:
    """Return how many answers of some kinds, or of all, were given in between."""
    return sum(
        int(later["responses"].get(kind, 0)) - int(sooner["responses"].get(kind, 0))
        for sooner, later in pairs
        for kind in kinds or later["responses"]
    )


def failed_share(pairs: Pairs) -> float:
    """Return which share of the answers that were given in between are errors."""
    return answers(pairs, "5xx") / max(answers(pairs), 1)


def errors_problem(mine: Pairs, usual: float) -> str:
    """Return what speaks against a worker that fails more often than is usual, or nothing."""
    requests, failed = answers(mine), failed_share(mine)
    if requests < CANARY_REQUESTS or answers(mine, "5xx") < CANARY_FAILURES:
        return ""
    if failed <= usual + CANARY_ERRORS:
        return ""
    return f"{failed:.0%} of its {requests} answers are errors, where {usual:.0%} are usual"


def canary_problem(before: Mapping[str, Any], after: Mapping[str, Any], siblings: Pairs) -> str:
    """Return what speaks against the canary, or an empty text.

    Args:
        before: What it said of itself when the watch began.
        after: What it says now.
        siblings: The same two of each worker of its pool that still runs the release before.
    """
    siblings = comparable(siblings)
    if not after:
        return "it does not answer on its private socket any more"
    if after.get("state") != "ready":
        return f"it is {after.get('state')} and not ready"
    blocked = max(after["busy_seconds"], after["loop_lag_seconds"]["max"])
    usual = max((later["loop_lag_seconds"]["max"] for _, later in siblings), default=0.0)
    if blocked > usual + CANARY_BLOCKED:
        where = f" in {after['busy_in']}" if after.get("busy_in") else ""
        return f"its event loop was blocked for {blocked:.1f} s{where}"
    mine = [(before, after)]
    if answers(mine) < CANARY_REQUESTS:
        return ""
    if problem := errors_problem(mine, failed_share(siblings)):
        return problem
    slow = slowest(mine, CANARY_QUARTER)
    slow_there = slowest(siblings, CANARY_QUARTER) if siblings else slow
    if slow > max(CANARY_SLOWER * slow_there, slow_there + CANARY_SECONDS):
        return (
            f"a quarter of its answers took {slow * 1000:.0f} ms or more, "
            f"of its siblings' {slow_there * 1000:.0f} ms"
        )
    return ""


def batches(workers: Sequence[Wanted]) -> list[list[Wanted]]:
    """Return in which groups workers are exchanged, those of a group at once.

    One after the other, until a public one runs the release. Of the other public ones as many at
    once as there are processors, since starting a process keeps one busy. A command is always
    alone: one that binds its port is missing meanwhile.
    """
    together = os.cpu_count() or 1
    rest = [one for one in workers if one.is_public_runner][1:]
    alone = [[one] for one in workers if one not in rest]
    return alone + [rest[first : first + together] for first in range(0, len(rest), together)]


class Talk(Protocol):
    """How a rollout speaks with workers; tests put their own here."""

    def health(self, control: Path) -> Mapping[str, Any]:
        """Return what the worker at the private socket says of itself."""

    def accept(self, control: Path) -> None:
        """Tell a worker that holds to take connections."""

    def probe(self, app: Path | str, url: str, *, timeout: float) -> str:
        """Return what is wrong with the app's answer, or an empty text."""

    def addresses(self) -> Collection[str]:
        """Return where the host listens, each as ``address:port``."""


class PrivateSockets:
    """Speaks with workers on their private sockets."""

    health = staticmethod(health)
    accept = staticmethod(accept)
    probe = staticmethod(probe)

    def addresses(self) -> Collection[str]:
        """Return where the host listens, as the kernel says.

        Of a socket unit whose file was changed, systemd says that it listens on the new address
        while it no longer listens at all.
        """
        return set(map(str, listeners()))


# --- All workers ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Site:
    """Where a site and its units are, and how a new process has to prove itself."""

    name: str
    home: Path
    health_timeout: float = 5.0
    canary_seconds: float = 0.0
    units: Path = UNIT_DIRECTORY
    run: Path = Path("/run")
    root: Path = belongings.ROOT

    def service(self, port: int | str) -> str:
        """Return the name of a worker's service unit."""
        return f"{self.name}@{port}.service"

    def socket(self, port: int | str) -> str:
        """Return the name of a worker's socket unit."""
        return f"{self.name}@{port}.socket"

    def stand_in(self, port: int | str) -> str:
        """Return the name of the unit that stands in for a worker."""
        return f"{self.name}-handover@{port}.service"

    def drop_in(self, unit: str) -> Path:
        """Return the path of a unit's drop-in, which names its release and its pool's settings."""
        return self.units / f"{unit}.d" / "pool.conf"

    def private(self, unit: str, socket: str) -> Path:
        """Return the path of a private socket, ``control`` or ``app``, of a worker or stand-in."""
        prefix, _, instance = unit.removesuffix(".service").partition("@")
        infix = "handover-" if prefix.endswith("-handover") else ""
        return self.run / self.name / f"{infix}{instance}" / f"{socket}.sock"

    def metrics(self, kind: str) -> str:
        """Return the name of a unit of the metrics' endpoint, a ``socket`` or ``service``."""
        return f"{self.name}-metrics.{kind}"

    @property
    def current(self) -> Path:
        """Return the link to the release that all workers run."""
        return self.home / "current"

    @property
    def before(self) -> Path:
        """Return the directory with the unit files from before a rollout that is under way."""
        return self.home / ".before"

    def current_release(self) -> str:
        """Return the id of the release that `current` points at, or an empty text."""
        return self.current.readlink().name if self.current.is_symlink() else ""


class Workers:
    """Compares a site's workers with the wanted ones, and makes them so."""

    def __init__(
        self,
        site: Site,
        systemd: Systemd,
        files: Mapping[Path, str],
        wanted: Sequence[Wanted],
        talk: Talk | None = None,
    ) -> None:
        """Read the state; nothing is changed yet.

        Args:
            site: Where everything is.
            systemd: How to ask and tell systemd.
            files: Path to text of all unit files, complete.
            wanted: The workers in the order of their exchange.
            talk: How to speak with workers.
        """
        self.site, self.systemd, self.files, self.wanted = site, systemd, dict(files), wanted
        self.talk: Talk = talk or PrivateSockets()
        self.phases: list[dict[str, Any]] = []
        self.tell: Callable[[str], None] = lambda phase: None
        self.earlier: dict[Wanted, Mapping[str, Any]] = {}
        self.meanwhile = 0.0
        services = [site.service(one.port) for one in wanted]
        sockets = [site.socket(one.port) for one in wanted if one.kind != "binds"]
        unused = [site.socket(one.port) for one in wanted if one.kind == "binds"]
        # The preparation and the slices too: whether systemd has read them is part of the state.
        others = [path.name for path in files if path.parent == site.units and "@" not in path.name]
        self.units = {*services, *sockets}
        self.state = systemd.show([*services, *sockets, *unused, *others])
        self.addresses = self.talk.addresses()
        self.outdated = {path: text for path, text in files.items() if text_of(path) != text}
        self.disabled = [
            n for n in (*services, *sockets) if self.state[n].get("UnitFileState") != "enabled"
        ]
        metrics = self.site.metrics("socket")
        if site.units / metrics in files and self.state[metrics].get("UnitFileState") != "enabled":
            self.disabled.append(metrics)
        self.unread = [n for n, one in self.state.items() if one.get("NeedDaemonReload") == "yes"]
        self.unread = [n for n in self.unread if n not in unused]
        self.restart = {one: why for one in wanted if (why := self._why_restart(one))}
        self.restart_metrics = self._why_restart_metrics()
        # What the site wrote down that it has; what only is called alike is somebody else's.
        self.own = belongings.files(site.name, site.root)
        self.leftover = self._loaded_stand_ins()
        self.orphans = self._find_orphans()

    def _why_restart(self, one: Wanted) -> str:
        service = self.site.service(one.port)
        said = self.talk.health(self.site.private(service, "control"))
        listening = self.state[self.site.socket(one.port)]
        why = one.why_restart(self.state[service], listening, self.addresses, said)
        return why or ("its unit files were edited" if self._edited(one) else "")

    def _edited(self, one: Wanted) -> bool:
        """Tell whether the worker may have been started with unit files that somebody edited.

        That is so when they are not the wanted ones, or were written after it started.
        """
        service = self.site.service(one.port)
        names = [f"{self.site.name}@.service", f"{self.site.name}-{one.pool}.slice"]
        return self._older(
            service, [self.site.drop_in(service), *(self.site.units / name for name in names)]
        )

    def _older(self, service: str, paths: Collection[Path]) -> bool:
        """Tell whether the service may have started before its files were as they should be."""
        if self.outdated.keys() & set(paths):
            return True
        since_boot = int(self.state[service].get("ExecMainStartTimestampMonotonic", 0)) / 1e6
        moment = time.time()
        started = moment - time.monotonic() + since_boot
        return bool(since_boot) and any(started < path.stat().st_mtime <= moment for path in paths)

    def _why_restart_metrics(self) -> str:
        """Return why the metrics' endpoint has to be started anew, or an empty text."""
        listening, service = (self.site.metrics(kind) for kind in ("socket", "service"))
        paths = [self.site.units / name for name in (listening, service)]
        if paths[0] not in self.files:
            return ""
        found = re.search(r"^ListenStream=(.*)$", self.files[paths[0]], flags=re.M)
        where = found[1] if found else ""
        if self.state[listening].get("ActiveState") != "active" or where not in self.addresses:
            return f"nothing listens on {where}"
        return "its unit files changed" if self._older(service, paths) else ""

    def _ports(self) -> set[str]:
        """Return the ports of the workers that there are or were."""
        own = {path.parent.name for path in self.own if path.name == belongings.DROP_IN}
        prefix = f"{self.site.name}@"
        return {
            *(str(one.port) for one in self.wanted),
            *(
                name.removeprefix(prefix).removesuffix(".service.d")
                for name in own
                if name.startswith(prefix)
            ),
        }

    def _loaded_stand_ins(self) -> list[str]:
        """Return the stand-ins in memory."""
        own = {self.site.stand_in(port) for port in self._ports()}
        return sorted(own & self.systemd.loaded(f"{self.site.name}-handover@*"))

    def _find_orphans(self) -> dict[str, list[Path]]:
        """Return the site's units that are on the host but not wanted, each with its files."""
        site = self.site
        orphans: dict[str, list[Path]] = {}
        loaded = self.systemd.loaded(f"{site.name}@*")
        for port in self._ports() - {str(one.port) for one in self.wanted}:
            drop_in = site.drop_in(site.service(port))
            for name in (site.service(port), site.socket(port)):
                if drop_in.exists() or name in loaded:
                    orphans.setdefault(name, [])
            if drop_in.exists():
                orphans[site.service(port)].append(drop_in)
        for one in self.wanted:
            if one.kind == "binds" and site.socket(one.port) in loaded:
                orphans.setdefault(site.socket(one.port), [])
        for path in sorted(self.own - self.files.keys()):
            if path.parent == site.units and path.exists():
                orphans.setdefault(path.name, []).append(path)
        ports = self._ports()
        for link in belongings.links(self.own | self.files.keys(), site.units):
            port = link.stem.partition("@")[2]
            if link.name in self.units or site.units / link.name in self.files:
                continue
            if not port or port in ports:  # else an operator started a worker of their own
                orphans.setdefault(link.name, []).append(link)
        return orphans

    def stale_current(self) -> bool:
        """Tell whether ``current`` is to be switched."""
        return self.site.current_release() != self.wanted[0].release

    def steps(self) -> list[str]:
        """Return what `converge` will do, in order, each a sentence."""
        site = self.site
        steps = [f"start {site.name}-prepare.service"] if self.restart else []
        steps += [f"write {path}" for path in self.outdated]
        steps += [f"have systemd read {name}" for name in self.unread]
        steps += [f"enable {name}" for name in self.disabled]
        steps += [
            f"exchange {site.service(one.port)} ({one.pool}), because {why}"
            for one, why in self.restart.items()
        ]
        if self.restart_metrics:
            metrics = site.metrics("socket")
            steps.append(f"start {metrics} anew, because {self.restart_metrics}")
        if self.stale_current():
            release = self.wanted[0].release
            steps.append(
                f"switch {site.current} from {site.current_release() or 'nothing'} to {release}"
            )
        steps += [f"stop {name}, left from a run that was cut off" for name in self.leftover]
        if site.before.exists() and not steps:
            steps.append("finish the rollout that was cut off")
        return steps

    # --- Making it so ---

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        """Tell that it begins, and note how long the block takes, also when it fails."""
        self.tell(name)
        begun = time.monotonic()
        try:
            yield
        finally:
            self.phases.append({"name": name, "seconds": round(time.monotonic() - begun, 2)})

    def converge(self) -> None:
        """Carry out the steps; raises `HostError` when they were reverted."""
        self._keep_before()
        touched: list[Wanted] = []
        try:
            if self.restart:
                with self._phase("prepare"):
                    self._prepare()
            self._write(path for path in self.outdated if not self._is_running_drop_in(path))
            self._reload()
            if self.disabled:
                self.systemd.call("enable", "--quiet", "--", *self.disabled)
            if self.restart_metrics:
                # Before any worker: when it cannot be, the site is as it was.
                listening, service = (self.site.metrics(kind) for kind in ("socket", "service"))
                self.systemd.call("stop", "--", service, listening)
                self.systemd.call("start", "--", listening)
            self._start_stopped(touched)
            self._exchange_running(touched)
            self._write(self.outdated)
            self._stop_stand_ins()
            self._reload()
            for one in touched:
                if one.kind == "takes":  # until now its stand-in may have answered for it
                    self._gate(one, self.site.service(one.port), "it was restarted")
            self._compare_errors(touched)
        except HostError as failure:
            raise HostError(f"{failure}{self._revert(touched)}") from None
        if self.stale_current():
            link_atomically(self.site.current, f"releases/{self.wanted[0].release}")
        shutil.rmtree(self.site.before, ignore_errors=True)

    def _is_running_drop_in(self, path: Path) -> bool:
        return any(
            path == self.site.drop_in(self.site.service(one.port)) for one in self._running()
        )

    def _running(self) -> list[Wanted]:
        """Return the workers to exchange that serve now, on the socket that they should have."""
        return [one for one in self.restart if self._state(one) not in ("inactive", "failed", "")]

    def _state(self, one: Wanted) -> str:
        return str(self.state[self.site.service(one.port)].get("ActiveState", ""))

    def _keep_before(self) -> None:
        """Keep the unit files as they are, unless a rollout that was cut off kept better ones."""
        before = self.site.before
        if before.exists() or not self.site.current.is_symlink():
            return
        unfinished = before.with_name(f"{before.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        for path in self.files:
            if path.exists():
                copy = unfinished / path.relative_to(self.site.units)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, copy)
        if unfinished.exists():
            unfinished.rename(before)

    def _write(self, paths: Iterable[Path]) -> None:
        changed = [path for path in paths if text_of(path) != self.files[path]]
        belongings.take(self.site.name, changed, root=self.site.root)
        for path in changed:
            if text_of(path) != self.files[path]:
                path.parent.mkdir(mode=0o755, exist_ok=True)
                write_atomically(path, self.files[path], 0o644)
                self.unread.append(path.name)

    def _reload(self) -> None:
        """Have systemd read what it has not read yet."""
        if self.unread:
            self.systemd.call("daemon-reload")
            self.unread = []

    def _prepare(self) -> None:
        """Have the release tried and the database migrated.

        Its own unit is the only one that is written before: a worker that dies meanwhile comes back
        as it was.
        """
        unit = f"{self.site.name}-prepare.service"
        self._write([self.site.units / unit])
        self._reload()
        try:
            self.systemd.call("start", unit)
        except HostError:
            said = self.systemd.journal(unit)
            # The site goes on as it was, so nothing on the host is left marked as failed.
            self.systemd.call("reset-failed", "--", unit, check=False)
            raise HostError(
                f"The release {self.wanted[0].release} cannot be run, so no worker was restarted. "
                f"{unit} said:\n{said}"
            ) from None

    def _start_stopped(self, touched: list[Wanted]) -> None:
        """Start all that do not run at once, since nobody waits for one another."""
        stopped = [one for one in self.restart if one not in self._running()]
        if not stopped:
            return
        with self._phase(f"start {len(stopped)} workers"):
            touched += stopped
            self._write(self.site.drop_in(self.site.service(one.port)) for one in stopped)
            self._reload()
            # A socket on the right address keeps what it has queued; any other is made anew.
            for verb, right in (("start", True), ("restart", False)):
                names = [
                    self.site.socket(one.port)
                    for one in stopped
                    if one.kind != "binds" and (one.listen in self.addresses) is right
                ]
                if names:
                    self.systemd.call(verb, "--", *names)
            if names := [self.site.socket(one.port) for one in stopped if one.kind == "binds"]:
                self.systemd.call("stop", "--", *names)
            services = [self.site.service(one.port) for one in stopped]
            failure = "it was started"
            try:
                self.systemd.call("start", "--", *services)
            except HostError as problem:
                failure = str(problem)
            for one in stopped:
                self._gate(one, self.site.service(one.port), failure)

    def _exchange_running(self, touched: list[Wanted]) -> None:
        """Exchange the workers that serve, batch by batch, and watch the first public one."""
        running = self._running()
        if not running:
            return
        for one in running:
            path = self.site.drop_in(self.site.stand_in(one.port))
            self.files[path] = self.files[self.site.drop_in(self.site.service(one.port))]
            self._write([path])
        self._reload()
        self.earlier = self._said(running)
        public = [one for one in running if one.is_public_runner]
        canary, siblings = public[:1], public[1:] if self.site.canary_seconds else []
        for batch in batches(running):
            touched += batch
            earlier = self._said(siblings) if batch == canary else {}
            with self._phase(f"exchange {', '.join(str(one.port) for one in batch)}"):
                self._exchange(batch)
            self._compare_errors(touched)
            if earlier:
                with self._phase(f"watch {batch[0].port}"):
                    self._watch(batch[0], earlier)

    def _compare_errors(self, touched: Sequence[Wanted]) -> None:
        """Raise `HostError` when a worker that was exchanged fails more often than is usual.

        That is how often its pool failed before the rollout, or how often any worker did meanwhile
        that still ran the release before: a database that is down is not the new release's fault.
        """
        said = self._said(list(self.earlier))
        still = [(self.earlier[one], said[one]) for one in self.earlier if one not in touched]
        self.meanwhile = max(self.meanwhile, failed_share(comparable(still)))
        for one in (one for one in touched if one in self.earlier):
            pool = [(NOTHING, self.earlier[two]) for two in self.earlier if two.pool == one.pool]
            usual = max(self.meanwhile, failed_share(comparable(pool)))
            if problem := errors_problem(comparable([(NOTHING, said[one])]), usual):
                raise self._not_ready(one, self.site.service(one.port), problem)

    def _said(self, workers: Sequence[Wanted]) -> dict[Wanted, Mapping[str, Any]]:
        return {one: self._health(self.site.service(one.port)) for one in workers}

    def _health(self, unit: str) -> Mapping[str, Any]:
        return self.talk.health(self.site.private(unit, "control"))

    def _exchange(self, batch: Sequence[Wanted]) -> None:
        """Let stand-ins prove themselves and take over; then restart the workers in their shelter.

        All of the batch do the same at once, because most of it is waiting for processes.
        """
        sockets = {one: self.site.socket(one.port) for one in batch}
        listening = self.systemd.show([*sockets.values()])
        sheltered = []
        for one, name in sockets.items():
            held = listening[name].get("ActiveState") == "active"
            if one.kind == "binds" or one.listen not in self.addresses or not held:
                self._move(one)
            else:
                sheltered.append(one)
        if not sheltered:
            return
        stand_ins = {one: self.site.stand_in(one.port) for one in sheltered}
        services = {one: self.site.service(one.port) for one in sheltered}
        self._begin([*stand_ins.values()])
        self._take_over(stand_ins)
        self._write(self.site.drop_in(service) for service in services.values())
        self._reload()
        failure_text = "it was restarted"
        try:
            self.systemd.call("restart", "--", *services.values())
        except HostError as problem:
            failure_text = str(problem)
        for one, service in services.items():
            if one.kind == "takes":
                self._settle(one, service)
            self._gate(one, service, failure_text)
        # They finish what they have, while the next workers are already on their way.
        self.systemd.call("stop", "--no-block", "--", *stand_ins.values())

    def _take_over(self, stand_ins: Mapping[Wanted, str]) -> None:
        """Have the stand-ins take connections, when all have proved themselves."""
        asked = {one: unit for one, unit in stand_ins.items() if one.kind == "runner"}
        for one, stand_in in stand_ins.items():
            if one not in asked:
                self._settle(one, stand_in)
        try:
            for one, stand_in in asked.items():
                self._gate(one, stand_in, "it was started", state="held")
        except HostError:
            # They have no visitors to finish with, and one that is blocked would take its time.
            self.systemd.call("kill", "--signal=KILL", "--", *asked.values(), check=False)
            raise
        for one, stand_in in asked.items():
            try:
                self.talk.accept(self.site.private(stand_in, "control"))
            except HostError as failure:
                raise self._not_ready(one, stand_in, str(failure)) from None

    def _settle(self, one: Wanted, unit: str) -> None:
        """Give a command the time in which it usually comes to take connections."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            self._still_runs(one, unit)
            time.sleep(POLL_SECONDS)

    def _still_runs(self, one: Wanted, unit: str) -> None:
        """Raise `HostError` when a command has ended, or was started with something else."""
        if self.systemd.show([unit])[unit].get("ActiveState") != "active":
            raise self._not_ready(one, unit, "its command has ended")
        said = self._health(unit)
        if (said.get("release"), said.get("config")) != (one.release, one.config):
            raise self._not_ready(one, unit, f"it runs {said or 'nothing'}, not {one.release}")

    def _begin(self, stand_ins: Sequence[str]) -> None:
        """Start stand-ins anew; one from a run that failed may run something else."""
        self.systemd.call("stop", "--", *stand_ins)
        try:
            self.systemd.call("start", "--", *stand_ins)
        except HostError as problem:
            state = self.systemd.show(stand_ins)
            failed = next(
                (name for name in stand_ins if state[name].get("ActiveState") != "active"),
                stand_ins[0],
            )
            raise HostError(
                f"{failed} did not become ready, so the worker it would stand in for was not "
                f"touched: {problem}. It said:\n{self.systemd.journal(failed)}"
            ) from None

    def _move(self, one: Wanted) -> None:
        """Restart a worker for which nobody can stand in: no socket, or another than it had."""
        service, listening = self.site.service(one.port), self.site.socket(one.port)
        sockets = [] if one.kind == "binds" else [listening]
        self.systemd.call("stop", "--", service, listening)
        self._write([self.site.drop_in(service)])
        self._reload()
        failure = "it was restarted"
        try:
            self.systemd.call("start", "--", *sockets, service)
        except HostError as problem:
            failure = str(problem)
        self._gate(one, service, failure)

    def _not_ready(self, one: Wanted, unit: str, why: str) -> HostError:
        return HostError(
            f"{unit} of pool {one.pool} is not ready for visitors: {why}. "
            f"It said:\n{self.systemd.journal(unit)}"
        )

    def _gate(self, one: Wanted, unit: str, context: str, state: str = "ready") -> None:
        """Return when the process says that it is in `state` with what is wanted, and answers."""
        if one.kind != "runner":
            self._gate_command(one, unit)
            return
        deadline = time.monotonic() + READY_SECONDS
        while True:
            said = self._health(unit)
            if said.get("state") == state:
                if (said.get("release"), said.get("config")) == (one.release, one.config):
                    break
                context = f"it runs release {said.get('release')}, not {one.release}"
            if time.monotonic() > deadline:
                raise self._not_ready(one, unit, context)
            time.sleep(POLL_SECONDS)
        app = self.site.private(unit, "app")
        timeout = self.site.health_timeout
        if problem := self.talk.probe(app, one.health_path, timeout=timeout):
            busy = self._health(unit).get("busy_in")
            raise self._not_ready(one, unit, f"{problem}{f', busy in {busy}' if busy else ''}")

    def _gate_command(self, one: Wanted, unit: str) -> None:
        """Return when a command answers where it listens, with what is wanted."""
        deadline = time.monotonic() + one.start_timeout
        while True:
            self._still_runs(one, unit)
            timeout = self.site.health_timeout
            problem = self.talk.probe(one.listen, one.health_path, timeout=timeout)
            if not problem:
                return
            if "with status" in problem or time.monotonic() > deadline:
                raise self._not_ready(one, unit, problem)
            time.sleep(POLL_SECONDS)

    def _watch(self, one: Wanted, earlier: Mapping[Wanted, Mapping[str, Any]]) -> None:
        """Raise `HostError` as soon as something speaks against the canary."""
        service = self.site.service(one.port)
        begun = self._health(service)
        deadline = time.monotonic() + self.site.canary_seconds
        while time.monotonic() < deadline:
            time.sleep(0.5)
            siblings = [
                (sooner, self._health(self.site.service(other.port)))
                for other, sooner in earlier.items()
            ]
            if problem := canary_problem(begun, self._canary(one), siblings):
                raise self._not_ready(one, service, f"as the canary, {problem}")

    def _canary(self, one: Wanted) -> Mapping[str, Any]:
        """Return what a worker says, blocked for as long as its stand-in if that is longer.

        The stand-in runs the same release and finishes what it has. To nginx both are one server,
        so while the stand-in is blocked, the worker gets no requests that could show anything.
        """
        worker, stand_in = (
            self._health(unit)
            for unit in (self.site.service(one.port), self.site.stand_in(one.port))
        )
        if worker and stand_in.get("busy_seconds", 0.0) > worker["busy_seconds"]:
            return {**worker, **{key: stand_in[key] for key in ("busy_seconds", "busy_in")}}
        return worker

    def _stop_stand_ins(self) -> None:
        """Wait for the stand-ins to finish what they have, and leave nothing of them behind."""
        names = self._loaded_stand_ins()
        if names:
            with self._phase("let stand-ins finish"):
                self.systemd.call("stop", "--", *names)
            self.systemd.call("reset-failed", "--", *names, check=False)
        for port in sorted(self._ports()):
            drop_in = self.site.drop_in(self.site.stand_in(port))
            if drop_in.exists():
                belongings.remove_file(drop_in)
                self.unread.append(drop_in.parent.name)

    def _revert(self, touched: Sequence[Wanted]) -> str:
        """Put the unit files and every touched worker back; return what to say about it."""
        before = self.site.before
        if not before.exists():
            return ""
        with self._phase("revert"):
            self.files = {
                self.site.units / copy.relative_to(before): copy.read_text()
                for copy in before.rglob("*")
                if copy.is_file()
            }
            drop_ins = {one: self.site.drop_in(self.site.service(one.port)) for one in touched}
            self._write(path for path in self.files if path not in drop_ins.values())
            self._reload()
            try:
                for one, path in reversed(drop_ins.items()):
                    if path in self.files:
                        self._exchange_back(one, self.files[path])
                    else:  # a worker that there was not before
                        self._remove(one)
                self._stop_stand_ins()
                self._reload()
            except HostError as failure:
                return f"\nGoing back failed as well: {failure}"
        shutil.rmtree(before, ignore_errors=True)
        release = self.site.current_release()
        return f"\nEvery worker that was touched is back on release {release}."

    def _exchange_back(self, one: Wanted, text: str) -> None:
        """Let the worker run what its former drop-in says, unless it never stopped to."""
        release, config, kind = (
            stated(text, f"AROUNDTHEWORLD_{name}") for name in ("RELEASE", "CONFIG", "KIND")
        )
        former = replace(one, release=release, config=config, kind=kind or "runner")
        service = self.site.service(one.port)
        said = self._health(service)
        self._write([self.site.drop_in(service)])
        if (said.get("release"), said.get("config")) == (release, config):
            return
        path = self.site.drop_in(self.site.stand_in(one.port))
        self.files[path] = text
        self._write([path])
        self._reload()
        self._exchange([former])

    def _remove(self, one: Wanted) -> None:
        units = [self.site.socket(one.port), self.site.service(one.port)]
        self.systemd.call("stop", "--", *units)
        self.systemd.call("disable", "--quiet", "--", *units)
        belongings.remove_file(self.site.drop_in(units[1]))

    def remove_orphans(self) -> None:
        """Stop and remove the units that no pool lists any more."""
        # Sockets first: a connection to one would start its service again.
        kinds = [
            [name for name in self.orphans if name.endswith(kind)]
            for kind in (".socket", ".service", ".slice")
        ]
        for names in kinds:
            if names:
                self.systemd.call("stop", "--", *names)
        if kinds[0] or kinds[1]:
            self.systemd.call("disable", "--quiet", "--", *kinds[0], *kinds[1])
        paths = [path for paths in self.orphans.values() for path in paths]
        for path in paths:
            belongings.remove_file(path)
        self.systemd.call("daemon-reload")
        self.systemd.call("reset-failed", "--", *self.orphans, check=False)
        # Of a stand-in, too, there is nothing any more.
        stand_ins = [
            self.site.drop_in(name.replace("@", "-handover@", 1))
            for name in self.orphans
            if name.endswith(".service")
        ]
        belongings.give_up(self.site.name, [*paths, *stand_ins], root=self.site.root)


def prune(home: Path, keep: int, running: Iterable[str]) -> list[str]:
    """Remove all but the `keep` newest releases, and environments and assets of none that stay.

    The current release, the one that a rollback would go to, and those that still run always stay.
    """
    current = (home / "current").readlink().name
    wanted = {current, *running, *last_good(home, current)[:1]}
    releases = sorted(
        (path for path in (home / "releases").iterdir() if not path.name.startswith(".")),
        key=lambda path: (path.name in wanted, path.stat().st_mtime),
        reverse=True,
    )
    removed = []
    for path in releases[max(keep, len(wanted)) :]:
        if path.name not in wanted:
            shutil.rmtree(path)
            removed.append(f"release {path.name}")
    used = {link.readlink().name for link in (home / "releases").glob("*/venv")}
    for path in (home / "environments").iterdir():
        if path.name not in used:
            shutil.rmtree(path)
            removed.append(f"environment {path.name}")
    assets = Assets(home)
    if assets.static and assets.stale():
        assets.update()
    return removed


def change(workers: Workers, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Carry out the steps under the site's lock, and log them; raises `HostError`."""
    site = workers.site
    was, to = site.current_release(), given["release"]
    entry = {"time": now(), "who": given["who"], "verb": given["verb"], "from": was, "to": to}
    doing = f"{given['verb']} of release {to}"
    with only_change(site.home, given["who"], doing, given["run"]) as workers.tell:
        outcome, cause = "failed", "the run was cut off"
        try:
            workers.converge()
            outcome, cause = "done", ""
        except HostError as failure:
            outcome, cause = "reverted", str(failure)
            raise
        finally:
            append_log(
                site.home, {**entry, "phases": workers.phases, "outcome": outcome, "cause": cause}
            )
        running = {
            str(workers._health(site.service(one.port)).get("release")) for one in workers.wanted
        }
        prune(site.home, given["keep_releases"], running)
    return workers.phases


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "home": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "units": {"type": "str", "required": True},
            "workers": {"type": "list", "elements": "dict", "required": True},
            "watch": {"type": "list", "elements": "path", "default": []},
            "health_timeout": {"type": "int", "default": 5},
            "canary_seconds": {"type": "int", "default": 0},
            "keep_releases": {"type": "int", "default": 5},
            "verb": {"type": "str", "default": "deploy"},
            "who": {"type": "str", "default": "somebody"},
            "run": {"type": "str", "default": ""},
            "remove_orphans": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given: dict[str, Any] = module.params
    os.umask(0o022)  # systemd and nginx read what root writes here
    site = Site(
        given["site"],
        Path(given["home"]),
        given["health_timeout"],
        given["canary_seconds"],
    )
    files = split_units(given["units"])
    watched = [
        file
        for path in map(Path, given["watch"])
        for file in (path.iterdir() if path.is_dir() else [path])
    ]
    wanted = []
    for worker in given["workers"]:
        port = int(worker["port"])
        drop_in = site.drop_in(site.service(port))
        # The slice too: Debian 13's systemd applies its new limits when a unit in it starts.
        names = [f"{site.name}@.service", f"{site.name}-{worker['pool']}.slice"]
        texts = [files[drop_in], *(files[site.units / name] for name in names)]
        config = config_id(texts, watched)
        files[drop_in] = files[drop_in].replace(CONFIG, config)
        wanted.append(
            Wanted(
                **worker,
                release=given["release"],
                config=config,
                listen=f"{given['address']}:{port}",
            )
        )
    phases: list[dict[str, Any]] = []
    try:
        workers = Workers(site, Systemd(module), files, wanted)
        orphans = sorted(workers.orphans)
        if given["remove_orphans"]:
            steps = [f"remove {name}" for name in orphans]
            diff = ""
        else:
            steps = workers.steps()
            diff = "".join(
                unified_diff(path, text_of(path), text) for path, text in workers.outdated.items()
            )
        if steps and not module.check_mode:
            if given["remove_orphans"]:
                workers.remove_orphans()
            else:
                phases = change(workers, given)
    except HostError as failure:
        module.fail_json(msg=str(failure))
    module.exit_json(
        changed=bool(steps),
        steps=steps,
        phases=phases,
        orphans=orphans,
        diff={"prepared": "\n".join(filter(None, [diff, *steps]))} if steps else {},
    )


if __name__ == "__main__":
    main()
