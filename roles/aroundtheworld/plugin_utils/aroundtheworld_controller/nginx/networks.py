"""Addresses and networks of visitors, as people write them and nginx takes them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Any

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# Who may come over the Internet; the rest of IPv6 is nobody's or local.
EVERYBODY = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("2000::/3"))


def network_problems(
    networks: Sequence[str], name: str, *, everybody: bool = False
) -> Iterator[str]:
    """Yield which of `networks` are no addresses or networks, or not the one that is meant.

    `everybody` is whether they may be everybody's, one of them or all together.
    """
    problems = {
        index: _problem(network, everybody=everybody) for index, network in enumerate(networks)
    }
    for index, problem in problems.items():
        if problem:
            yield f"{name}[{index}]: {networks[index]!r} is not allowed; {problem}."
    if everybody or any(problems.values()):
        return
    for whole in joined(networks):
        if _is_everybody(whole):
            parts = ", ".join(map(repr, parts_of(whole, networks)))
            yield f"{name}: {parts} is not allowed; that is everybody."


def joined(networks: Sequence[str]) -> list[Network]:
    """Return the largest networks that addresses and networks make together.

    ``0.0.0.0/1`` and ``128.0.0.0/1`` are everybody, as ``0.0.0.0/0`` is.
    """
    every = [ipaddress.ip_network(network) for network in networks]
    families: list[list[Any]] = [[each for each in every if each.version == v] for v in (4, 6)]
    return [whole for family in families for whole in ipaddress.collapse_addresses(family)]


def parts_of(whole: Network, networks: Sequence[str]) -> list[str]:
    """Return those of `networks` that are in the network `whole`."""
    return [each for each in networks if _is_in(ipaddress.ip_network(each), whole)]


def _is_everybody(network: Network) -> bool:
    return any(_is_in(everybody, network) for everybody in EVERYBODY)


def _is_in(network: Network, whole: Network) -> bool:
    return network.overlaps(whole) and network.prefixlen >= whole.prefixlen


def _problem(network: str, *, everybody: bool) -> str:
    """Return what is wrong with a network, and how it is right; an empty text for nothing."""
    try:
        address = ipaddress.ip_interface(network)
    except ValueError:
        address = None
    if address is None or "%" in network:
        return "it must be an address or a network, as in '192.0.2.10' or '2001:db8::/32'"
    if isinstance(address, ipaddress.IPv6Interface) and (mapped := address.ip.ipv4_mapped):
        length = max(address.network.prefixlen - 96, 0)
        return f"write it as IPv4, '{ipaddress.ip_network(f'{mapped}/{length}', strict=False)}'"
    if address.ip != address.network.network_address:
        return f"write the network '{address.network}', or the address '{address.ip}'"
    return "that is everybody" if _is_everybody(address.network) and not everybody else ""
