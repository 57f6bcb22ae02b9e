"""A rollout: the release is tried, brought to all workers, watched meanwhile, and logged."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible.module_utils.aroundtheworld.changelog import append_log
from ansible.module_utils.aroundtheworld.clock import now
from ansible.module_utils.aroundtheworld.files import link_atomically
from ansible.module_utils.aroundtheworld.rollout import migration, signals
from ansible.module_utils.aroundtheworld.rollout.canary import (
    NOTHING,
    REFUSED_MORE,
    REFUSED_MORE_THAN_BEFORE,
    answers,
    canary_problem,
    comparable,
    errors_problem,
    failed_share,
    refusals_problem,
)
from ansible.module_utils.aroundtheworld.rollout.handover import stand_in_text
from ansible.module_utils.aroundtheworld.rollout.prune import prune
from ansible.module_utils.aroundtheworld.rollout.revert import Revert, cause
from ansible.module_utils.aroundtheworld.rollout.signals import InterruptedRun
from ansible.module_utils.aroundtheworld.rollout.workers import Wanted, batches
from ansible.module_utils.aroundtheworld.systemd import HostError
from ansible.module_utils.aroundtheworld.worker_client import WorkerHealth

# The variables by which an operator says how long a step may take.
TIMEOUTS = {
    "prepare": "aroundtheworld_import_timeout",
    "migrate": "aroundtheworld_migrate_timeout",
}


class Workers(Revert):
    """Makes a site's workers what they should be."""

    meanwhile: float

    def converge(self) -> None:
        """Carry out the steps; raises `HostError` when they were reverted, whatever the reason.

        A signal to the module reverts as well, and a further one does not disturb that.
        """
        touched: list[Wanted] = []
        was = self.site.current_release()
        try:
            try:
                self._keep_before()
                self._act(touched)
                if self.stale_current():
                    link_atomically(self.site.current, f"releases/{self.wanted[0].release}")
                migration.mark(self.site.home, was, self.wanted[0].release)
            finally:
                signals.ignore()
        except BaseException as failure:
            why = cause(failure, self.failed_in)
            raise HostError(f"{why}{self._revert(touched, was)}") from None
        self._forget_before()

    def _act(self, touched: list[Wanted]) -> None:
        """Do what the steps say, and note each worker before it is touched."""
        if self.preparations():
            with self._phase("prepare"):
                self._prepare()
        self._write(path for path in self.outdated if not self._is_running_drop_in(path))
        self._reload()
        if self.disabled:
            self.enabled = self.disabled
            self.systemd.call("enable", "--quiet", "--", *self.disabled)
        if self.restart_metrics:
            # Before any worker: when it cannot be, the site is as it was.
            self._restart_metrics()
        self._start_stopped(touched)
        self._exchange_running(touched)
        self._write(self.outdated)
        self._stop_stand_ins()
        self._reload()
        for one in touched:
            if one.kind == "takes":  # until now its stand-in may have answered for it
                self._gate(one, self.site.service(one.port), "it was restarted")
        self._compare_errors(touched)

    def _prepare(self) -> None:
        """Have the release tried and the database migrated.

        Their units are the only ones that are written before: a worker that dies meanwhile comes
        back as it was.
        """
        units = self.preparations()
        self._write(self.site.units / unit for unit in units)
        self._reload()
        for unit in units:
            try:
                self.systemd.call("start", unit)
            except InterruptedRun:
                self.systemd.call("stop", "--", unit, check=False)
                raise
            except HostError:
                raise self._not_prepared(unit) from None
            if unit == f"{self.site.name}-migrate.service":
                migration.mark(self.site.home, self.wanted[0].release)

    def _not_prepared(self, unit: str) -> HostError:
        """Return what to say of a preparation that failed; the site goes on as it was."""
        said = self.systemd.journal(unit)
        result = self.systemd.call("show", "--property=Result", "--value", unit, check=False)
        # So nothing on the host is left marked as failed.
        self.systemd.call("reset-failed", "--", unit, check=False)
        step = unit.removeprefix(f"{self.site.name}-").removesuffix(".service")
        late = ""
        if result.strip() == "timeout" and step in TIMEOUTS:
            limit = re.search(r"^TimeoutStartSec=(.*)$", self.files[self.site.units / unit], re.M)
            late = f" It took longer than {TIMEOUTS[step]} allows, {limit[1] if limit else '?'} s."
        return HostError(
            f"The release {self.wanted[0].release} cannot be run, so no worker was restarted."
            f"{late} {unit} said:\n{said}"
        )

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
            self.restarted.update(services)
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
            worker = self.files[self.site.drop_in(self.site.service(one.port))]
            self.files[path] = stand_in_text(worker)
            self._write([path])
        self._reload()
        self.earlier = self._healths(running)
        public = [one for one in running if one.is_public_runner]
        canary, siblings = public[:1], public[1:] if self.site.canary_seconds else []
        for batch in batches(running, proven=self.proven):
            touched += batch
            earlier = self._healths(siblings) if batch == canary else {}
            with self._phase(f"exchange {', '.join(str(one.port) for one in batch)}"):
                self._exchange(batch)
            self._compare_errors(touched)
            if earlier:
                with self._phase(f"watch {batch[0].port}"):
                    self._watch(batch[0], earlier)

    def _compare_errors(self, touched: Sequence[Wanted]) -> None:
        """Raise `HostError` when a worker that was exchanged fails or refuses more than is usual.

        That is how often its pool failed before the rollout, or how often any worker did meanwhile
        that still ran the release before: a database that is down is not the new release's fault.
        """
        said = self._healths(list(self.earlier))
        still = [(self.earlier[one], said[one]) for one in self.earlier if one not in touched]
        self.meanwhile = max(self.meanwhile, failed_share(comparable(still)))
        for one in (one for one in touched if one in self.earlier):
            pool = [(NOTHING, self.earlier[two]) for two in self.earlier if two.pool == one.pool]
            usual = max(self.meanwhile, failed_share(comparable(pool)))
            mine = comparable([(NOTHING, said[one])])
            # Those that still run the release before, if they have visitors, or else the past.
            others = [
                (self.earlier[two], said[two])
                for two in self.earlier
                if two.pool == one.pool and two not in touched
            ]
            problem = errors_problem(mine, usual) or (
                refusals_problem(mine, comparable(others), REFUSED_MORE)
                if answers(comparable(others))
                else refusals_problem(mine, comparable(pool), REFUSED_MORE_THAN_BEFORE)
            )
            if problem:
                raise self._not_ready(one, self.site.service(one.port), problem)

    def _watch(self, one: Wanted, earlier: Mapping[Wanted, WorkerHealth]) -> None:
        """Raise `HostError` as soon as something speaks against the canary."""
        service = self.site.service(one.port)
        begun = self._health(service)
        deadline = time.monotonic() + self.site.canary_seconds
        while time.monotonic() < deadline:
            time.sleep(0.5)
            later = self._healths(earlier)
            siblings = [(sooner, later[other]) for other, sooner in earlier.items()]
            if problem := canary_problem(begun, self._canary(one), siblings):
                raise self._not_ready(one, service, f"as the canary, {problem}")

    def _canary(self, one: Wanted) -> WorkerHealth:
        """Return what a worker says, blocked for as long as its stand-in if that is longer.

        The stand-in runs the same release and finishes what it has. To nginx both are one server,
        so while the stand-in is blocked, the worker gets no requests that could show anything.
        """
        worker, stand_in = (
            self._health(unit)
            for unit in (self.site.service(one.port), self.site.stand_in(one.port))
        )
        if not worker.silent and stand_in.busy_seconds > worker.busy_seconds:
            return replace(worker, busy_seconds=stand_in.busy_seconds, busy_in=stand_in.busy_in)
        return worker


def _log(workers: Workers, entry: Mapping[str, Any]) -> None:
    """Append a change to the log; a disk that is full must not hide why a change failed."""
    try:
        append_log(
            workers.site.home, {**entry, "phases": workers.phases, "outcome": workers.outcome}
        )
    except OSError as error:
        if workers.outcome == "done":
            raise HostError(
                f"Every worker runs release {entry['to']}, but that could not be logged: {error}"
            ) from None


def change(workers: Workers, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Carry out the steps, and log them; raises `HostError`."""
    site = workers.site
    was, to = site.current_release(), given["release"]
    entry = {"time": now(), "who": given["who"], "verb": given["verb"], "from": was, "to": to}
    problem = "the run was cut off"
    try:
        with signals.raised():
            try:
                workers.converge()
                workers.outcome, problem = "done", ""
            except HostError as failure:
                problem = str(failure)
                raise
            finally:
                _log(workers, {**entry, "cause": problem})
    except InterruptedRun as interruption:  # before anything was changed
        raise HostError(f"Nothing was changed: {interruption}.") from None
    running = {health.release for health in workers._healths(workers.wanted).values()}
    prune(site.home, given["keep_releases"], running)
    return workers.phases
