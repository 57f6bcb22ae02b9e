"""HTTPS: what keeps a site from having it, and what nginx and other tasks need to know of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aroundtheworld_controller.nginx.acme import lineage_name
from aroundtheworld_controller.nginx.certificates import (
    certificate_problems,
    is_address,
    key_problems,
)
from aroundtheworld_controller.nginx.local_ca import ca_files, local_certificate
from aroundtheworld_controller.nginx.origin import origin
from aroundtheworld_controller.nginx.servers import own_names
from aroundtheworld_controller.pool_rules import PATH, port_problems
from aroundtheworld_controller.pools import https_port

HTTP, HTTPS = "aroundtheworld_http_port", "aroundtheworld_https_port"
PROXY = "aroundtheworld_proxy_protocol_port"
# What Debian's own packages are where nginx is not installed yet: nginx and OpenSSL.
VERSIONS = {"debian 12": ((1, 22), (3, 0)), "debian 13": ((1, 26), (3, 5))}
HTTP2_DIRECTIVE = (1, 25, 1)  # before, it is an option of `listen`
TICKET_KEYS_CHANGE = (1, 23, 2)
POST_QUANTUM = (3, 5)
# The variables that a mode needs, and that mean nothing in any other.
MODE_VARIABLES = {
    "files": ("aroundtheworld_tls_certificate", "aroundtheworld_tls_key"),
    "host": ("aroundtheworld_tls_certificate_file", "aroundtheworld_tls_key_file"),
}
CURVES = "X25519:prime256v1:secp384r1"


def nginx_ports(variables: Mapping[str, Any]) -> dict[int, str]:
    """Return the ports on which nginx serves the site, each with its variable."""
    ports = {variables[HTTP]: HTTP}
    if https := https_port(variables):
        ports[https] = HTTPS
    if proxy := variables[PROXY]:
        ports[proxy] = PROXY
    for index, pool in enumerate(variables["aroundtheworld_pools"]):
        if port := pool["http_port"]:
            ports.setdefault(port, f"aroundtheworld_pools[{index}].http_port")
    return ports


def tls_problems(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the variables of HTTPS, without the certificate itself."""
    mode, names = variables["aroundtheworld_tls"], variables["aroundtheworld_server_names"]
    site = variables["aroundtheworld_site"]
    yield from port_problems(variables[HTTPS], HTTPS)
    if mode != "none" and variables[HTTP] == variables[HTTPS]:
        yield (
            f"{HTTPS}: {variables[HTTPS]} is not allowed; it is aroundtheworld_http_port, where "
            "nginx sends visitors to HTTPS."
        )
    for needed, own in MODE_VARIABLES.items():
        for variable in own:
            if mode == needed and not variables[variable]:
                yield f"{variable}: is missing; aroundtheworld_tls: {mode} needs it."
            elif mode != needed and variables[variable]:
                yield (
                    f"{variable}: is set, but aroundtheworld_tls is {mode!r}; it is for "
                    f"{needed!r} only."
                )
    for variable in MODE_VARIABLES["host"]:
        if (path := variables[variable]) and not PATH.fullmatch(path):
            yield (
                f"{variable}: {path!r} is not allowed; it must be an absolute path on the host, of "
                "letters, digits, '-', '.', '_' and '~'."
            )
        elif path.startswith(f"/etc/letsencrypt/live/{lineage_name(site)}/"):
            yield (
                f"{variable}: {path!r} is not allowed; the role has it for aroundtheworld_tls: "
                "acme only, and deletes it otherwise."
            )
    canonical = variables["aroundtheworld_canonical_name"]
    others = {"_", *own_names(variables)}
    allowed = [name for name in names if name not in others and not name.startswith("*.")]
    if canonical and canonical not in allowed:
        yield (
            f"aroundtheworld_canonical_name: {canonical!r} is not allowed; allowed, of "
            f"aroundtheworld_server_names: {', '.join(allowed) or 'none'}."
        )
    if variables["aroundtheworld_hsts_seconds"] < 0:
        yield (
            f"aroundtheworld_hsts_seconds: {variables['aroundtheworld_hsts_seconds']} is not "
            "allowed; it must be a number of seconds from 0."
        )


