"""What follows from `aroundtheworld_pools`: settings, upstreams, order, claim."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from aroundtheworld_controller.commands import manager_words, unit_text
from aroundtheworld_controller.data.backups import makes_backups
from aroundtheworld_controller.nginx.client_certificates import client_ca_path
from aroundtheworld_controller.nginx.origin import origin
from aroundtheworld_controller.nginx.passwords import are_plain
from aroundtheworld_controller.unit_directives import directive_lines
from aroundtheworld_controller.variables import load_pool_settings

# Where a pool is of two kinds, the default of the later one counts.
KINDS = ("sticky", "blocking", "websocket", "stream", "command")
NOT_SET = (False, "", "none")
# The kinds of a pool without ports, whatever else it sets.
BACKGROUND = ("blocking", "command")
SHOWN = 10  # of a list of who may ask a pool for what


def is_background(pool: Mapping[str, Any]) -> bool:
    """Tell whether a pool has a command and no ports: nobody waits for what it does."""
    return bool(pool.get("command") and not pool.get("ports"))


def is_queue(pool: Mapping[str, Any]) -> bool:
    """Tell whether a pool's workers take work from a queue."""
    return is_background(pool) and not pool["at"]


def is_job(pool: Mapping[str, Any]) -> bool:
    """Tell whether a pool's command is run at times."""
    return is_background(pool) and bool(pool["at"])


