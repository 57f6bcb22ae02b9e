"""What is: the unit files, systemd and the workers of a site, held against what should be."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.layout import DROP_IN
from ansible.module_utils.aroundtheworld.rollout.units import Site, text_of
from ansible.module_utils.aroundtheworld.rollout.workers import PrivateSockets, Talk, Wanted
from ansible.module_utils.aroundtheworld.systemd import Systemd
from ansible.module_utils.aroundtheworld.worker_client import WorkerHealth


class Observed:
    """Compares a site's workers with the wanted ones; nothing is changed."""

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
        self.begun = time.time()
        self.enabled: list[str] = []
        self.restarted: set[str] = set()
        self.failed_in = ""
        self.outcome = "failed"
        self.tell: Callable[[str], None] = lambda phase: None
        self.earlier: dict[Wanted, WorkerHealth] = {}
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
        health = self._healths(wanted)
        self.restart = {one: why for one in wanted if (why := self._why_restart(one, health[one]))}
        self.restart_metrics = self._why_restart_metrics()
        # What the site wrote down that it has; what only is called alike is somebody else's.
        self.own = belongings.files(site.name, site.root)
        self.leftover = self._loaded_stand_ins()
        self.orphans = self._find_orphans()
        self.migrate = False
        self.proven = False

    def preparations(self) -> list[str]:
        """Return the units that have to succeed before any worker is touched, in order."""
        steps = (["prepare"] if self.restart else []) + (["migrate"] if self.migrate else [])
        steps += ["trial"] if self.restart else []
        names = [f"{self.site.name}-{step}.service" for step in steps]
        return [name for name in names if self.site.units / name in self.files]

    def _healths(self, workers: Iterable[Wanted]) -> dict[Wanted, WorkerHealth]:
        """Return what workers say of themselves, who are asked at once."""
        services = {one: self.site.service(one.port) for one in workers}
        return self.talk.healths(
            {one: self.site.private(service, "control") for one, service in services.items()}
        )

    def _why_restart(self, one: Wanted, health: WorkerHealth) -> str:
        service = self.site.service(one.port)
        listening = self.state[self.site.socket(one.port)]
        why = one.why_restart(self.state[service], listening, self.addresses, health)
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
        own = {path.parent.name for path in self.own if path.name == DROP_IN}
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
        steps = [f"start {name}" for name in self.preparations()]
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
        if site.kept and not steps:
            steps.append("finish the rollout that was cut off")
        return steps

    def _is_running_drop_in(self, path: Path) -> bool:
        return any(
            path == self.site.drop_in(self.site.service(one.port)) for one in self._running()
        )

    def _running(self) -> list[Wanted]:
        """Return the workers to exchange that serve now, on the socket that they should have."""
        return [one for one in self.restart if self._state(one) not in ("inactive", "failed", "")]

    def _state(self, one: Wanted) -> str:
        return str(self.state[self.site.service(one.port)].get("ActiveState", ""))
