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
        settings: The id of everything besides the release that it is started with.
        listen: Where it listens, as ``address:port``.
        kind: C(runner), or for a command of the pool's own whether it C(takes) systemd's socket or
            C(binds) its port itself.
        health_check: How a process has to prove itself before it gets a visitor.
        sticky: Its visitors come back to it, because it keeps their sessions in its process.
    """

    site: SiteLayout = field(repr=False)
    port: int
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
        return self.site.service(self.port)

    @property
    def socket(self) -> str:
        """The name of its socket unit, which one that binds its port does not have."""
        return self.site.socket(self.port)

    @property
    def stand_in(self) -> str:
        """The name of the unit that serves its port while it restarts."""
        return self.site.stand_in(self.port)

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
            socket: Properties of its socket unit.
            addresses: Where the host listens, each as ``address:port``.
            status: What it reports on its control socket.
        """
        listens = socket.get("ActiveState") == "active"
        if service.get("ActiveState") != "active" or listens is (self.kind == "binds"):
            return "it is not running"
        if self.kind == "binds":  # on any address, which its command decides
            addresses = {address.rpartition(":")[2] for address in addresses}
        if self.listen not in addresses and str(self.port) not in addresses:
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
    alone: one that binds its port is missing meanwhile.

    Args:
        workers: The workers, in order.
        proven: Whether all workers ran the release before, so that no runner has to try it alone.
    """
    together = os.cpu_count() or 1
    if proven:
        rest = [worker for worker in workers if worker.kind == "runner"]
    else:
        rest = [worker for worker in workers if worker.is_public_runner][1:]
    alone = [[worker] for worker in workers if worker not in rest]
    return alone + [rest[first : first + together] for first in range(0, len(rest), together)]
