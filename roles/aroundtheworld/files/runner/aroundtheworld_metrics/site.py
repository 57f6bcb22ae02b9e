"""The metrics of a site, read from all their sources at once."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from aroundtheworld_metrics.certificate import Certificate, served
from aroundtheworld_metrics.families import Families
from aroundtheworld_metrics.job_metrics import add_jobs, job_units, timers
from aroundtheworld_metrics.sources import (
    last_change,
    next_elapse,
    read_backups,
    read_closing,
    read_nginx,
    read_units,
    read_worker,
)
from aroundtheworld_runner.crashes import crashing

MOST_THREADS = 64
UNSET = 2**64 - 1  # how systemd writes what has no value, and no limit

T = TypeVar("T")


class Worker(NamedTuple):
    """A worker that there should be."""

    pool: str
    instance: str
    """What its unit is called by: its port, or a name where it has none."""
    has_control: bool
    """Whether it has a control socket; what a pool's own command starts does not have it."""
    blocking: bool = False
    """Whether its handlers may block."""


class Paths(NamedTuple):
    """Where everything is."""

    home: Path
    run: Path = Path("/run")


class Site(Collector):
    """Everything about a site, read again for each request."""

    def __init__(
        self,
        name: str,
        workers: Sequence[Worker],
        nginx: str,
        paths: Paths,
        https: tuple[int, str] | None = None,
        jobs: Sequence[str] = (),
    ) -> None:
        """Take what there should be.

        Args:
            name: Of the site.
            workers: All of them.
            nginx: The address of nginx's status page, as ``address:port``.
            paths: Where everything is.
            https: The port of HTTPS and a host name there, if the site has it.
            jobs: The pools that have jobs.
        """
        self.name, self.workers, self.nginx, self.paths = name, workers, nginx, paths
        self.https, self.jobs = https, jobs
        self._collecting = threading.Lock()
        self._threads = ThreadPoolExecutor(min(len(workers) + 4, MOST_THREADS))

    def collect(self) -> Iterator[Metric]:
        """Yield all metric families; a source that does not answer is left out."""
        with self._collecting:
            began = time.monotonic()
            families = Families(self.name)
            pools = list(dict.fromkeys([*(worker.pool for worker in self.workers), *self.jobs]))
            slices = {f"{self.name}-{pool}.slice": pool for pool in pools}
            services = {f"{self.name}@{worker.instance}.service": worker for worker in self.workers}
            nginx = self._threads.submit(read_nginx, self.nginx)
            systemd = self._threads.submit(read_units, [*services, *job_units(self), *slices])
            elapse = self._threads.submit(next_elapse, timers(self)) if self.jobs else None
            https = self._threads.submit(served, *self.https) if self.https else None
            reading = {
                worker: self._threads.submit(read_worker, self._control(worker))
                for worker in self.workers
                if worker.has_control
            }
            units = _result(families, "systemd", systemd.result) or {}
            for name, worker in services.items():
                read = reading[worker].result if worker in reading else None
                _add_worker(families, worker, units.get(name, {}), read)
            add_jobs(families, self, units, elapse.result() if elapse else {})
            for pool in pools:
                may = any(worker.pool == pool and worker.blocking for worker in self.workers)
                families.gauge(
                    "pool_blocking", "Whether the pool's handlers may block.", may, pool=pool
                )
            for name, pool in slices.items():
                _add_slice(families, pool, units.get(name, {}))
            _add_nginx(families, _result(families, "nginx", nginx.result) or {})
            if https and (certificate := _result(families, "https", https.result)):
                _add_certificate(families, certificate)
            _add_release(families, self.paths.home)
            families.gauge(
                "exporter_seconds",
                "How long it took to ask everybody.",
                round(time.monotonic() - began, 6),
            )
        yield from families.all.values()

    def describe(self) -> list[Metric]:
        """Return nothing: which metrics there are depends on which sources answer."""
        return []

    def _control(self, worker: Worker) -> Path:
        return self.paths.run / self.name / worker.instance / "control.sock"


def _result(families: Families, source: str, read: Callable[[], T]) -> T | None:
    """Return what a source says, and add whether it does."""
    try:
        result = read()
    except OSError:
        result = None
    families.gauge(f"{source}_up", f"Whether {source} answers.", result is not None)
    return result


def _add_worker(
    families: Families,
    worker: Worker,
    unit: Mapping[str, str],
    read: Callable[[], list[Metric]] | None,
) -> None:
    labels = {"pool": worker.pool, "port": worker.instance}
    up = unit.get("ActiveState") == "active"
    if read is not None:
        try:
            families.extend(read(), {"site": families.site, **labels})
            up = True
        except OSError:
            up = False
    families.gauge(
        "worker_up",
        "Whether the worker answers on its private socket; without one, whether it runs.",
        up,
        **labels,
    )
    if unit:
        families.gauge(
            "worker_crashing",
            "Whether it ended by itself, and has not run for a minute since.",
            crashing(unit) is not None,
            **labels,
        )
    if (restarts := _number(unit, "NRestarts")) is not None:
        families.counter(
            "worker_restarts", "Restarts by systemd, after it was told to run.", restarts,
            **labels,
        )  # fmt: skip