def given_problems(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the certificate and key that the variables have."""
    text, key = (variables[variable] for variable in MODE_VARIABLES["files"])
    if variables["aroundtheworld_tls"] == "files":
        names = variables["aroundtheworld_server_names"]
        yield from certificate_problems(text, names, "aroundtheworld_tls_certificate")
        yield from key_problems(text, key, "aroundtheworld_tls_key")


class Certificate(NamedTuple):
    """A certificate that a run brings to the host, and on the controller its files, if any."""

    text: str
    source: dict[str, str]


def brought_certificate(
    variables: Mapping[str, Any], address: str, directory: Path
) -> Certificate | None:
    """Return the certificate that a run brings to the host, if it does.

    Args:
        variables: The site's variables.
        address: Where the controller finds the host, for a site that answers to every name.
        directory: The CA of the controller's own.
    """
    if variables["aroundtheworld_tls"] == "files":
        return Certificate(variables["aroundtheworld_tls_certificate"], {})
    if variables["aroundtheworld_tls"] != "local":
        return None
    names = [name for name in variables["aroundtheworld_server_names"] if name != "_"]
    pair = local_certificate(names or [address], directory)
    source = {"certificate": str(pair.certificate), "key": str(pair.key)}
    return Certificate(
        pair.certificate.read_text(), {**source, "ca": str(ca_files(directory).certificate)}
    )


def host_files(variables: Mapping[str, Any]) -> dict[str, str]:
    """Return the files of a certificate and its key that somebody else keeps on the host."""
    if variables["aroundtheworld_tls"] != "host":
        return {}
    certificate, key = (variables[variable] for variable in MODE_VARIABLES["host"])
    return {"certificate": certificate, "key": key}


def host_certificate_problems(
    variables: Mapping[str, Any], host: Mapping[str, Any]
) -> Iterator[str]:
    """Yield what is wrong with the certificate that is on the host; it tries the key itself."""
    if variables["aroundtheworld_tls"] == "host":
        found, names = host["tls"], variables["aroundtheworld_server_names"]
        yield from found["problems"]
        if found["certificate"]:
            where = MODE_VARIABLES["host"][0]
            yield from certificate_problems(found["certificate"], names, where)


def hsts_problems(
    variables: Mapping[str, Any], tls: Mapping[str, Any], host: Mapping[str, Any]
) -> Iterator[str]:
    """Yield a problem when browsers would refuse to open the site, as it told them before."""
    was_sent = host["hsts"] and host["acme"]["certificate"]  # of whichever kind, in nginx now
    if not was_sent or tls["hsts"] or variables["aroundtheworld_hsts_give_up"]:
        return
    days = host["hsts"] / 86400
    if tls["mode"] in ("none", "local"):
        what = f"aroundtheworld_tls: {tls['mode']!r}"
    else:
        what = f"{HTTPS}: {tls['port']}" if tls["port"] != 443 else "aroundtheworld_server_names"
    yield (
        f"{what} is refused; browsers that were here come back only over HTTPS, on port 443, with "
        f"a certificate that they trust, for up to {days:.0f} days (HSTS), and otherwise show an "
        "error with no way past it. To make them forget, stay on HTTPS with "
        "aroundtheworld_hsts_seconds: 0 until they have been here again. If it is meant, set "
        "aroundtheworld_hsts_give_up: true."
    )


def http2_warnings(tls: Mapping[str, Any], host: Mapping[str, Any]) -> Iterator[str]:
    """Yield why the site has no HTTP/2."""
    if tls["mode"] != "none" and not tls["http2"]:
        others = ", ".join(_port(tls["port"], host)["others_without_http2"])
        yield (
            "nginx: the site goes without HTTP/2, because this version of nginx would switch it on "
            f"for {others} too; add 'http2' there, and run again."
        )


def derive_tls(
    variables: Mapping[str, Any], host: Mapping[str, Any], certificate: str = ""
) -> dict[str, Any]:
    """Return what the site's HTTPS is; without a `certificate`, nginx serves HTTP only.

    Args:
        variables: The site's variables.
        host: What the module ``aroundtheworld_host`` observed.
        certificate: The text of a certificate that the role brings to the host.
    """
    mode, port = variables["aroundtheworld_tls"], variables[HTTPS]
    canonical, files = variables["aroundtheworld_canonical_name"], host_files(variables)
    if certificate:
        files = paths(variables["aroundtheworld_site"], certificate)
    elif mode in ("acme", "files", "local"):
        # Both are empty until a CA has given the first; a rollback leaves nginx what it has.
        files = {kind: host["acme"][kind] for kind in ("certificate", "key")}
    nginx, openssl = versions(host)
    http2 = "directive" if nginx >= HTTP2_DIRECTIVE else "listen"
    if http2 == "listen" and _port(port, host).get("others_without_http2"):
        http2 = ""
    return {
        "mode": mode,
        "certificate": files.get("certificate", ""),
        "key": files.get("key", ""),
        "names": variables["aroundtheworld_server_names"],
        # Any other certificate is refused when it lacks a name.
        "waiting": host["acme"]["waiting"] if mode == "acme" else [],
        "by_address": any(map(is_address, variables["aroundtheworld_server_names"])),
        "port": port,
        "origin": origin("$host", https=port),
        "canonical": {
            "http": origin(canonical, http=variables[HTTP]),
            "https": origin(canonical, https=port),
        },
        "hsts": hsts(variables),
        "http2": http2,
        "tickets": nginx >= TICKET_KEYS_CHANGE,
        "curves": f"?X25519MLKEM768:{CURVES}" if openssl >= POST_QUANTUM else CURVES,
    }


def hsts(variables: Mapping[str, Any]) -> str:
    """Return the header that has browsers come back over HTTPS only, or an empty text.

    Not by a certificate that they do not trust, and not on another port: browsers go to 443 then.
    They pass over the header of a site that has an address for its name.
    """
    trusted = variables["aroundtheworld_tls"] not in ("none", "local")
    names = variables["aroundtheworld_server_names"]
    if not trusted or variables[HTTPS] != 443 or all(map(_is_no_name, names)):
        return ""
    subdomains = "; includeSubDomains" if variables["aroundtheworld_hsts_subdomains"] else ""
    return f"max-age={variables['aroundtheworld_hsts_seconds']}{subdomains}"


def hsts_sent(variables: Mapping[str, Any], tls: Mapping[str, Any], host: Mapping[str, Any]) -> int:
    """Return for how long browsers may remember at most that the site has HTTPS, for its claim."""
    return int(max(variables["aroundtheworld_hsts_seconds"], host["hsts"])) if tls["hsts"] else 0


def _is_no_name(name: str) -> bool:
    return name == "_" or is_address(name)


def paths(site: str, certificate: str) -> dict[str, str]:
    """Return where a host has a certificate that the role writes, and its key.

    Their names follow from the certificate. So nginx never reads the one with the other's key,
    wherever a run was cut off, and another certificate is another configuration.
    """
    digest = hashlib.sha256(certificate.strip().encode()).hexdigest()[:12]
    return {kind: f"/etc/{site}/tls/{kind}-{digest}.pem" for kind in ("certificate", "key")}


def versions(host: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the versions of nginx and its OpenSSL that the host has or will have."""
    nginx, openssl = VERSIONS.get(host["distribution"], VERSIONS["debian 12"])
    found = host["nginx"]
    return tuple(found.get("version") or nginx), tuple(found.get("openssl") or openssl)


def derive_listen(variables: Mapping[str, Any], host: Mapping[str, Any]) -> dict[str, Any]:
    """Return where nginx listens for ``http``, ``https``, the ``proxy`` protocol and ``pools``.

    ``unknown`` has for both where it listens for names that nobody on the host has: not where
    somebody else's server gets them, and nowhere for a site that gets every name itself.
    """
    ports = {"http": variables[HTTP], "https": variables[HTTPS], "proxy": variables[PROXY]}
    ports = {kind: port for kind, port in ports.items() if port}
    every_name = "_" in variables["aroundtheworld_server_names"]
    own = {pool["http_port"] for pool in variables["aroundtheworld_pools"] if pool["http_port"]}
    return {
        **{scheme: _addresses(port, host) for scheme, port in ports.items()},
        "pools": {str(port): _addresses(port, host) for port in sorted(own)},
        "unknown": {
            scheme: [] if every_name else _free(port, host) for scheme, port in ports.items()
        },
    }


def _addresses(port: int, host: Mapping[str, Any]) -> list[str]:
    if _port(port, host).get("dual_stack"):
        return [f"[::]:{port}"]
    return [str(port), f"[::]:{port}"] if host["ipv6"] else [str(port)]


def _free(port: int, host: Mapping[str, Any]) -> list[str]:
    directives = {"*": str(port), "[::]": f"[::]:{port}"}
    free = [directives[address] for address in _port(port, host).get("free", ())]
    return [each for each in free if each in _addresses(port, host)]


def _port(port: int, host: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the host says of a port; JSON has made its number a text."""
    found: Mapping[str, Any] = host["nginx"].get("ports", {}).get(str(port), {})
    return found
