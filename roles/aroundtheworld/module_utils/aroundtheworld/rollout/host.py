"""Where a rollout acts: the paths of a site, systemd, and the sockets of its workers."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from ansible.module_utils.aroundtheworld.health_check import HealthCheck
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.rollout.workers import Worker
from ansible.module_utils.aroundtheworld.sockets import listeners
from ansible.module_utils.aroundtheworld.systemd import Systemd
from ansible.module_utils.aroundtheworld.worker_client import (
    WorkerStatus,
    accept,
    read_status,
    read_statuses,
)

Key = TypeVar("Key", bound=Hashable)


class Sockets(Protocol):
    """The sockets of workers; tests put their own here."""

    def read_status(self, control: Path) -> WorkerStatus:
        """Return the status of the worker behind a control socket."""

    def read_statuses(self, controls: Mapping[Key, Path]) -> dict[Key, WorkerStatus]:
        """Return the status of many workers, which are asked at the same time."""

    def accept(self, control: Path) -> str:
        """Let a worker that holds take connections; return why it does not, or an empty text."""

    def problem(self, check: HealthCheck, app: Path | str) -> str:
        """Return what is wrong with the app's response, or an empty text."""

    def addresses(self) -> Collection[str]:
        """Return where the host listens, each as ``address:port``."""


class HostSockets:
    """The real sockets of a host."""

    read_status = staticmethod(read_status)
    read_statuses = staticmethod(read_statuses)
    accept = staticmethod(accept)
    problem = staticmethod(HealthCheck.problem)

    def addresses(self) -> Collection[str]:
        """Return where the host listens, as the kernel says.

        systemd would not do: when the file of a socket unit changes, it reports the new address
        although it does not listen at all any more.
        """
        return set(map(str, listeners()))


@dataclass(frozen=True)
class Host:
    """A site on its host, and how to talk to systemd and to the site's workers."""

    site: SiteLayout
    systemd: Systemd
    sockets: Sockets

    def is_active(self, unit: str) -> bool:
        """Tell whether systemd counts the unit as active."""
        return bool(self.systemd.show([unit])[unit].get("ActiveState") == "active")

    def status(self, unit: str) -> WorkerStatus:
        """Return the status of a worker or stand-in, by the name of its service."""
        return self.sockets.read_status(self.site.private(unit, "control"))

    def statuses(self, workers: Iterable[Worker]) -> dict[Worker, WorkerStatus]:
        """Return the status of each worker; all are asked at the same time."""
        return self.sockets.read_statuses(
            {worker: self.site.private(worker.service, "control") for worker in workers}
        )

    def loaded_stand_ins(self, instances: Iterable[str]) -> list[str]:
        """Return the stand-ins for these workers that systemd has in memory."""
        names = {self.site.stand_in(instance) for instance in instances}
        return sorted(names & self.systemd.loaded(f"{self.site.name}-handover@*"))
