"""What each site on a host has for itself, so that no two take the same.

Each site has a claim, the file ``/etc/SITE/aroundtheworld.json``. It also lists what to remove with
the site, whatever the inventory says by then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.layout import CLAIM, ETC

# The comment in the user database about a user that the role made.
MADE_BY = "Made by the aroundtheworld role"

KEYS = {"site", "home", "user", "http_port", "server_names", "pools", "sockets"}
# The variables of ports that nginx serves for several sites at once, and their keys in a claim.
HTTP_PORT = "aroundtheworld_http_port"
HTTPS_PORT = "aroundtheworld_https_port"
PROXY_PORT = "aroundtheworld_proxy_protocol_port"
NGINX = {
    HTTP_PORT: "http_port",
    HTTPS_PORT: "https_port",
    PROXY_PORT: "proxy_protocol_port",
}
POOL_PORT = "aroundtheworld_pools: http_port of pool"  # and the pool's name
Claim = Mapping[str, Any]


def claim_text(claim: Claim) -> str:
    """Return a claim as it is in its file."""
    return json.dumps(claim, indent=2, sort_keys=True) + "\n"


def removed(claim: Claim) -> dict[str, Any]:
    """Return what a removed site still claims, because its data stays."""
    kept = {key: claim[key] for key in ("site", "home", "user")}
    # Its units and files are gone; who made the directories and the user is still to be known.
    has = {**claim.get("has", {}), "files": []}
    ports = dict.fromkeys(NGINX.values(), 0)
    nothing = {**ports, "pool_ports": {}, "pools": [], "server_names": [], "sockets": []}
    return {**kept, **nothing, **({"has": has} if "has" in claim else {})}


def read_claims(etc: Path = ETC) -> dict[str, dict[str, Any]]:
    """Return the claim of every site on the host, by the site's name."""
    claims = {}
    for path in sorted(etc.glob(f"*/{CLAIM}")):
        try:
            claim = json.loads(path.read_text())
        except (OSError, ValueError):  # it goes, or is no claim
            continue
        if isinstance(claim, dict) and claim.keys() >= KEYS:
            claims[path.parent.name] = claim
    return claims


def overlap(first: str, second: str) -> bool:
    """Tell whether sockets on these two addresses and one port exclude each other."""
    return first == second or bool({first, second} & {"0.0.0.0", "::"})  # noqa: S104 - not bound


def claimed_ports(mine: Claim, others: Mapping[str, Claim]) -> dict[int, tuple[str, str]]:
    """Return which ports another site has, each with this site's variable and the other's name."""
    claimed = {}
    own = [*mine["sockets"], *_nginx(mine)]
    for name, other in others.items():
        if name == mine["site"]:
            continue
        for socket in own:
            for taken in (*other["sockets"], *_nginx(other)):
                variable = socket["variable"]
                both_nginx = variable == taken["variable"] in NGINX and (
                    variable != PROXY_PORT or has_https(mine) == has_https(other)
                )
                addresses = socket["address"], taken["address"]
                same = socket["port"] == taken["port"] and overlap(*addresses)
                if same and not both_nginx:  # which serves both
                    claimed[socket["port"]] = (variable, name)
    return claimed


def _nginx(claim: Claim) -> list[dict[str, Any]]:
    return [
        {"address": "::", "port": port, "variable": variable}
        for variable, port in nginx_ports(claim).items()
    ]


def has_https(claim: Claim) -> bool:
    """Tell whether a site has HTTPS."""
    return bool(claim.get("https_port"))


def has_tls(claim: Claim, variable: str) -> bool:
    """Tell whether a site has HTTPS on the port of a variable."""
    return has_https(claim) and variable != HTTP_PORT


def nginx_ports(claim: Claim) -> dict[str, int]:
    """Return the port of each variable on which nginx serves a site; older claims have one."""
    ports = {variable: port for variable, key in NGINX.items() if (port := claim.get(key, 0))}
    return ports | _own_ports(claim)


def served_names(claim: Claim, variable: str) -> tuple[str, ...]:
    """Return the host names under which nginx serves a site on the port of a variable."""
    return ("_",) if variable in _own_ports(claim) else tuple(claim["server_names"])


def _own_ports(claim: Claim) -> dict[str, int]:
    """Return the port of each pool that has one for itself, by what people call its variable."""
    pools = claim.get("pool_ports", {}).items()
    return {f"{POOL_PORT} {pool!r}": port for pool, port in pools}


def is_nginxs(variable: str) -> bool:
    """Tell whether nginx listens on the port of a variable."""
    return variable in NGINX or variable.startswith(POOL_PORT)


def collisions(mine: Claim, claims: Mapping[str, Claim]) -> Iterator[str]:
    """Yield what is in `mine` although another site on the host has it, each a sentence."""
    site = mine["site"]
    before = claims.get(site, mine)["home"]
    if before != mine["home"] and Path(before).exists():
        yield (
            f"aroundtheworld_home: {mine['home']!r} is not where the site {site!r} is on this "
            f"host, which is {before!r}. Another site needs another aroundtheworld_site; to move "
            "this one, remove it with --tags remove, which keeps its data, and move what is left."
        )
    for port, (variable, name) in sorted(claimed_ports(mine, claims).items()):
        yield f"{variable}: port {port} belongs to the site {name!r} on this host; choose another."
    for name, other in claims.items():
        if name == site:
            continue
        if mine["user"] == other["user"]:
            yield (
                f"aroundtheworld_user: {mine['user']!r} is the user of the site {name!r} on this "
                "host; each site needs its own, or one could read what the other keeps."
            )
        home, others = Path(mine["home"]), Path(other["home"])
        if home.is_relative_to(others) or others.is_relative_to(home):
            yield (
                f"aroundtheworld_home: {mine['home']!r} and the home of the site {name!r} on this "
                f"host, {other['home']!r}, lie within one another; give each a directory of its "
                "own."
            )
        for variable, port in nginx_ports(mine).items():
            if port != nginx_ports(other).get(variable):
                continue
            for shared in sorted({*mine["server_names"]} & {*other["server_names"]}):
                words = "every name" if shared == "_" else repr(shared)
                yield (
                    f"aroundtheworld_server_names: {words} on port {port} is answered by the site "
                    f"{name!r} on this host; give other names or another {variable}."
                )
        for prefix in sorted(_prefixes(mine) & _prefixes(other)):
            yield (
                f"aroundtheworld_site: {site!r} and the site {name!r} on this host would both have "
                f"{prefix!r} at the beginning of names in nginx; call the site or its pool "
                "otherwise."
            )


def _prefixes(claim: Claim) -> set[str]:
    """Return what names of nginx begin with that belong to the site."""
    return {claim["site"], *(f"{claim['site']}_{pool}" for pool in claim["pools"])}
