"""The gate: what a new process must prove before it gets visitors."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from ansible.module_utils.aroundtheworld.rollout.host import Host
from ansible.module_utils.aroundtheworld.rollout.workers import Worker
from ansible.module_utils.aroundtheworld.systemd import HostError

POLL_SECONDS = 0.05
# systemd returned from starting a worker, so it was ready or has failed; a restart takes a moment.
READY_SECONDS = 5.0
# Nobody can ask a command whether it takes connections yet, so it gets this long before the process
# beside it, which does, is stopped. Connections that come too early wait in the socket.
SETTLE_SECONDS = 2.0
# Nobody can ask a worker without a port whether it works: it has to run for so long. That is longer
# than a Python program takes to import what it needs and to miss a database.
STAYS_SECONDS = 5.0
STAYS_POLL_SECONDS = 0.2


class Gate:
    """Checks processes of workers and stand-ins."""

    def __init__(self, host: Host, since: float) -> None:
        """Take when the rollout began, in seconds since 1970: older log lines do not count."""
        self._host = host
        self._since = since
        self._started: dict[str, str] = {}  # name of a service to when systemd started its process

    def check(self, worker: Worker, unit: str, context: str, state: str = "ready") -> None:
        """Return when the process runs what it should, and answers the health check.

        Args:
            worker: The worker as it should be.
            unit: Its service, or that of its stand-in.
            context: What to say when the process never gets there for no reason of its own.
            state: In which state a runner has to be.

        Raises:
            HostError: It does not.
        """
        if worker.kind == "queue":
            self.check_queue([worker])
            return
        if worker.kind != "runner":
            self._check_command(worker, unit)
            return
        deadline = time.monotonic() + READY_SECONDS
        while True:
            status = self._host.status(unit)
            if status.state == state:
                if status.runs(worker.release, worker.settings):
                    break
                context = f"it runs release {status.release}, not {worker.release}"
            if time.monotonic() > deadline:
                raise self.failure(worker, unit, context)
            time.sleep(POLL_SECONDS)
        app = self._host.site.private(unit, "app")
        if problem := self._host.sockets.problem(worker.health_check, app):
            busy = self._host.status(unit).busy_in
            raise self.failure(worker, unit, f"{problem}{f', busy in {busy}' if busy else ''}")

    def _check_command(self, worker: Worker, unit: str) -> None:
        """Return when a command answers where it listens."""
        deadline = time.monotonic() + worker.start_timeout
        while True:
            self._check_runs(worker, unit)
            problem = self._host.sockets.problem(worker.health_check, worker.listen)
            if not problem:
                return
            if "with status" in problem or time.monotonic() > deadline:
                raise self.failure(worker, unit, problem)
            time.sleep(POLL_SECONDS)

    def check_queue(self, workers: Iterable[Worker]) -> None:
        """Return when workers without a port have run for some seconds; raises `HostError`."""
        workers = list(workers)
        self._started |= self._starts(workers)
        deadline = time.monotonic() + STAYS_SECONDS
        while True:
            self.check_same(workers)
            if time.monotonic() > deadline:
                return
            time.sleep(STAYS_POLL_SECONDS)

    def check_same(self, workers: Iterable[Worker]) -> None:
        """Raise `HostError` when one of them is not the process any more that it was."""
        workers = list(workers)
        now = self._starts(workers)
        for worker in workers:
            if now[worker.service] != self._started[worker.service]:
                why = "its command has ended, and systemd has started it again"
                raise self.failure(worker, worker.service, why)
            self._check_runs(worker, worker.service)

    def _starts(self, workers: Iterable[Worker]) -> Mapping[str, str]:
        units = self._host.systemd.show([worker.service for worker in workers])
        return {
            name: unit.get("ExecMainStartTimestampMonotonic", "") for name, unit in units.items()
        }

    def settle(self, worker: Worker, unit: str) -> None:
        """Give a command the time in which it usually comes to take connections."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            self._check_runs(worker, unit)
            time.sleep(POLL_SECONDS)

    def _check_runs(self, worker: Worker, unit: str) -> None:
        """Raise `HostError` when a command has ended, or was started with something else."""
        if not self._host.is_active(unit):
            raise self.failure(worker, unit, "its command has ended")
        status = self._host.status(unit)
        if not status.runs(worker.release, worker.settings):
            release = status.release or "unknown"
            raise self.failure(worker, unit, f"it runs release {release}, not {worker.release}")

    def failure(self, worker: Worker, unit: str, why: str) -> HostError:
        """Return the error for a process that may not stay, with its journal."""
        lacks = "does not stay up" if worker.kind == "queue" else "is not ready for visitors"
        return HostError(f"{unit} of pool {worker.pool} {lacks}: {why}. {self.journal(unit)}")

    def journal(self, unit: str) -> str:
        """Return what the unit has logged since the rollout began, as the end of a message."""
        return f"Its journal:\n{self._host.systemd.journal(unit, since=self._since)}"