def serving(pools: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the pools that serve visitors; nginx knows these only."""
    return [dict(pool) for pool in pools if pool["ports"]]


def pool_with_defaults(pool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a pool with every setting, those that it does not set by the defaults of its kind."""
    kinds = [kind for kind in KINDS if pool.get(kind, False) not in NOT_SET]
    return {**defaults_of(BACKGROUND if is_background(pool) else kinds), **pool}


def defaults_of(kinds: Iterable[str]) -> dict[str, Any]:
    """Return the defaults of pools that are of these kinds; a later one's count."""
    return {
        name: setting[kind]
        for kind in ("default", *kinds)
        for name, setting in load_pool_settings().items()
        if kind in setting
    }


def derive_pools(variables: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the pools with what units and nginx need of each.

    Every pool gets `instances`, the names of its workers as systemd's units have them, `upstream`,
    its name in nginx, `servers`, its workers' ``address:port``,
    `worker_cookie`, the name of the cookie by which a sticky pool knows a visitor's worker,
    `health`, how its processes prove themselves, `retry_after`, the seconds until an address may
    send a further request, and as a unit has them its own command, `exec`, and its own
    `directives`.
    """
    site, address = variables["aroundtheworld_site"], variables["aroundtheworld_listen_address"]
    host = bracketed(address)
    pools = []
    for pool in variables["aroundtheworld_pools"]:
        paths = [path.rstrip("/") or "/" for path in pool["paths"]]
        infix = "" if "/" in paths else f"_{pool['name']}"
        pools.append(
            {
                **pool,
                "paths": paths,
                "health": derive_health(variables, pool),
                "client_ca": client_ca_path(site, pool["client_ca"]),
                "access": access_text(pool, are_plain(variables)),
                "retry_after": derive_retry_after(pool["rate"]),
                "exec": unit_text(pool["command"]),
                "directives": directive_lines(pool["unit"]),
                "instances": instances(pool),
                "upstream": f"{site}{infix}_backends",
                "servers": [f"{host}:{port}" for port in pool["ports"]],
                "worker_cookie": f"{site}_{pool['name']}_worker",
            }
        )
    return pools


def instances(pool: Mapping[str, Any]) -> list[str]:
    """Return what the units of a pool's workers are called by: ports, or the pool and numbers.

    A job has no workers, but units of its own. No pool has a hyphen in its name, so no two of them
    have the same.
    """
    if not is_queue(pool):
        return [str(port) for port in pool["ports"]]
    return [f"{pool['name']}-{number + 1}" for number in range(pool["processes"])]


def bracketed(address: str) -> str:
    """Return an address as it is written before ``:port``: IPv6 in brackets.

    On hosts module_utils/aroundtheworld/sockets.py does the same.
    """
    return f"[{address}]" if ":" in address else address


def derive_addresses(variables: Mapping[str, Any]) -> dict[str, str]:
    """Return the addresses of workers and of the metrics as units have them."""
    return {
        "workers": bracketed(variables["aroundtheworld_listen_address"]),
        "metrics": bracketed(variables["aroundtheworld_metrics_address"]),
    }


def derive_health(variables: Mapping[str, Any], pool: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a process of a pool has to prove itself: a visitor's request, and the answers.

    The keys are those of `HealthCheck` in module_utils/aroundtheworld/health_check.py.
    """
    shared = (name for name in names_in_order(variables) if name != "_")
    names = pool["server_names"] or list(shared)
    name, http = names[0] if names else "localhost", variables["aroundtheworld_http_port"]
    scheme, _, host = origin(name, http=http, https=https_port(variables)).partition("://")
    return {
        "path": pool["health_path"] or variables["aroundtheworld_health_path"],
        # As visitors name it, and by what nginx says that they come.
        "host": host,
        "scheme": scheme,
        "statuses": pool["health_status"] or variables["aroundtheworld_health_status"],
    }


def access_text(pool: Mapping[str, Any], plain: bool) -> str:
    """Return who may ask a pool for what, as the status shows it; empty for everybody."""
    people = _listed(pool["basic_auth"])
    parts = {
        "on port": str(pool["http_port"] or ""),
        "under": _listed(pool["server_names"]),
        "from": _listed(pool["allow"]),
        "by password of": f"{people}, which is not encrypted" if people and plain else people,
        "by certificate": "of its CA" if pool["client_ca"] else "",
        "at": f"{pool['rate']} an address" if pool["rate"] else "",
    }
    return "; ".join(f"{name} {value}" for name, value in parts.items() if value)


def _listed(entries: Sequence[str]) -> str:
    """Return the first entries; nginx takes a comment of at most 4095 bytes."""
    more = len(entries) - SHOWN
    return ", ".join(entries[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def derive_retry_after(rate: str) -> int:
    """Return in how many seconds a rate such as ``30/m`` allows a further request."""
    number, _, unit = rate.partition("/")
    return math.ceil({"s": 1, "m": 60}[unit] / int(number)) if rate else 1  # the host's own limit


def names_in_order(variables: Mapping[str, Any]) -> list[str]:
    """Return the site's names, the one that visitors see first."""
    canonical = variables["aroundtheworld_canonical_name"]
    return sorted(variables["aroundtheworld_server_names"], key=lambda name: name != canonical)


def https_port(variables: Mapping[str, Any]) -> int:
    """Return the port of HTTPS, or 0 for a site without."""
    https = variables["aroundtheworld_tls"] != "none"
    return int(variables["aroundtheworld_https_port"]) if https else 0


def derive_commands(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the commands as units have them, and two as words for systemd-run."""
    return {
        "migrate": unit_text(variables["aroundtheworld_migrate_command"]),
        "schema_check": unit_text(variables["aroundtheworld_schema_check_command"]),
        "migrate_check": manager_words(variables["aroundtheworld_migrate_check_command"]),
        "data_check": manager_words(variables["aroundtheworld_data_check_command"]),
    }


def derive_up(pools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return how nginx learns whether the pool of ``/`` answers: `upstream`, `path`, `statuses`.

    The statuses are those of its health check, as far as they are not successes already.
    """
    pool = next(pool for pool in pools if "/" in pool["paths"])
    statuses = [
        status.value
        for status in HTTPStatus
        if status >= 300
        and {str(status.value), f"{status.value // 100}xx"} & {*pool["health"]["statuses"]}
    ]
    return {"upstream": pool["upstream"], "path": pool["health"]["path"], "statuses": statuses}


def restart_order(pools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the workers in the order of their replacement, for `aroundtheworld_workers`."""
    return [
        {
            "instance": instance,
            "pool": pool["name"],
            "blocking": pool["blocking"],
            "kind": kind(pool),
            "health": pool["health"],
            "start_timeout": pool["start_timeout"],
            "sticky": pool["sticky"] == "cookie",
        }
        # Queues first: what takes work has to understand it before the new release gives any. Then
        # blocking pools: only their operators notice when the release is bad.
        for pool in sorted(pools, key=lambda pool: (not is_queue(pool), not pool["blocking"]))
        for instance in pool["instances"]
    ]


def kind(pool: Mapping[str, Any]) -> str:
    """Return how a pool's workers get what they work on, as `Worker` in the rollout knows it."""
    if is_queue(pool):
        return "queue"
    if pool["command"]:
        return "binds" if pool["binds"] else "takes"
    return "runner"


def derive_claim(
    variables: Mapping[str, Any], pools: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what the site has for itself on its host, so that other sites there keep off."""
    sockets = [
        (variables["aroundtheworld_listen_address"], port, "aroundtheworld_pools")
        for pool in pools
        for port in pool["ports"]
    ]
    if port := variables["aroundtheworld_metrics_port"]:
        variable = "aroundtheworld_metrics_port"
        sockets.append((variables["aroundtheworld_metrics_address"], port, variable))
        sockets.append(("127.0.0.1", port + 1, variable))  # nginx's own numbers
    return {
        "site": variables["aroundtheworld_site"],
        "home": variables["aroundtheworld_home"],
        "user": variables["aroundtheworld_user"],
        "http_port": variables["aroundtheworld_http_port"],
        "https_port": https_port(variables),
        "proxy_protocol_port": variables["aroundtheworld_proxy_protocol_port"],
        "pool_ports": {pool["name"]: pool["http_port"] for pool in pools if pool["http_port"]},
        "server_names": names_in_order(variables),
        "pools": [pool["name"] for pool in serving(pools)],
        "queues": {pool["name"]: pool["processes"] for pool in pools if is_queue(pool)},
        "backup": makes_backups(variables),
        "jobs": [pool["name"] for pool in pools if is_job(pool)],
        "sockets": [
            {"address": address, "port": port, "variable": variable}
            for address, port, variable in sockets
        ],
    }
