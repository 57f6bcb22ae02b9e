"""What should be: a release, its unit files and its workers, read from the task's options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.health_check import HealthCheck
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.rollout.units import (
    CONFIG,
    settings_id,
    settings_key,
    split_units,
)
from ansible.module_utils.aroundtheworld.rollout.workers import Worker


@dataclass(frozen=True)
class Expected:
    """What should be.

    Attributes:
        release: The id of the release.
        files: Path to text of all unit files, complete.
        workers: The workers in the order in which they are replaced.
    """

    release: str
    files: Mapping[Path, str]
    workers: tuple[Worker, ...]

    @property
    def sockets(self) -> list[str]:
        """The names of the socket units that workers need."""
        return [worker.socket for worker in self.workers if worker.has_socket]

    @property
    def timers(self) -> list[str]:
        """The names of the timers of jobs."""
        return [path.name for path in self.files if path.suffix == ".timer"]

    @property
    def job_files(self) -> set[Path]:
        """The files of the units of jobs."""
        timers = [path for path in self.files if path.suffix == ".timer"]
        return {*timers, *(path.with_suffix(".service") for path in timers)}

    @property
    def unused_sockets(self) -> list[str]:
        """The names of the socket units of workers that bind their ports themselves."""
        return [worker.socket for worker in self.workers if worker.kind == "binds"]

    def drop_ins(self, *workers: Worker) -> dict[Worker, str]:
        """Return the text of each worker's drop-in."""
        return {worker: self.files[worker.drop_in] for worker in workers}


def read_expected(site: SiteLayout, options: Mapping[str, Any], *, make_key: bool) -> Expected:
    """Return what should be, from the options of the module.

    Args:
        site: The site.
        options: The module's.
        make_key: Whether the key of the settings' ids is made when there is none.
    """
    files = split_units(options["units"])
    watched = [
        file
        for path in map(Path, options["watch"])
        for file in (path.iterdir() if path.is_dir() else [path])
    ]
    key = settings_key(Path(options["key"]), make=make_key)
    workers = []
    for entry in options["workers"]:
        check = {**entry["health"], "statuses": tuple(entry["health"]["statuses"])}
        worker = Worker(
            site=site,
            instance=entry["instance"],
            pool=entry["pool"],
            blocking=entry["blocking"],
            release=options["release"],
            settings="",
            listen="" if entry["kind"] == "queue" else f"{options['address']}:{entry['instance']}",
            kind=entry["kind"],
            health_check=HealthCheck(**check, timeout=options["health_timeout"]),
            start_timeout=entry["start_timeout"],
            sticky=entry.get("sticky", False),
        )
        settings = settings_id([files[path] for path in worker.unit_files], watched, key)
        files[worker.drop_in] = files[worker.drop_in].replace(CONFIG, settings)
        workers.append(replace(worker, settings=settings))
    return Expected(options["release"], files, tuple(workers))
