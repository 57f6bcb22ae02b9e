"""A worker as it should be, and which workers are replaced at the same time."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible.module_utils.aroundtheworld.health_check import HealthCheck
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.worker_client import WorkerStatus


@dataclass(frozen=True)
class Worker:
    """A worker as it should be.

    Attributes:
        instance: What its units are called by: its port, or a name where it has none.
        settings: The id of everything besides the release that it is started with.
        listen: Where it listens, as ``address:port``; empty where it does not.
        kind: C(runner), or for a command of the pool's own whether it C(takes) systemd's socket,
            C(binds) its port itself, or is one without a port that takes work from a C(queue).
        health_check: How a process has to prove itself before it gets a visitor.
        sticky: Its visitors come back to it, because it keeps their sessions in its process.
    """

    site: SiteLayout = field(repr=False)
    instance: str
    pool: str
    blocking: bool
    release: str
    settings: str
    listen: str
    kind: str = "runner"
    health_check: HealthCheck = field(default_factory=HealthCheck)
    start_timeout: float = 30.0
    sticky: bool = False

    @property
    def service(self) -> str:
        """The name of its service unit."""
        return self.site.service(self.instance)

    @property
    def socket(self) -> str:
        """The name of its socket unit, which one of kind C(binds) or C(queue) does not have."""
        return self.site.socket(self.instance)

    @property
    def has_socket(self) -> bool:
        """Whether systemd listens for it."""
        return self.kind in ("runner", "takes")

    @property
    def units(self) -> list[str]:
        """The names of the units that it may have; systemd knows no socket without a port."""
        return [self.service] if self.kind == "queue" else [self.socket, self.service]

    @property
    def stand_in(self) -> str:
        """The name of the unit that serves its port while it restarts."""
        return self.site.stand_in(self.instance)

    @property
    def drop_in(self) -> Path:
        """The file that gives the service its release and settings."""
        return self.site.drop_in(self.service)

    @property
    def stand_in_drop_in(self) -> Path:
        """The same of its stand-in."""
        return self.site.drop_in(self.stand_in)

    @property
    def unit_files(self) -> list[Path]:
        """The files that its service was started with.

        The slice is one of them: systemd in Debian 13 applies new limits when a unit in it starts.
        """
        names = (self.site.service(""), self.site.slice(self.pool))
        return [self.drop_in, *(self.site.units / name for name in names)]

    @property
    def is_public_runner(self) -> bool:
        """Whether it has visitors, and reports how many requests fail."""
        return self.kind == "runner" and not self.blocking

    def why_replace(
        self,
        service: Mapping[str, str],
        socket: Mapping[str, str],
        addresses: Collection[str],
        status: WorkerStatus,
    ) -> str:
        """Return why the worker has to be replaced, or an empty text when it runs what it should.

        Args:
            service: Properties of its service unit.
            socket: Properties of its socket unit; none of one that has no port.
            addresses: Where the host listens, each as ``address:port``.
            status: What it reports on its control socket.
        """
        listens = socket.get("ActiveState") == "active"
        if service.get("ActiveState") != "active" or listens is not self.has_socket:
            return "it is not running"
        if self.kind == "binds":  # on any address, which its command decides
            addresses = {address.rpartition(":")[2] for address in addresses}
        if self.listen and self.listen not in addresses and self.instance not in addresses:
            return f"nothing listens on {self.listen}"
        if status.silent or (self.kind == "runner" and not status.state):
            return (
                "it does not answer on its control socket"
                if self.kind == "runner"
                else "nothing says what it was started with"
            )
        if status.release != self.release:
            return f"it runs release {status.release}"
        if status.config != self.settings:
            return "its settings changed"
        return ""


def batches(workers: Sequence[Worker], *, proven: bool = False) -> list[list[Worker]]:
    """Return in which groups workers are replaced, those of a group at the same time.

    One after the other, until a public one runs the release. Of the other public ones as many at
    once as there are processors, since starting a process keeps one busy. A command is always
    alone: one that binds its port is missing meanwhile. When the first worker of a queue has stayed
    up, all others of the queue follow: nobody waits for them, and one that has work in hand may
    take its time to finish it.

    Args:
        workers: The workers, in order.
        proven: Whether all workers ran the release before, so that no runner has to try it alone.
    """
    together = os.cpu_count() or 1
    of_queues = _batches_of_queues(workers, proven=proven)
    workers = [worker for worker in workers if worker.kind != "queue"]
    if proven:
        rest = [worker for worker in workers if worker.kind == "runner"]
    else:
        rest = [worker for worker in workers if worker.is_public_runner][1:]
    alone = [[worker] for worker in workers if worker not in rest]
    at_once = [rest[first : first + together] for first in range(0, len(rest), together)]
    return of_queues + alone + at_once


def _batches_of_queues(workers: Sequence[Worker], *, proven: bool) -> list[list[Worker]]:
    queues: dict[str, list[Worker]] = {}
    for worker in workers:
        if worker.kind == "queue":
            queues.setdefault(worker.pool, []).append(worker)
    groups = [[queue] if proven else [queue[:1], queue[1:]] for queue in queues.values()]
    return [batch for group in groups for batch in group if batch]
