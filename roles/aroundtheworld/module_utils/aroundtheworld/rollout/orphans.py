"""Units of a site that no pool lists any more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.rollout.expected import Expected
from ansible.module_utils.aroundtheworld.rollout.host import Host
from ansible.module_utils.aroundtheworld.rollout.observed import Observed

Orphans = Mapping[str, list[Path]]
"""Names of units, each with its files."""


def find_orphans(site: SiteLayout, expected: Expected, observed: Observed) -> Orphans:
    """Return the units that are the site's and on the host, but not expected."""
    orphans: dict[str, list[Path]] = {}
    for instance in set(observed.instances) - {worker.instance for worker in expected.workers}:
        service, socket = site.service(instance), site.socket(instance)
        drop_in = site.drop_in(service)
        is_there = drop_in in observed.present
        # systemd could not say anything of the socket of one that has no port.
        for name in (service, socket) if instance.isdigit() else (service,):
            if is_there or name in observed.loaded:
                orphans[name] = [drop_in] if is_there and name == service else []
    for socket in expected.unused_sockets:
        if socket in observed.loaded:
            orphans.setdefault(socket, [])
    for path in sorted(set(observed.present) - expected.files.keys()):
        if path.parent == site.units:
            orphans.setdefault(path.name, []).append(path)
    used = {*(worker.service for worker in expected.workers), *expected.sockets}
    for link in observed.links:
        instance = link.stem.partition("@")[2]
        if link.name in used or site.units / link.name in expected.files:
            continue
        if (
            not instance or instance in observed.instances
        ):  # else an operator started a worker of their own
            orphans.setdefault(link.name, []).append(link)
    return orphans


def remove_orphans(host: Host, orphans: Orphans) -> None:
    """Stop these units, and remove them."""
    # Sockets and timers first: they would start their services again.
    sockets, services, slices = (
        [name for name in orphans if name.endswith(kind)]
        for kind in ((".socket", ".timer"), ".service", ".slice")
    )
    for names in (sockets, services, slices):
        if names:
            host.systemd.call("stop", "--", *names)
    if sockets or services:
        host.systemd.call("disable", "--quiet", "--", *sockets, *services)
    # Before the files, by which the next run would know of them.
    stamps = [host.site.stamp(name) for name in sockets if name.endswith(".timer")]
    for stamp in stamps:
        stamp.unlink(missing_ok=True)
    paths = [path for files in orphans.values() for path in files]
    for path in paths:
        belongings.remove_file(path)
    host.systemd.call("daemon-reload")
    host.systemd.call("reset-failed", "--", *orphans, check=False)
    # The stand-ins of these workers are gone as well.
    stand_ins = [host.site.drop_in(name.replace("@", "-handover@", 1)) for name in services]
    belongings.give_up(host.site.name, [*paths, *stamps, *stand_ins], root=host.site.root)
