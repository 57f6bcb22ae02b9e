"""Replaced workers are watched: the canary against its siblings, all against what is usual."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from ansible.module_utils.aroundtheworld.rollout.host import Host
from ansible.module_utils.aroundtheworld.rollout.judgement import (
    NOTHING,
    REFUSED_MORE,
    REFUSED_MORE_THAN_BEFORE,
    Pairs,
    canary_problem,
    comparable,
    errors_problem,
    failed_share,
    refusals_problem,
    responses,
)
from ansible.module_utils.aroundtheworld.rollout.workers import Worker
from ansible.module_utils.aroundtheworld.worker_client import WorkerStatus

EVERY_SECONDS = 0.5


class Canary:
    """The first public worker that runs the release, watched beside its siblings."""

    def __init__(self, host: Host, worker: Worker, siblings: Sequence[Worker]) -> None:
        """Ask the siblings, which still run the release before, for their status."""
        self._host, self._worker = host, worker
        self._siblings = host.statuses(siblings)

    def watch(self, seconds: float) -> str:
        """Return what is wrong with the canary as soon as it is, or an empty text at the end."""
        begun = self._host.status(self._worker.service)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(EVERY_SECONDS)
            later = self._host.statuses(self._siblings)
            siblings = [(sooner, later[worker]) for worker, sooner in self._siblings.items()]
            if problem := canary_problem(begun, self._status(), siblings):
                return f"as the canary, {problem}"
        return ""

    def _status(self) -> WorkerStatus:
        """Return the worker's status, blocked for as long as its stand-in if that is longer.

        The stand-in runs the same release and finishes what it has. To nginx both are one server,
        so while the stand-in is blocked, the worker gets no requests that could show anything.
        """
        worker = self._host.status(self._worker.service)
        stand_in = self._host.status(self._worker.stand_in)
        if not worker.silent and stand_in.busy_seconds > worker.busy_seconds:
            return replace(worker, busy_seconds=stand_in.busy_seconds, busy_in=stand_in.busy_in)
        return worker


class Comparison:
    """Compares workers that were replaced with how all were before, and the others are meanwhile.

    A database that is down is not the new release's fault.
    """

    def __init__(self, host: Host, workers: Sequence[Worker]) -> None:
        """Ask the workers for their status, before any is replaced."""
        self._host = host
        self._earlier = host.statuses(workers)
        self._failing = 0.0  # the largest share of errors of workers with the release before

    def problems(self, replaced: Collection[Worker]) -> Mapping[Worker, str]:
        """Return the workers that fail or refuse more often than is usual, and how often."""
        now = self._host.statuses(self._earlier)
        others = [worker for worker in self._earlier if worker not in replaced]
        still = self._since_then(others, now)
        self._failing = max(self._failing, failed_share(comparable(still)))
        found = {
            worker: self._problem(worker, others, now)
            for worker in replaced
            if worker in self._earlier
        }
        return {worker: problem for worker, problem in found.items() if problem}

    def _problem(
        self, worker: Worker, others: Sequence[Worker], now: Mapping[Worker, WorkerStatus]
    ) -> str:
        before = comparable(
            [
                (NOTHING, status)
                for other, status in self._earlier.items()
                if other.pool == worker.pool
            ]
        )
        siblings = comparable(
            self._since_then([other for other in others if other.pool == worker.pool], now)
        )
        mine = comparable([(NOTHING, now[worker])])
        if problem := errors_problem(mine, max(self._failing, failed_share(before))):
            return problem
        # With those that still run the release before, if they have visitors, or else the past.
        if responses(siblings):
            return refusals_problem(mine, siblings, REFUSED_MORE)
        return refusals_problem(mine, before, REFUSED_MORE_THAN_BEFORE)

    def _since_then(self, workers: Sequence[Worker], now: Mapping[Worker, WorkerStatus]) -> Pairs:
        return [(self._earlier[worker], now[worker]) for worker in workers]
