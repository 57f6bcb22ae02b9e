"""How a site's jobs are: their last runs, since the host has booted, and when they run next."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ansible.module_utils.aroundtheworld.journal import journal_lines
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.systemd import Systemd
from ansible.module_utils.aroundtheworld.untrusted import printable

BEGAN, ENDED = (f"ExecMain{what}TimestampMonotonic" for what in ("Start", "Exit"))
PROPERTIES = ("Result", "ExecMainStatus", BEGAN, ENDED)


@dataclass(frozen=True)
class ObservedJob:
    """A job as systemd sees it.

    Attributes:
        pool: The name of its pool.
        unit: The name of its service.
        running: Whether it runs right now.
        scheduled: Whether its timer waits for the next time.
        result: How the last run that is over ended, by systemd's word, such as ``success`` or
            ``exit-code``; empty where none is known since the host has booted.
        began: When the last run began, Unix time; None where none is known.
        seconds: How long it took; None where it is not over.
        next: When it runs next, Unix time; None where that is not known, as while it runs.
        about: What else there is to say of it.
    """

    pool: str
    unit: str
    running: bool
    scheduled: bool
    result: str
    began: float | None
    seconds: float | None
    next: float | None
    about: str

    @property
    def failed(self) -> bool:
        """Whether its last run failed."""
        return self.result not in ("", "success")

    def to_json(self) -> dict[str, Any]:
        """Describe it; times as ISO 8601 has them, or an empty text."""
        times = {name: _iso(getattr(self, name)) for name in ("began", "next")}
        return {**vars(self), **times, "failed": self.failed}


def observe_jobs(systemd: Systemd, layout: SiteLayout, own: Iterable[str]) -> list[ObservedJob]:
    """Return the jobs of a site.

    Args:
        systemd: How to ask systemd.
        layout: Where everything of the site is.
        own: The names of the site's units.
    """
    pools = sorted({pool for unit in own if (pool := layout.job_of(unit))})
    if not pools:
        return []
    services, timers = (
        {pool: layout.job(pool, kind) for pool in pools} for kind in ("service", "timer")
    )
    units = systemd.show([*services.values(), *timers.values()], PROPERTIES)
    elapse = systemd.next_elapse([*timers.values()])
    boot = time.time() - time.monotonic()
    return [
        _observed(
            pool, services[pool], units[services[pool]], units[timers[pool]],
            elapse.get(timers[pool]), boot,
        )
        for pool in pools
    ]  # fmt: skip


def _observed(
    pool: str,
    unit: str,
    service: dict[str, str],
    timer: dict[str, str],
    next_time: float | None,
    boot: float,
) -> ObservedJob:
    began, ended = (int(service.get(name) or 0) / 1e6 for name in (BEGAN, ENDED))
    running = service.get("ActiveState") in ("activating", "deactivating")
    result = service.get("Result", "") if began and not running else ""
    about = ""
    if result not in ("", "success"):
        status = service.get("ExecMainStatus", "")
        about = f"failed ({f'status {status}' if result == 'exit-code' else result})"
        if line := journal_lines([f"_SYSTEMD_UNIT={unit}"], 1):
            about = f"{about}: {printable(line)}"
    return ObservedJob(
        pool=pool,
        unit=unit,
        running=running,
        scheduled=timer.get("ActiveState") == "active",
        result=result,
        began=boot + began if began else None,
        seconds=round(ended - began, 3) if began and ended >= began and not running else None,
        next=next_time,
        about=about,
    )


def job_problems(jobs: Sequence[ObservedJob], *, rollout: bool) -> Iterator[str]:
    """Yield what is wrong with the jobs of a site.

    Args:
        jobs: As `observe_jobs` returns them.
        rollout: Whether a run is under way, in which timers get other times.
    """
    for job in jobs:
        if job.failed:
            yield f"the job of pool {job.pool} {job.about}"
        if not (job.scheduled or rollout):
            yield f"the job of pool {job.pool} will not run again: its timer does not run"


def _iso(moment: float | None) -> str:
    if moment is None:
        return ""
    return datetime.fromtimestamp(int(moment), UTC).isoformat()
