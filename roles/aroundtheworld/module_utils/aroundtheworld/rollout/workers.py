"""One worker as it should be, and how a rollout speaks with workers."""

from __future__ import annotations

import os
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from ansible.module_utils.aroundtheworld.bounded_http import HealthCheck
from ansible.module_utils.aroundtheworld.sockets import listeners
from ansible.module_utils.aroundtheworld.worker_client import WorkerHealth, accept, health, healths

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Wanted:
    """A worker as it should be.

    Attributes:
        kind: C(runner), or for a command of the pool's own whether it C(takes) systemd's socket or
            C(binds) its port itself.
        health: How a process has to prove itself before it gets a visitor.
    """

    port: int
    pool: str
    blocking: bool
    release: str
    config: str
    listen: str
    kind: str = "runner"
    health: HealthCheck = field(default_factory=HealthCheck)
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
        health: WorkerHealth,
    ) -> str:
        """Return why the worker has to be exchanged, or an empty text when it runs what it should.

        Args:
            service: Properties of its service unit.
            listening: Properties of its socket unit.
            addresses: Where the host listens, each as ``address:port``.
            health: Its answer on the private socket.
        """
        listens = listening.get("ActiveState") == "active"
        if service.get("ActiveState") != "active" or listens is (self.kind == "binds"):
            return "it is not running"
        if self.kind == "binds":  # on whatever address it was told to
            addresses = {address.rpartition(":")[2] for address in addresses}
        if self.listen not in addresses and str(self.port) not in addresses:
            return f"nothing listens on {self.listen}"
        if health.silent or (self.kind == "runner" and not health.state):
            return (
                "it does not answer on its private socket"
                if self.kind == "runner"
                else "nothing says what it was started with"
            )
        if health.release != self.release:
            return f"it runs release {health.release}"
        if health.config != self.config:
            return "its settings changed"
        return ""


def batches(workers: Sequence[Wanted], *, proven: bool = False) -> list[list[Wanted]]:
    """Return in which groups workers are exchanged, those of a group at once.

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
    alone = [[one] for one in workers if one not in rest]
    return alone + [rest[first : first + together] for first in range(0, len(rest), together)]


class Talk(Protocol):
    """How a rollout speaks with workers; tests put their own here."""

    def health(self, control: Path) -> WorkerHealth:
        """Return what the worker at the private socket says of itself."""

    def healths(self, controls: Mapping[Key, Path]) -> dict[Key, WorkerHealth]:
        """Return the same of many, who are asked at once."""

    def accept(self, control: Path) -> str:
        """Tell a worker that holds to take connections; return why it does not, or nothing."""

    def problem(self, check: HealthCheck, app: Path | str) -> str:
        """Return what is wrong with the app's answer, or an empty text."""

    def addresses(self) -> Collection[str]:
        """Return where the host listens, each as ``address:port``."""


class PrivateSockets:
    """Speaks with workers on their private sockets."""

    health = staticmethod(health)
    healths = staticmethod(healths)
    accept = staticmethod(accept)
    problem = staticmethod(HealthCheck.problem)

    def addresses(self) -> Collection[str]:
        """Return where the host listens, as the kernel says.

        Of a socket unit whose file was changed, systemd says that it listens on the new address
        while it no longer listens at all.
        """
        return set(map(str, listeners()))
