"""Addresses and networks of visitors, as people write them and nginx takes them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence


def network_problems(
    networks: Sequence[str], name: str, *, everybody: bool = False
) -> Iterator[str]:
    """Yield which of `networks` are no addresses or networks, or not the one that is meant.

    `everybody` is whether one of them may be everybody's.
    """
    for index, network in enumerate(networks):
        problem = _problem(network)
        if not problem and not everybody and not ipaddress.ip_network(network).prefixlen:
            problem = "that is everybody"
        if problem:
            yield f"{name}[{index}]: {network!r} is not allowed; {problem}."


def _problem(network: str) -> str:
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
    return ""