def _add_slice(families: Families, pool: str, unit: Mapping[str, str]) -> None:
    for key, name, documentation in (
        ("MemoryCurrent", "pool_memory_bytes", "Memory of all the pool's workers together."),
        ("MemoryMax", "pool_memory_max_bytes", "How much memory they may have, if limited."),
        ("TasksCurrent", "pool_tasks", "Processes and threads of the pool's workers."),
        ("TasksMax", "pool_tasks_max", "How many of them there may be."),
    ):
        if (value := _number(unit, key)) is not None:
            families.gauge(name, documentation, value, pool=pool)
    if (nanoseconds := _number(unit, "CPUUsageNSec")) is not None:
        families.counter(
            "pool_cpu_seconds", "Processor time of the pool's workers.", nanoseconds / 1e9,
            pool=pool,
        )  # fmt: skip


def _number(properties: Mapping[str, str], name: str) -> int | None:
    """Return one of systemd's numbers, or `None` when it is not set."""
    text = properties.get(name, "")
    return int(text) if text.isdigit() and int(text) != UNSET else None


def _add_nginx(families: Families, numbers: Mapping[str, int]) -> None:
    for state in ("active", "reading", "writing", "waiting"):
        if state in numbers:
            families.gauge(
                "nginx_connections", "Clients' connections, of all sites of the host.",
                numbers[state], state=state,
            )  # fmt: skip
    for name, documentation in (
        ("accepted", "Connections that nginx accepted."),
        ("handled", "Connections that it handled; fewer when it had no more room."),
        ("requests", "Requests that it got."),
    ):
        if name in numbers:
            infix = "" if name == "requests" else "connections_"
            families.counter(f"nginx_{infix}{name}", documentation, numbers[name])


def _add_maintenance(families: Families, home: Path) -> None:
    closing = read_closing(home)
    families.gauge("maintenance", "Whether the site is closed for maintenance.", bool(closing))
    for key, about in (("since", "was closed"), ("until", "opens by itself, if it does")):
        with contextlib.suppress(KeyError, TypeError, ValueError):
            moment = datetime.fromisoformat(closing[key]).timestamp()
            name = f"maintenance_{key}_timestamp_seconds"
            families.gauge(name, f"When the site {about}, Unix time.", moment)
    if closing:
        labels = {key: str(closing.get(key, "")) for key in ("scope", "reason")}
        families.gauge("maintenance_info", "What is closed, and why.", 1, **labels)


def _add_backups(families: Families, home: Path) -> None:
    state = read_backups(home, "state")
    _add_times(families, "backup", "backup", state)
    if last := state.get("last"):
        about = "What of that was new to its repository."
        families.gauge("backup_last_added_bytes", about, last["added"])
    _add_times(families, "backup_drill", "drill", read_backups(home, "drill"))


def _add_times(families: Families, prefix: str, what: str, state: Mapping[str, Any]) -> None:
    """Add when something was last done, and whether it should have been done since."""
    if (due := state.get("due")) is not None:
        about = f"When the last {what} is too old, Unix time."
        families.gauge(f"{prefix}_due_timestamp_seconds", about, float(due))
    if state:
        about = f"Whether the last {what} failed."
        families.gauge(f"{prefix}_failed", about, bool(state.get("failed")))
    if not (last := state.get("last")):
        return
    moment = datetime.fromisoformat(last["time"]).timestamp()
    for name, about, value in (
        ("timestamp_seconds", f"When the last {what} went well, Unix time.", moment),
        ("duration_seconds", "How long it took.", last["seconds"]),
        ("bytes", "What is in the backup.", last["bytes"]),
    ):
        families.gauge(f"{prefix}_last_{name}", about, value)


def _add_certificate(families: Families, certificate: Certificate) -> None:
    for when, value in (("begin", certificate.begin), ("end", certificate.end)):
        families.gauge(
            f"certificate_{when}_timestamp_seconds",
            f"The {when} of the certificate's lifetime, Unix time.",
            value,
        )


def _add_release(families: Families, home: Path) -> None:
    current = home / "current"
    release = current.readlink().name if current.is_symlink() else ""
    families.gauge("release_info", "The current release.", 1, release=release)
    _add_maintenance(families, home)
    _add_backups(families, home)
    if not (entry := last_change(home / "deploys.jsonl")):
        return
    families.gauge(
        "deploy_last_info",
        "The last change of the site: done, reverted or failed.",
        1,
        **{key: str(entry.get(key, "")) for key in ("verb", "from", "to", "outcome")},
    )
    with contextlib.suppress(KeyError, ValueError):
        began = datetime.fromisoformat(entry["time"]).timestamp()
        families.gauge("deploy_last_timestamp_seconds", "When it began, Unix time.", began)
    seconds = sum(phase["seconds"] for phase in entry.get("phases", []))
    families.gauge("deploy_last_duration_seconds", "How long it took.", seconds)
