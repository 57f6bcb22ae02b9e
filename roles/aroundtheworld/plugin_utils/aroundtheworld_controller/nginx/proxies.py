"""Proxies before the site, whose word about the visitor's address and scheme counts."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aroundtheworld_controller.nginx.networks import joined, network_problems, parts_of
from aroundtheworld_controller.pool_rules import port_problems
from aroundtheworld_controller.pools import https_port

VARIABLE = "aroundtheworld_trusted_proxies"
EVERYBODY = "everybody"
# The largest networks that can be one operator's: 10.0.0.0/8 and fc00::/7.
LARGEST = {4: 8, 6: 7}


def proxy_port_problems(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what keeps the PROXY protocol from a port of its own."""
    name = "aroundtheworld_proxy_protocol_port"
    if not (port := variables[name]):
        return
    yield from port_problems(port, name)
    others = {
        variables["aroundtheworld_http_port"]: "aroundtheworld_http_port",
        https_port(variables): "aroundtheworld_https_port",
    }
    if port in others:
        yield (
            f"{name}: {port} is not allowed; it is {others[port]}, where visitors come without "
            "the PROXY protocol."
        )
    if not variables[VARIABLE]:
        yield (
            f"{name}: {port} is not allowed without {VARIABLE}, which says whose word about "
            "visitors counts there."
        )


def proxy_problems(proxies: Sequence[str]) -> Iterator[str]:
    """Yield what keeps `aroundtheworld_trusted_proxies` from being proxies of the operator's."""
    if EVERYBODY in proxies:
        if len(proxies) > 1:
            yield f"{VARIABLE}: {EVERYBODY!r} is not allowed beside other entries."
        return
    if problems := list(network_problems(proxies, VARIABLE, everybody=True)):
        yield from problems
        return
    for whole in joined(proxies):
        if whole.prefixlen < (largest := LARGEST[whole.version]):
            parts = ", ".join(parts_of(whole, proxies))
            yield (
                f"{VARIABLE}: {parts} is not allowed; so many could claim to be any "
                f"visitor. At most /{largest} is; or write '{EVERYBODY}' alone, if nobody but your "
                "proxies can reach the site's ports."
            )


def derive_proxies(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `networks` that are trusted, and whether an address is looked for `recursive`.

    If everybody is trusted, only the last address is believed, which the proxy itself has added:
    all before it may be a visitor's invention.
    """
    proxies = variables[VARIABLE]
    if EVERYBODY in proxies:
        return {"networks": ["0.0.0.0/0", "::/0"], "recursive": False}
    networks = dict.fromkeys(str(ipaddress.ip_network(proxy)) for proxy in proxies)
    return {"networks": list(networks), "recursive": True}


def decided_proxies(variables: Mapping[str, Any]) -> list[str]:
    """Return the directive of nginx's by which the site has trusted proxies, if it has any."""
    return ["set_real_ip_from"] if variables[VARIABLE] else []
