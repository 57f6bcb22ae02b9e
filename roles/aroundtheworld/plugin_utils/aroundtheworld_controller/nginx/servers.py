"""The site's servers in nginx: one for all pools, and others for pools with their own names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

NAMES = "aroundtheworld_server_names"
PORTS = (
    "aroundtheworld_http_port",
    "aroundtheworld_https_port",
    "aroundtheworld_proxy_protocol_port",
)


def server_problems(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what keeps pools from having names of their own."""
    names, pools = variables[NAMES], variables["aroundtheworld_pools"]
    own = own_names(variables)
    for index, pool in enumerate(pools):
        where = f"aroundtheworld_pools[{index}].server_names"
        if pool["server_names"] and "/" in pool["paths"]:
            yield (
                f"{where}: {', '.join(pool['server_names'])} is not allowed in pool "
                f"{pool['name']!r}, which serves '/'; it has all names that no other pool has for "
                "itself."
            )
        yield from _port_problems(pool, f"aroundtheworld_pools[{index}].http_port", variables)
        for position, name in enumerate(pool["server_names"]):
            if name == "_" or name not in names:
                allowed = ", ".join(each for each in names if each != "_") or "none yet"
                yield (
                    f"{where}[{position}]: {name!r} is not allowed; it must be one of {NAMES}: "
                    f"{allowed}."
                )
        for other in pools[:index]:
            first, second = set(other["server_names"]), set(pool["server_names"])
            # nginx counts what a pool has in flight for each server.
            if first & second and first != second:
                yield (
                    f"{where}: {', '.join(pool['server_names'])} is not allowed; pool "
                    f"{other['name']!r} has {', '.join(other['server_names'])}, and two pools "
                    "share all of their names or none."
                )
    if names and own.issuperset(names):
        yield (
            f"{NAMES}: {', '.join(names)} are all names of pools for themselves; leave one for the "
            "others."
        )


def _port_problems(
    pool: Mapping[str, Any], where: str, variables: Mapping[str, Any]
) -> Iterator[str]:
    """Yield what keeps nginx from serving a pool on a port of its own."""
    port = pool["http_port"]
    if port and "/" in pool["paths"]:
        yield (
            f"{where}: {port} is not allowed in pool {pool['name']!r}, which serves '/'; it is on "
            "the site's own ports."
        )
    if port and pool["server_names"]:
        yield (
            f"{where}: {port} is not allowed beside server_names; pool {pool['name']!r} is either "
            "on a port of its own, under every name, or on the site's ports."
        )
    for name in PORTS:
        if port and port == variables[name]:
            yield f"{where}: {port} is not allowed; it is {name}, where the other pools are."


def derive_shape(
    variables: Mapping[str, Any], pools: Sequence[Mapping[str, Any]], waiting: Sequence[str] = ()
) -> dict[str, Any]:
    """Return which servers nginx has for which names of the site.

    That is its `servers`, the `leading` names that are sent to the canonical one, with those of
    them that are sent there over HTTP alone, `leading_plain`, and the names that are `redirected`
    to HTTPS.

    Args:
        variables: The site's variables.
        pools: Its pools.
        waiting: Names that the certificate lacks, until the CA has given one that has them. They
            are served over HTTP. Over HTTPS they have the certificate that there is, as before.
    """
    leading = derive_leading(variables, waiting)
    return {
        "servers": derive_servers(variables, pools, waiting),
        "leading": leading,
        "leading_plain": [name for name in leading if name in waiting],
        "redirected": [name for name in variables[NAMES] if name not in waiting],
    }


def derive_servers(
    variables: Mapping[str, Any], pools: Sequence[Mapping[str, Any]], waiting: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return nginx's servers for the site: `names`, names of `pools`, and the path of `client_ca`.

    The first is that of all pools without names of their own; where there is a canonical name, it
    has that alone. What is `plain` has no HTTPS whatever the site has.
    """
    leading = derive_leading(variables, waiting)
    shared = [name for name in variables[NAMES] if name not in {*leading, *own_names(variables)}]
    # Each by its port, 0 for the site's own, and its names.
    groups: dict[tuple[int, tuple[str, ...]], list[Mapping[str, Any]]] = {(0, tuple(shared)): []}
    for pool in pools:
        own = [name for name in variables[NAMES] if name in pool["server_names"]]
        names = own or (["_"] if pool["http_port"] else shared)
        groups.setdefault((pool["http_port"], tuple(names)), []).append(pool)
    servers: list[dict[str, Any]] = [
        {
            "names": list(names),
            "port": port,
            "pools": [pool["name"] for pool in group],
            "client_ca": next((pool["client_ca"] for pool in group if pool["client_ca"]), ""),
        }
        for (port, names), group in groups.items()
    ]
    shared_ports = [server for server in servers if not server["port"]]
    for server in shared_ports:
        if names := [name for name in server["names"] if name in waiting]:
            servers.append({**server, "names": names, "plain": True})
    if variables["aroundtheworld_proxy_protocol_port"]:
        # nginx takes a visitor's address from one place for each server.
        servers += [{**server, "proxy_protocol": True} for server in shared_ports]
    return servers


def derive_leading(variables: Mapping[str, Any], waiting: Sequence[str] = ()) -> list[str]:
    """Return the site's names that only lead to its canonical one; none do while that waits."""
    canonical = variables["aroundtheworld_canonical_name"]
    if canonical in waiting:
        return []
    others = {canonical, *own_names(variables)}
    return [name for name in variables[NAMES] if canonical and name not in others]


def own_names(variables: Mapping[str, Any]) -> set[str]:
    """Return the names that pools have for themselves."""
    return {name for pool in variables["aroundtheworld_pools"] for name in pool["server_names"]}
