"""A rollout: the release is tried, brought to all workers, watched meanwhile, and logged."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.aroundtheworld.changelog import append_log
from ansible.module_utils.aroundtheworld.clock import now
from ansible.module_utils.aroundtheworld.data.undo_copies import prune as prune_copies
from ansible.module_utils.aroundtheworld.files import link_atomically
from ansible.module_utils.aroundtheworld.rollout import before, metrics, migration, signals
from ansible.module_utils.aroundtheworld.rollout.canary import Canary, Comparison
from ansible.module_utils.aroundtheworld.rollout.copies import MigrationCopies
from ansible.module_utils.aroundtheworld.rollout.expected import Expected
from ansible.module_utils.aroundtheworld.rollout.gate import Gate
from ansible.module_utils.aroundtheworld.rollout.host import Host
from ansible.module_utils.aroundtheworld.rollout.jobs import Jobs, pools_with_jobs, releases_in_use
from ansible.module_utils.aroundtheworld.rollout.observed import Observed
from ansible.module_utils.aroundtheworld.rollout.phases import Phases
from ansible.module_utils.aroundtheworld.rollout.plan import Plan
from ansible.module_utils.aroundtheworld.rollout.preparation import Preparation, RefusedError
from ansible.module_utils.aroundtheworld.rollout.prune import prune
from ansible.module_utils.aroundtheworld.rollout.replacement import Replacement
from ansible.module_utils.aroundtheworld.rollout.revert import Revert, Touched, cause
from ansible.module_utils.aroundtheworld.rollout.signals import InterruptedRun
from ansible.module_utils.aroundtheworld.rollout.undo import Undo
from ansible.module_utils.aroundtheworld.rollout.unit_files import UnitFiles
from ansible.module_utils.aroundtheworld.rollout.workers import Worker, batches
from ansible.module_utils.aroundtheworld.systemd import HostError


class FailedRolloutError(HostError):
    """A rollout failed, and what it did was reverted as far as that was possible."""

    def __init__(self, message: str, outcome: str) -> None:
        """Keep what the log calls the outcome, ``reverted``, ``refused`` or ``failed``."""
        super().__init__(message)
        self.outcome = outcome


@dataclass(frozen=True)
class Change:
    """What a rollout is for.

    Attributes:
        verb: What the log calls it.
        who: Who makes it.
        proven: Whether all workers ran the release before, so that nothing has to be tried first.
        canary_seconds: How long the first public worker is watched before the others follow.
        keep_releases: How many releases stay on the host.
        data: What it takes to copy the databases before a migration; see `MigrationCopies`.
    """

    verb: str
    who: str
    proven: bool
    canary_seconds: float
    keep_releases: int
    data: Mapping[str, Any]


class Rollout:
    """Carries a plan out, step by step, and logs it."""

    def __init__(
        self,
        host: Host,
        expected: Expected,
        observed: Observed,
        plan: Plan,
        change: Change,
        phases: Phases,
        undo: Undo,
    ) -> None:
        """Prepare it; nothing is changed yet.

        Args:
            host: The site on its host.
            expected: What should be.
            observed: What is.
            plan: What differs.
            change: What it is for.
            phases: What notes how long each part takes.
            undo: What has exchanged the databases, if they were.
        """
        self._host, self._expected, self._plan = host, expected, plan
        self._change, self._phases, self._undo = change, phases, undo
        self._instances: Collection[str] = observed.instances
        self._files = UnitFiles(host, unread=bool(plan.read))
        self._gate = Gate(host, since=observed.moment.of_day)
        self._replacement = Replacement(host, self._files, self._gate, observed.addresses)
        self._jobs = Jobs(host, self._files)
        self._pools_with_jobs = pools_with_jobs(host.site, [*observed.own, *expected.files])
        self._touched: list[Worker] = []
        self._enabled: list[str] = []
        self._timers: list[str] = []

    def run(self) -> None:
        """Carry out the plan, log it, and remove releases that are not needed any more.

        Raises:
            HostError: It failed, and was reverted.
        """
        plan, change, site = self._plan, self._change, self._host.site
        entry: dict[str, Any] = {"time": now(), "who": change.who, "verb": change.verb}
        entry |= {"from": plan.former, "to": plan.release}
        if self._undo.copy:
            entry["data"] = self._undo.copy.time
        outcome, problem = "failed", "the run was cut off"
        try:
            with signals.raised():
                try:
                    self._carry_out()
                    outcome, problem = "done", ""
                except FailedRolloutError as failure:
                    outcome, problem = failure.outcome, str(failure)
                    raise
                finally:
                    entry |= {"cause": problem, "phases": self._phases.done, "outcome": outcome}
                    _log(self._host, entry)
        except InterruptedRun as interruption:  # before anything was changed
            raise HostError(f"Nothing was changed: {interruption}.") from None
        statuses = self._host.statuses(self._expected.workers).values()
        running = {status.release for status in statuses}
        running |= {*releases_in_use(self._host, self._pools_with_jobs)}
        prune(site.home, change.keep_releases, running)
        prune_copies(site, [path.name for path in site.installed()])

    def _carry_out(self) -> None:
        """Carry out all steps; whatever happens meanwhile, a signal too, reverts them.

        A further signal does not disturb that.

        Raises:
            FailedRolloutError: The steps were reverted, for the reason that it says.
        """
        site, former = self._host.site, self._plan.former
        try:
            try:
                before.keep(site, self._expected.files)
                self._prepare()
                self._write_units()
                self._start_stopped()
                comparison = self._replace_running()
                self._finish(comparison)
                self._set_jobs()
                if self._plan.switch:
                    link_atomically(site.current, f"releases/{self._plan.release}")
                # The database of a copy is not migrated for the release that goes.
                former = "" if self._undo.copy else former
                migration.mark(site.home, former, self._plan.release)
            finally:
                signals.ignore()
        except BaseException as failure:
            why = cause(failure, self._phases.failed)
            outcome, consequence = self._go_back()
            if isinstance(failure, RefusedError) and outcome == "reverted":
                outcome = "refused"
            raise FailedRolloutError(f"{why}{consequence}", outcome) from None
        before.forget(site)

    def _prepare(self) -> None:
        """Import the app, migrate the database and try commands, before any worker is touched."""
        if self._plan.preparations:
            with self._phases.phase("prepare"):
                back = self._change.verb == "rollback"
                copies = MigrationCopies(
                    self._host, self._change.data, self._plan.former, self._phases
                )
                preparation = Preparation(
                    self._host, self._files, self._expected, copies, back=back
                )
                preparation.run(self._plan.preparations)

    def _write_units(self) -> None:
        """Write all unit files but the drop-ins of workers that run: those follow one by one.

        Nor those of jobs, which begin with the release when all workers run it.
        """
        later = {worker.drop_in for worker in self._plan.running} | self._expected.job_files
        self._files.write(
            {path: text for path, text in self._plan.write.items() if path not in later}
        )
        self._files.reload()
        if self._plan.enable:
            self._enabled = [*self._plan.enable]
            self._host.systemd.call("enable", "--quiet", "--", *self._plan.enable)
        if self._plan.metrics:
            # Before any worker: when it cannot be, the site is as it was.
            metrics.restart(self._host)

    def _start_stopped(self) -> None:
        """Start all workers that do not run."""
        if stopped := self._plan.stopped:
            with self._phases.phase(f"start {len(stopped)} workers"):
                self._touched += stopped
                self._replacement.start(self._expected.drop_ins(*stopped))

    def _replace_running(self) -> Comparison:
        """Replace the workers that serve, batch by batch, and watch the canary."""
        running = list(self._plan.running)
        self._replacement.write_stand_ins(self._expected.drop_ins(*running))
        self._files.reload()
        comparison = Comparison(self._host, running)
        public = [worker for worker in running if worker.is_public_runner]
        for batch in batches(running, proven=self._change.proven):
            is_canary = self._change.canary_seconds and batch == public[:1] and public[1:]
            canary = Canary(self._host, batch[0], public[1:]) if is_canary else None
            self._touched += batch
            names = ", ".join(worker.instance for worker in batch)
            with self._phases.phase(f"replace {names}"):
                self._replacement.replace(self._expected.drop_ins(*batch))
            self._check_errors(comparison)
            if canary:
                with self._phases.phase(f"watch {names}"):
                    if problem := canary.watch(self._change.canary_seconds):
                        raise self._gate.failure(batch[0], batch[0].service, problem)
        return comparison

    def _check_errors(self, comparison: Comparison) -> None:
        """Raise `HostError` when a worker that was replaced fails more often than is usual."""
        for worker, problem in comparison.problems(self._touched).items():
            raise self._gate.failure(worker, worker.service, problem)

    def _finish(self, comparison: Comparison) -> None:
        """Wait for the stand-ins, and look at all workers once more."""
        of_jobs = self._expected.job_files
        self._files.write(
            {path: text for path, text in self._plan.write.items() if path not in of_jobs}
        )
        self._replacement.finish(self._instances, self._phases)
        self._files.reload()
        for worker in self._touched:
            if worker.kind == "takes":  # until now its stand-in may have answered for it
                self._gate.check(worker, worker.service, "it was restarted")
        # They run the release for longest, and nothing but their end shows that they cannot.
        self._gate.check_same([worker for worker in self._touched if worker.kind == "queue"])
        self._check_errors(comparison)

    def _set_jobs(self) -> None:
        """Have jobs run the release from now on, at their times."""
        of_jobs, self._timers = self._expected.job_files, [*self._plan.timers]
        texts = {path: text for path, text in self._plan.write.items() if path in of_jobs}
        if texts or self._timers:
            with self._phases.phase("set jobs"):
                self._jobs.set(self._timers, texts)

    def _go_back(self) -> tuple[str, str]:
        """Go back, first to the databases: no worker may meet those of another release."""
        try:
            self._undo.take_back()
        except HostError as failure:
            return "failed", f"\n{failure}"
        return self._revert()

    def _revert(self) -> tuple[str, str]:
        revert = Revert(
            self._host, self._files, self._gate, self._replacement, self._jobs, self._phases
        )
        touched = Touched(self._touched, self._enabled, self._timers)
        return revert.run(self._plan, touched, self._instances)


def _log(host: Host, entry: dict[str, Any]) -> None:
    """Append a change to the log; a disk that is full must not hide why a change failed."""
    try:
        append_log(host.site.home, entry)
    except OSError as error:
        if entry["outcome"] == "done":
            raise HostError(
                f"Every worker runs release {entry['to']}, but that could not be logged: {error}"
            ) from None
