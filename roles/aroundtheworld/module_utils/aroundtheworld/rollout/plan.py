"""What differs between what is and what should be: the steps of a rollout."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.rollout.expected import Expected
from ansible.module_utils.aroundtheworld.rollout.observed import Observed
from ansible.module_utils.aroundtheworld.rollout.workers import Worker

NOT_RUNNING = ("inactive", "failed", "")


@dataclass(frozen=True)
class Plan:
    """What a rollout has to do.

    Attributes:
        preparations: Units that have to succeed before any worker is touched, in order.
        write: Path to text of the unit files that are not as they should be.
        read: Units whose files systemd has not read.
        enable: Units that are not started at boot.
        timers: Each timer of a job that does not wait for its times, and why.
        replace: Each worker that does not run what it should, and why.
        running: Those of them that serve now.
        metrics: Why the metrics' endpoint has to be restarted, or an empty text.
        former: The release that ``current`` leads to, or an empty text.
        release: The release that it should lead to.
        stop: Stand-ins that are left from a run that was cut off.
        finish: Whether there was a rollout that was cut off.
    """

    preparations: Sequence[str]
    write: Mapping[Path, str]
    read: Sequence[str]
    enable: Sequence[str]
    timers: Mapping[str, str]
    replace: Mapping[Worker, str]
    running: Sequence[Worker]
    metrics: str
    former: str
    release: str
    stop: Sequence[str]
    finish: bool

    @property
    def switch(self) -> bool:
        """Whether ``current`` has to lead to another release."""
        return self.former != self.release

    @property
    def stopped(self) -> list[Worker]:
        """The workers that do not run."""
        return [worker for worker in self.replace if worker not in self.running]

    def steps(self, site: SiteLayout) -> list[str]:
        """Return what will be done, each step a sentence."""
        steps = [f"start {name}" for name in self.preparations]
        steps += [f"write {path}" for path in self.write]
        steps += [f"have systemd read {name}" for name in self.read]
        steps += [f"enable {name}" for name in self.enable]
        steps += [
            f"replace {worker.service} ({worker.pool}), because {why}"
            for worker, why in self.replace.items()
        ]
        steps += [f"start {timer}, because {why}" for timer, why in self.timers.items()]
        if self.metrics:
            steps.append(f"restart {site.metrics('socket')}, because {self.metrics}")
        if self.switch:
            former = self.former or "nothing"
            steps.append(f"switch {site.current} from {former} to {self.release}")
        steps += [f"stop {name}, left from a run that was cut off" for name in self.stop]
        if self.finish and not steps:
            steps.append("finish the rollout that was cut off")
        return steps


def make_plan(
    site: SiteLayout, expected: Expected, observed: Observed, *, migrate: bool, with_data: bool
) -> Plan:
    """Return what has to be done.

    Args:
        site: The site.
        expected: What should be.
        observed: What is.
        migrate: Whether the database is to be migrated.
        with_data: Whether the database is that of the release, which need not be asked about it.
    """
    write = {path: text for path, text in expected.files.items() if observed.texts[path] != text}
    replace = {
        worker: why for worker in expected.workers if (why := _why_replace(worker, observed, write))
    }
    return Plan(
        preparations=list(
            _preparations(
                site,
                expected,
                replace=bool(replace),
                migrate=migrate,
                other=observed.release != expected.release and not with_data,
            )
        ),
        write=write,
        read=[
            name
            for name, unit in observed.units.items()
            if unit.get("NeedDaemonReload") == "yes" and name not in expected.unused_sockets
        ],
        enable=list(_not_enabled(site, expected, observed)),
        timers=dict(_timers(site, expected, observed, write)),
        replace=replace,
        running=[
            worker
            for worker in replace
            if observed.units[worker.service].get("ActiveState", "") not in NOT_RUNNING
        ],
        metrics=_why_restart_metrics(site, expected, observed, write),
        former=observed.release,
        release=expected.release,
        stop=observed.stand_ins,
        finish=observed.cut_off,
    )


def _preparations(
    site: SiteLayout, expected: Expected, *, replace: bool, migrate: bool, other: bool
) -> Iterator[str]:
    for step, needed in (
        ("prepare", replace),
        ("migrate", migrate),
        # The current release runs on the database already, whatever that is worth.
        ("schema", replace and other),
        ("trial", replace),
    ):
        name = site.step(step)
        if needed and site.units / name in expected.files:
            yield name


def _not_enabled(site: SiteLayout, expected: Expected, observed: Observed) -> Iterator[str]:
    names = [worker.service for worker in expected.workers] + expected.sockets
    if site.units / site.metrics("socket") in expected.files:
        names.append(site.metrics("socket"))
    for name in names:
        if observed.units[name].get("UnitFileState") != "enabled":
            yield name


def _timers(
    site: SiteLayout, expected: Expected, observed: Observed, write: Mapping[Path, str]
) -> Iterator[tuple[str, str]]:
    for timer in expected.timers:
        unit = observed.units[timer]
        if site.units / timer in write:
            yield timer, "its times changed"
        elif unit.get("ActiveState") != "active":
            yield timer, "it does not run"
        elif unit.get("UnitFileState") != "enabled":
            yield timer, "it would not start at boot"


def _why_replace(worker: Worker, observed: Observed, write: Mapping[Path, str]) -> str:
    why = worker.why_replace(
        observed.units[worker.service],
        observed.units.get(worker.socket, {}),
        observed.addresses,
        observed.statuses[worker],
    )
    if not why and _is_outdated(worker.service, worker.unit_files, observed, write):
        return "its unit files were edited"
    return why


def _is_outdated(
    service: str, paths: Sequence[Path], observed: Observed, write: Mapping[Path, str]
) -> bool:
    """Tell whether a service may run with files other than those that it should have."""
    return bool(write.keys() & set(paths)) or observed.may_predate(service, paths)


def _why_restart_metrics(
    site: SiteLayout, expected: Expected, observed: Observed, write: Mapping[Path, str]
) -> str:
    """Return why the metrics' endpoint has to be restarted, or an empty text."""
    socket, service = (site.metrics(kind) for kind in ("socket", "service"))
    paths = [site.units / name for name in (socket, service)]
    if paths[0] not in expected.files:
        return ""
    found = re.search(r"^ListenStream=(.*)$", expected.files[paths[0]], flags=re.M)
    address = found[1] if found else ""
    if observed.units[socket].get("ActiveState") != "active" or address not in observed.addresses:
        return f"nothing listens on {address}"
    # What has ended starts with the files that there are when the next request comes.
    runs = observed.units[service].get("ActiveState") not in ("inactive", "failed")
    outdated = write.keys() & set(paths) or (runs and observed.may_predate(service, paths))
    return "its unit files changed" if outdated else ""
