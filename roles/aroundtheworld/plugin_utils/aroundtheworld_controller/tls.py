"""HTTPS: what keeps a site from having it, and what nginx and other tasks need to know of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from aroundtheworld_controller.pool_rules import port_problems
from aroundtheworld_controller.pools import https_port

HTTP, HTTPS = "aroundtheworld_http_port", "aroundtheworld_https_port"
PROXY = "aroundtheworld_proxy_protocol_port"
# What Debian's own packages are where nginx is not installed yet: nginx and OpenSSL.
VERSIONS = {"debian 12": ((1, 22), (3, 0)), "debian 13": ((1, 26), (3, 5))}
HTTP2_DIRECTIVE = (1, 25, 1)  # before, it is an option of `listen`
TICKET_KEYS_CHANGE = (1, 23, 2)
POST_QUANTUM = (3, 5)
CURVES = "X25519:prime256v1:secp384r1"


def nginx_ports(variables: Mapping[str, Any]) -> dict[int, str]:
    """Return the ports on which nginx serves the site, each with its variable."""
    ports = {variables[HTTP]: HTTP}
    if https := https_port(variables):
        ports[https] = HTTPS
    if proxy := variables[PROXY]:
        ports[proxy] = PROXY
    return ports


def tls_problems(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the variables of HTTPS, without the certificate itself."""
    yield from port_problems(variables[HTTPS], HTTPS)
    if variables["aroundtheworld_tls"] != "none" and variables[HTTP] == variables[HTTPS]:
        yield (
            f"{HTTPS}: {variables[HTTPS]} is not allowed; it is aroundtheworld_http_port, where "
            "nginx sends visitors to HTTPS."
        )


def derive_tls(variables: Mapping[str, Any], host: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the site's HTTPS is; without a `certificate`, nginx serves HTTP only.

    Args:
        variables: The site's variables.
        host: What the module ``aroundtheworld_host`` observed.
    """
    mode, port = variables["aroundtheworld_tls"], variables[HTTPS]
    certificate = key = ""
    if mode == "files":
        text = variables["aroundtheworld_tls_certificate"]
        certificate, key = paths(variables["aroundtheworld_site"], text)
    elif mode == "acme":  # both are empty until the CA has given the first
        certificate, key = host["acme"]["certificate"], host["acme"]["key"]
    nginx, openssl = versions(host)
    http2 = "directive" if nginx >= HTTP2_DIRECTIVE else "listen"
    if http2 == "listen" and _port(port, host).get("others_without_http2"):
        http2 = ""
    return {
        "mode": mode,
        "certificate": certificate,
        "key": key,
        "names": variables["aroundtheworld_server_names"],
        "port": port,
        "port_suffix": "" if port == 443 else f":{port}",
        "hsts": "",
        "http2": http2,
        "tickets": nginx >= TICKET_KEYS_CHANGE,
        "curves": f"X25519MLKEM768:{CURVES}" if openssl >= POST_QUANTUM else CURVES,
    }


def paths(site: str, certificate: str) -> tuple[str, str]:
    """Return where a host has a certificate that the role writes, and its key.

    Their names follow from the certificate. So nginx never reads the one with the other's key,
    wherever a run was cut off, and another certificate is another configuration.
    """
    digest = hashlib.sha256(certificate.strip().encode()).hexdigest()[:12]
    directory = f"/etc/{site}/tls"
    return f"{directory}/certificate-{digest}.pem", f"{directory}/key-{digest}.pem"


def versions(host: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the versions of nginx and its OpenSSL that the host has or will have."""
    nginx, openssl = VERSIONS.get(host["distribution"], VERSIONS["debian 12"])
    found = host["nginx"]
    return tuple(found.get("version") or nginx), tuple(found.get("openssl") or openssl)


def derive_listen(variables: Mapping[str, Any], host: Mapping[str, Any]) -> dict[str, Any]:
    """Return where nginx listens for ``http``, ``https`` and the ``proxy`` protocol.

    ``unknown`` has for both where it listens for names that nobody on the host has: not where
    somebody else's server gets them, and nowhere for a site that gets every name itself.
    """
    ports = {"http": variables[HTTP], "https": variables[HTTPS], "proxy": variables[PROXY]}
    ports = {kind: port for kind, port in ports.items() if port}
    every_name = "_" in variables["aroundtheworld_server_names"]
    return {
        **{scheme: _addresses(port, host) for scheme, port in ports.items()},
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
