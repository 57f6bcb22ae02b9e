"""Certificates of clients: the CA that issues them, for a pool that is for its people only."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from cryptography import x509

from aroundtheworld_controller.nginx.certificates import line_problem


def client_ca_problems(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what keeps nginx from asking a pool's visitors, and nobody else, for a certificate."""
    pools = variables["aroundtheworld_pools"]
    for index, pool in enumerate(pools):
        if not pool["client_ca"]:
            continue
        where = f"aroundtheworld_pools[{index}].client_ca"
        if variables["aroundtheworld_tls"] == "none":
            yield f"{where}: without HTTPS there are no certificates; set aroundtheworld_tls."
        own = (pool["http_port"], pool["server_names"])
        if not any(own):
            yield (
                f"{where}: pool {pool['name']!r} needs server_names or http_port of its own; nginx "
                "asks for a certificate before it knows the path, and so would ask the visitors of "
                "all pools."
            )
        for other in pools[:index]:
            same = own == (other["http_port"], other["server_names"])
            if same and other["client_ca"] and other["client_ca"] != pool["client_ca"]:
                yield (
                    f"{where}: it is not the one of pool {other['name']!r}, which is on the same "
                    "names and port; these have one CA, or several in one text."
                )
        yield from _certificate_problems(pool["client_ca"], where)


def _certificate_problems(text: str, where: str) -> Iterator[str]:
    try:
        certificates = x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        yield (
            f"{where}: it is no certificate as PEM; give the CA's, as in "
            "\"{{ lookup('file', 'office-ca.pem') }}\"."
        )
        return
    if problem := line_problem(text, where):
        yield problem
        return
    now = datetime.datetime.now(datetime.UTC)
    subjects = {certificate.subject for certificate in certificates}
    for certificate in certificates:
        name = certificate.subject.rfc4514_string()
        try:
            kind = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        except x509.ExtensionNotFound:
            kind = None  # one of the first version, which only a CA would trust
        if kind and not kind.value.ca:
            yield f"{where}: the certificate of {name!r} is not one of a CA."
        if certificate.issuer not in subjects:
            yield (
                f"{where}: {certificate.issuer.rfc4514_string()!r} has issued the certificate of "
                f"{name!r}, and nginx takes that only with the issuer's in the same text; then who "
                "has a certificate of either comes in."
            )
        end = certificate.not_valid_after_utc
        if end < now:
            yield f"{where}: the certificate of {name!r} has expired on {end:%Y-%m-%d}."


def client_ca_path(site: str, text: str) -> str:
    """Return where a host has a pool's CA, or an empty text; another CA is at another path."""
    if not text:
        return ""
    digest = hashlib.sha256(text.strip().encode()).hexdigest()[:12]
    return f"/etc/{site}/tls/client-ca-{digest}.pem"


def derive_client_cas(variables: Mapping[str, Any]) -> dict[str, str]:
    """Return the files with the CAs of pools, path to content."""
    site = variables["aroundtheworld_site"]
    texts = [pool["client_ca"] for pool in variables["aroundtheworld_pools"]]
    return {client_ca_path(site, text): f"{text.strip()}\n" for text in texts if text}
