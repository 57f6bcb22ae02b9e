"""The plan as a value: what follows for a site from its variables, an app and a host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aroundtheworld_controller.data.undo import derive_data
from aroundtheworld_controller.nginx.client_certificates import derive_client_cas
from aroundtheworld_controller.nginx.header_sizes import derive_buffers
from aroundtheworld_controller.nginx.headers import derive_headers
from aroundtheworld_controller.nginx.proxies import derive_proxies
from aroundtheworld_controller.nginx.servers import derive_shape
from aroundtheworld_controller.nginx.static import derive_media, derive_static
from aroundtheworld_controller.nginx.tls import derive_listen, derive_tls, hsts_sent
from aroundtheworld_controller.nginx.visitor_headers import clearing
from aroundtheworld_controller.pools import (
    derive_addresses,
    derive_claim,
    derive_commands,
    derive_pools,
    derive_up,
    is_job,
    is_queue,
    restart_order,
    serving,
)
from aroundtheworld_controller.room import Need, needs
from aroundtheworld_controller.rules import check_variables
from aroundtheworld_controller.unit_directives import derive_directives

# What the other tasks need to know about the host.
HOST_FACTS = ("python", "packages_missing", "python3_apt", "ipv6", "nginx", "acme")


@dataclass(frozen=True)
class Site:
    """A site as its variables describe it."""

    variables: Mapping[str, Any]  # as their types
    pools: list[dict[str, Any]]  # with all that follows for each
    claim: dict[str, Any]  # what it has on its host

    @property
    def name(self) -> str:
        """Return what the site is called."""
        return str(self.variables["aroundtheworld_site"])


def describe_site(values: Mapping[str, Any]) -> Site:
    """Return the site that variables, name to value, describe; raises `BadInputError`."""
    variables = check_variables(values)
    pools = derive_pools(variables)
    return Site(variables, pools, derive_claim(variables, pools))


def make_plan(
    site: Site,
    release: Mapping[str, Any],
    environment: Mapping[str, str],
    host: Mapping[str, Any],
    certificate: str = "",
) -> dict[str, Any]:
    """Return what a run is to do with workers: for a deployment, and for a rollback.

    Args:
        site: The site.
        release: The release that it is to run, by its ``id``.
        environment: The release's virtual environment, by its ``id``.
        host: What the module ``aroundtheworld_host`` observed.
        certificate: The certificate that the run brings to the host, if it does.
    """
    tls = derive_tls(site.variables, host, certificate)
    pools = serving(site.pools)
    return {
        "changed": False,
        "pools": pools,
        "queues": [pool for pool in site.pools if is_queue(pool)],
        "jobs": [pool for pool in site.pools if is_job(pool)],
        "directives": derive_directives(site.pools),
        "addresses": derive_addresses(site.variables),
        "commands": derive_commands(site.variables),
        "data": derive_data(site.variables),
        "workers": restart_order(site.pools),
        "static": derive_static(site.variables, pools),
        "media": derive_media(site.variables, pools),
        "proxies": derive_proxies(site.variables),
        "headers": derive_headers(site.variables),
        "clearing": clearing(),
        "buffers": derive_buffers(site.variables),
        "tls": tls,
        "listen": derive_listen(site.variables, host),
        "client_cas": derive_client_cas(site.variables),
        **derive_shape(site.variables, pools, tls["waiting"]),
        # As it is once a CA has given a certificate for all names.
        "certified": derive_shape(site.variables, pools),
        "up": derive_up(pools),
        "release": release,
        "environment": environment,
        "claim": {**site.claim, "hsts": hsts_sent(site.variables, tls, host)},
        "host": {key: host[key] for key in HOST_FACTS},
        "current": host["current"],
    }


def room_needed(
    site: Site,
    release: Mapping[str, Any],
    wheels: Path | None,
    host: Mapping[str, Any],
) -> dict[str, dict[str, Need]]:
    """Return what a deployment takes on the host.

    Args:
        site: The site.
        release: What `describe_release` returned.
        wheels: The wheels of the virtual environment, if that is not on the host.
        host: What the module ``aroundtheworld_host`` observed.
    """
    workers = sum(len(pool["instances"]) for pool in site.pools)
    units = 10 + 4 * len(site.pools) + 4 * workers
    return needs(
        trees={} if release["id"] in host["releases"] else release["trees"],
        static=site.variables["aroundtheworld_static"],
        wheels=wheels,
        settings=0 if host["current"] else units,
        packages=bool(host["packages_missing"]),
    )
