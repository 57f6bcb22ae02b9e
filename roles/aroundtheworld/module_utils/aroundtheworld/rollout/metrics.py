"""The metrics' endpoint of a site."""

from __future__ import annotations

from ansible.module_utils.aroundtheworld.rollout.host import Host


def restart(host: Host) -> None:
    """Have the endpoint listen as its unit files say; its process starts with the first scrape."""
    socket, service = (host.site.metrics(kind) for kind in ("socket", "service"))
    host.systemd.call("stop", "--", service, socket)
    host.systemd.call("start", "--", socket)
