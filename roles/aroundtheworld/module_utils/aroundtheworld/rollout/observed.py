"""What is: the unit files, systemd's state and the workers of a site at one moment."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.layout import DROP_IN, SiteLayout
from ansible.module_utils.aroundtheworld.rollout.expected import Expected
from ansible.module_utils.aroundtheworld.rollout.host import Host
from ansible.module_utils.aroundtheworld.rollout.units import text_of
from ansible.module_utils.aroundtheworld.rollout.workers import Worker
from ansible.module_utils.aroundtheworld.worker_client import WorkerStatus

Properties = Mapping[str, str]


@dataclass(frozen=True)
class Moment:
    """The time of day and systemd's clock, read together."""

    of_day: float
    since_boot: float

    @classmethod
    def now(cls) -> Moment:
        """Return this moment."""
        # In this order: were the process held up in between, with systemd's clock read last, every
        # service would seem to have started earlier than it did, and its worker would be replaced.
        since_boot = time.monotonic()
        return cls(of_day=time.time(), since_boot=since_boot)

    def may_predate(self, service: Properties, written: Iterable[float]) -> bool:
        """Tell whether a service was started before one of its files was written.

        Args:
            service: Its properties. Of one that never ran, no file is too new.
            written: When its files were written, in seconds since 1970. A time that is still to
                come proves nothing: somebody has set the clock.
        """
        started_since_boot = int(service.get("ExecMainStartTimestampMonotonic", 0)) / 1e6
        started = self.of_day - self.since_boot + started_since_boot
        return bool(started_since_boot) and any(started < at <= self.of_day for at in written)


@dataclass(frozen=True)
class Observed:
    """What there is of a site.

    Attributes:
        moment: When it was observed.
        release: The release that ``current`` leads to, or an empty text.
        cut_off: Whether there are unit files from before a rollout that was cut off.
        texts: The expected unit files as they are; an empty text where one is missing.
        written: When those that exist were written, in seconds since 1970.
        units: Name to properties of the units of workers, pools and preparation.
        addresses: Where the host listens, each as ``address:port``.
        statuses: What each expected worker reports.
        own: The files that the site wrote down that it has, whether they exist or not.
        present: Those of them that exist.
        instances: What the units of all workers are called by that there are or were.
        loaded: Units of workers, expected or not, that systemd has in memory.
        stand_ins: The site's stand-ins that systemd has in memory.
        links: The links by which systemd starts units of the site at boot.
    """

    moment: Moment
    release: str
    cut_off: bool
    texts: Mapping[Path, str]
    written: Mapping[Path, float]
    units: Mapping[str, Properties]
    addresses: Collection[str]
    statuses: Mapping[Worker, WorkerStatus]
    own: Collection[Path]
    present: Collection[Path]
    instances: Collection[str]
    loaded: Collection[str]
    stand_ins: Sequence[str]
    links: Sequence[Path]

    def may_predate(self, service: str, paths: Iterable[Path]) -> bool:
        """Tell whether a service was started before one of these files was written."""
        written = [self.written[path] for path in paths if path in self.written]
        return self.moment.may_predate(self.units[service], written)


def observe(host: Host, expected: Expected) -> Observed:
    """Read the state of a site; nothing is changed."""
    site = host.site
    moment = Moment.now()
    services = [worker.service for worker in expected.workers]
    # The preparation and the slices too: whether systemd has read them is part of the state.
    others = [
        path.name for path in expected.files if path.parent == site.units and "@" not in path.name
    ]
    # What the site wrote down that it has; a file that only has a similar name is not the site's.
    own = belongings.files(site.name, site.root).difference(site.not_rolled_out)
    instances = _instances(site, own, expected)
    return Observed(
        moment=moment,
        release=site.current_release(),
        cut_off=site.kept is not None,
        texts={path: text_of(path) for path in expected.files},
        written={path: path.stat().st_mtime for path in expected.files if path.exists()},
        units=host.systemd.show([*services, *expected.sockets, *expected.unused_sockets, *others]),
        addresses=host.sockets.addresses(),
        statuses=host.statuses(expected.workers),
        own=own,
        present={path for path in own if path.exists()},
        instances=instances,
        loaded=host.systemd.loaded(f"{site.name}@*"),
        stand_ins=host.loaded_stand_ins(instances),
        links=list(belongings.links(own | expected.files.keys(), site.units)),
    )


def _instances(site: SiteLayout, own: Iterable[Path], expected: Expected) -> set[str]:
    """Return what the units of the workers are called by that there are or were."""
    instances = {worker.instance for worker in expected.workers}
    for path in own:
        name, _, instance = path.parent.name.removesuffix(".service.d").partition("@")
        if path.name == DROP_IN and name == site.name:
            instances.add(instance)
    return instances
