"""The metrics of jobs, which systemd runs at times."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from aroundtheworld_metrics.families import Families
from aroundtheworld_metrics.sources import JOB_PROPERTIES


class WithJobs(Protocol):
    """A site, as far as its jobs are concerned."""

    name: str
    jobs: Sequence[str]


def job_units(site: WithJobs) -> list[str]:
    """Return the names of the units of all jobs."""
    return [f"{site.name}-job-{pool}.{kind}" for pool in site.jobs for kind in ("service", "timer")]


def timers(site: WithJobs) -> list[str]:
    """Return the names of the timers."""
    return [unit for unit in job_units(site) if unit.endswith(".timer")]


def add_jobs(
    families: Families,
    site: WithJobs,
    units: Mapping[str, Mapping[str, str]],
    elapse: Mapping[str, float],
) -> None:
    """Add how the last run of each job went, since the host has booted, and when it runs next.

    Args:
        families: Where to add it.
        site: The site.
        units: Name to properties of units.
        elapse: Name of a timer to when it elapses next, Unix time.
    """
    boot = time.time() - time.monotonic()
    for pool in site.jobs:
        service, timer = (f"{site.name}-job-{pool}.{kind}" for kind in ("service", "timer"))
        unit = units.get(service, {})
        if not unit:
            continue
        began, ended = (int(unit.get(name) or 0) / 1e6 for name in JOB_PROPERTIES)
        running = unit.get("ActiveState") in ("activating", "deactivating")
        good = unit.get("Result") == "success"
        scheduled = units.get(timer, {}).get("ActiveState") == "active"
        over = began and ended >= began and not running
        for name, documentation, value in (
            ("running", "Whether the job runs.", running),
            ("scheduled", "Whether its timer waits for the next time.", scheduled),
            ("failed", "Whether its last run failed.", bool(began and not running and not good)),
            (
                "last_start_timestamp_seconds",
                "When its last run began, Unix time; nothing before the first since a boot.",
                boot + began if began else None,
            ),
            (
                "last_success_timestamp_seconds",
                "When its last run ended, if that was a success.",
                boot + ended if over and good else None,
            ),
            ("last_duration_seconds", "How long it took.", ended - began if over else None),
            ("next_timestamp_seconds", "When it runs next.", elapse.get(timer)),
        ):
            if value is not None:
                families.gauge(f"job_{name}", documentation, round(float(value), 3), pool=pool)
