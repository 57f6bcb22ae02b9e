"""The way back: unit files and workers as they were before a rollout that failed."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ansible.module_utils.aroundtheworld.files import link_atomically
from ansible.module_utils.aroundtheworld.rollout import before, metrics
from ansible.module_utils.aroundtheworld.rollout.gate import Gate
from ansible.module_utils.aroundtheworld.rollout.host import Host
from ansible.module_utils.aroundtheworld.rollout.jobs import Jobs
from ansible.module_utils.aroundtheworld.rollout.phases import Phases
from ansible.module_utils.aroundtheworld.rollout.plan import Plan
from ansible.module_utils.aroundtheworld.rollout.replacement import Replacement
from ansible.module_utils.aroundtheworld.rollout.signals import InterruptedRun
from ansible.module_utils.aroundtheworld.rollout.unit_files import UnitFiles
from ansible.module_utils.aroundtheworld.rollout.units import stated, text_of
from ansible.module_utils.aroundtheworld.rollout.workers import Worker
from ansible.module_utils.aroundtheworld.systemd import HostError


def cause(failure: BaseException, phase: str = "") -> str:
    """Return what to say about a failure, whatever it is.

    Args:
        failure: What was raised.
        phase: What was being done.
    """
    if isinstance(failure, HostError):
        return str(failure)
    during = f" during {phase!r}" if phase else ""
    if isinstance(failure, InterruptedRun):
        return f"The rollout was stopped{during}: {failure}."
    frames = traceback.extract_tb(failure.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"Unexpected{during}: {type(failure).__name__}: {failure}{where}"


@dataclass(frozen=True)
class Touched:
    """What a rollout may have changed.

    Attributes:
        workers: Those that may run something else than before.
        enabled: Units that are started at boot now.
        timers: Those of jobs that may have other times than before, or none.
    """

    workers: Sequence[Worker]
    enabled: Sequence[str]
    timers: Sequence[str] = ()


class Revert:
    """Puts everything back, as far as that is possible: a problem does not end it."""

    def __init__(
        self,
        host: Host,
        files: UnitFiles,
        gate: Gate,
        replacement: Replacement,
        jobs: Jobs,
        phases: Phases,
    ) -> None:
        """Take what the rollout worked with."""
        self._host, self._files, self._gate = host, files, gate
        self._replacement, self._jobs, self._phases = replacement, jobs, phases
        self._problems: list[str] = []

    def run(self, plan: Plan, touched: Touched, instances: Collection[str]) -> tuple[str, str]:
        """Return the outcome, ``reverted`` or ``failed``, and what to say about it.

        Args:
            plan: What was to be done.
            touched: What may have changed.
            instances: What the units of all workers are called by that there are or were.
        """
        site, former = self._host.site, plan.former
        copies = before.copies(site)
        if not site.kept and not (touched.workers or touched.enabled):
            return "reverted", ""
        with self._phases.phase("revert"):
            if site.kept:
                self._put_back(plan, touched, copies)
            elif not former:
                self._stop_everything(plan, touched)
            self._attempt(self._replacement.finish, instances, self._phases)
            self._attempt(self._files.reload)
            if former and site.current_release() != former:
                self._attempt(link_atomically, site.current, f"releases/{former}")
        if self._problems:
            return "failed", f"\nGoing back failed as well: {'; '.join(self._problems)}"
        self._attempt(before.forget, site)
        if former:
            return "reverted", f"\nEvery worker that was touched is back on release {former}."
        return "reverted", (
            "\nNothing was deployed here before, so everything that was started is stopped again."
        )

    def _attempt(self, step: Callable[..., object], *arguments: object) -> None:
        try:
            step(*arguments)
        except Exception as failure:
            self._problems.append(cause(failure))

    def _put_back(self, plan: Plan, touched: Touched, copies: dict[Path, Path]) -> None:
        drop_ins = {worker.drop_in for worker in touched.workers}
        units = self._host.site.units
        new = [timer for timer in touched.timers if units / timer not in copies]
        self._attempt(self._jobs.end, new)
        for path, copy in copies.items():
            if path not in drop_ins:
                self._attempt(self._files.put_back, path, copy)
        for path in plan.write:
            if path not in copies and path not in drop_ins and path.exists():
                self._attempt(self._files.remove, path)
        self._attempt(self._files.reload)
        self._attempt(
            self._jobs.start, [timer for timer in touched.timers if units / timer in copies]
        )
        self._disable(touched)
        if plan.metrics:
            self._attempt(metrics.restart, self._host)
        for worker in reversed(touched.workers):
            if worker.drop_in in copies:
                self._attempt(self._replace, worker, copies[worker.drop_in])
            else:  # a worker that there was not before
                self._attempt(self._remove, worker)

    def _replace(self, worker: Worker, copy: Path) -> None:
        """Let the worker run what its former drop-in says, unless it has not stopped to."""
        text = text_of(copy)
        release, settings, kind = (
            stated(text, f"AROUNDTHEWORLD_{name}") for name in ("RELEASE", "CONFIG", "KIND")
        )
        # It served before, with any response: what it has to do now is to answer.
        former = replace(
            worker,
            release=release,
            settings=settings,
            kind=kind or "runner",
            health_check=replace(worker.health_check, statuses=("2xx", "3xx", "4xx")),
        )
        status = self._host.status(worker.service)
        self._files.put_back(worker.drop_in, copy)
        # systemd may be at it still when the module was interrupted, with what it has read before.
        if worker.service not in self._replacement.restarted and status.runs(release, settings):
            return
        try:
            self._replacement.write_stand_ins({former: text})
        except (OSError, HostError):  # the disk is full; its socket queues meanwhile
            self._files.reload()
            self._host.systemd.call("restart", "--", worker.service)
            self._gate.check(former, worker.service, "it was restarted")
            return
        self._files.reload()
        self._replacement.replace({former: text})

    def _remove(self, worker: Worker) -> None:
        units, systemd = worker.units, self._host.systemd
        systemd.call("stop", "--", *units)
        systemd.call("disable", "--quiet", "--", *units)
        systemd.call("reset-failed", "--", *units, check=False)
        self._files.remove(worker.drop_in)

    def _stop_everything(self, plan: Plan, touched: Touched) -> None:
        """Leave nothing running of a first deployment, and nothing that the next boot starts."""
        site, systemd = self._host.site, self._host.systemd
        sockets = [worker.socket for worker in touched.workers if worker.has_socket]
        services = [worker.service for worker in touched.workers]
        endpoint = [site.metrics("socket"), site.metrics("service")] if plan.metrics else []
        if units := [*sockets, *services, *endpoint]:
            self._attempt(systemd.call, "stop", "--", *units)
            systemd.call("reset-failed", "--", *units, check=False)
        self._attempt(self._jobs.end, touched.timers)
        self._disable(touched)

    def _disable(self, touched: Touched) -> None:
        if touched.enabled:
            self._attempt(self._host.systemd.call, "disable", "--quiet", "--", *touched.enabled)
