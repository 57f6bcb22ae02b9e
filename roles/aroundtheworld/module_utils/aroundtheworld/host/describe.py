"""What the role has to know about a host before it plans anything; nothing is changed."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.acme.lineage import Lineage
from ansible.module_utils.aroundtheworld.changelog import last_good
from ansible.module_utils.aroundtheworld.claims import (
    PROXY_PORT,
    Claim,
    claimed_ports,
    collisions,
    has_tls,
    nginx_ports,
    read_claims,
    served_names,
)
from ansible.module_utils.aroundtheworld.commands import Run
from ansible.module_utils.aroundtheworld.data.journal import restore_cut_off
from ansible.module_utils.aroundtheworld.data.undo_copies import (
    read_copies,
    read_record,
    undo_cut_off,
)
from ansible.module_utils.aroundtheworld.host.certificate import describe_certificate
from ansible.module_utils.aroundtheworld.host.names import name_problems
from ansible.module_utils.aroundtheworld.host.packages import (
    installed,
    package_problems,
    provided,
    states,
    unfinished,
)
from ansible.module_utils.aroundtheworld.host.places import home_problems
from ansible.module_utils.aroundtheworld.host.ports import (
    needed_ports,
    own_ports,
    taken_ports,
)
from ansible.module_utils.aroundtheworld.host.python import describe_python
from ansible.module_utils.aroundtheworld.host.room import room
from ansible.module_utils.aroundtheworld.host.users import change_problems, user_problems
from ansible.module_utils.aroundtheworld.interpreters import broken_environments
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.nginx.examine import examine
from ansible.module_utils.aroundtheworld.nginx.neighbours import Intent
from ansible.module_utils.aroundtheworld.sockets import holders, listeners


def describe_host(parameters: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """Return what the module aroundtheworld_host reports; its parameters say of which site."""
    layout = SiteLayout(Path(parameters["home"]), parameters["site"])
    claim, claims = parameters["claim"], read_claims()
    release, current = platform.freedesktop_os_release(), layout.current_release()
    table = Path("/proc/net/if_inet6")
    has_ipv6 = table.exists() and bool(table.read_text())
    nginx = examine(run, intents(parameters, ipv6=has_ipv6))
    needed = parameters["packages"]
    dpkg = states(needed, run)
    packages = installed(dpkg)
    if nginx["there"]:  # nginx.org's, or another: Debian's must not be installed over it
        packages.add("nginx")
    distribution = f"{release['ID']} {release.get('VERSION_ID', 'unknown').split('.')[0]}"
    there = provided(run) if parameters["app_packages"] else set()
    apps = [name for name in parameters["app_packages"] if name not in {*there, *needed}]
    return {
        "distribution": distribution,
        "python": describe_python(),
        "packages_missing": [*(name for name in needed if name not in packages), *apps],
        "python3_apt": "python3-apt" in packages,
        "packages_unfinished": unfinished(dpkg),
        "current": current,
        "restore_cut_off": restore_cut_off(layout),
        "releases": layout.environments_by_release(),
        "environments": layout.whole_environments(),
        "broken_environments": broken_environments(layout),
        "good_releases": last_good(layout.home, current),
        "copies": [
            {
                "name": copy.name,
                "release": copy.release,
                "time": copy.time,
                "age": copy.age,
                "databases": [database["name"] for database in copy.databases],
            }
            for copy in read_copies(layout)
        ],
        "undoing": read_record(layout).get("to", ""),
        "undo_cut_off": undo_cut_off(layout),
        # Without the ports of other sites: `problems` names those sites.
        "taken_ports": occupied(layout, parameters, claimed_ports(claim, claims), run),
        "unfit": [
            *problems(claim, claims, run),
            *package_problems(apps, distribution, run),
        ],
        "room": room(layout.home, Path(parameters["temporary"]).expanduser()),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "processes": int(Path("/proc/sys/kernel/pid_max").read_text()),
        "ipv6": has_ipv6,
        "tls": describe_certificate(parameters["tls"]),
        "hsts": claims.get(layout.name, {}).get("hsts", 0),
        "nginx": nginx,
        "acme": Lineage(layout.name).describe(claim["server_names"]),
    }


def intents(parameters: Mapping[str, Any], *, ipv6: bool) -> list[Intent]:
    """Return what a site will have in nginx, for each port of nginx's."""
    claim = parameters["claim"]
    return [
        Intent(
            claim["site"],
            port,
            served_names(claim, variable),
            ipv6,
            parameters["remove_default"],
            tuple(parameters["decided"]),
            tls=has_tls(claim, variable),
            proxy_protocol=variable == PROXY_PORT,
            variable=variable,
        )
        for variable, port in nginx_ports(claim).items()
    ]


def occupied(
    layout: SiteLayout, parameters: Mapping[str, Any], claimed: Collection[int], run: Run
) -> list[dict[str, Any]]:
    """Return the ports of the site that something on the host listens on, without those claimed."""
    listening = listeners()
    needed = needed_ports(
        parameters["worker_ports"],
        parameters["address"],
        nginx_ports(parameters["claim"]),
        parameters["metrics"],
    )
    held: dict[str, tuple[int, str]] = {}
    for inode, process, name in holders({at.inode for at in listening if at.port in needed}):
        held.setdefault(inode, (process, name))
    taken = taken_ports(listening, held, own_ports(layout, run), needed)
    return [port for port in taken if port["port"] not in claimed]


def problems(claim: Claim, claims: Mapping[str, Claim], run: Run) -> list[str]:
    """Return what keeps the site from being deployed on this host, each a sentence.

    Each kind of problem is a function in a room of its own, which yields its sentences.
    """
    site, user = claim["site"], claim["user"]
    own_user = claims.get(site, {}).get("user") == user
    return [
        *name_problems(claim),
        *collisions(claim, claims),
        *user_problems(user, site, own=own_user, run=run),
        *change_problems(claim, claims.get(site, {})),
        *home_problems(claim["home"], site, run),
    ]
