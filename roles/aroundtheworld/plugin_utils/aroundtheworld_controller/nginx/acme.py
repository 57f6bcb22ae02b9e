"""A certificate from an ACME CA: what keeps a site from getting one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from aroundtheworld_controller.nginx.certificates import is_address

DIRECTORY = re.compile(r"https://[A-Za-z0-9\[][!-.0-~]*(/[!-~]*)?")
HTTP_PORT = 80  # a CA asks there, whatever the site's ports are


def acme_problems(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the variables of a site with `aroundtheworld_tls: acme`."""
    if variables["aroundtheworld_tls"] != "acme":
        return
    for index, name in enumerate(variables["aroundtheworld_server_names"]):
        if why := name_problem(name):
            yield (
                f"aroundtheworld_server_names[{index}]: {name!r} is not allowed with "
                f"aroundtheworld_tls 'acme'; {why}. Give host names that lead to the host, as in "
                "'www.example.org'."
            )
    if (port := variables["aroundtheworld_http_port"]) != HTTP_PORT:
        yield (
            f"aroundtheworld_http_port: {port} is not allowed with aroundtheworld_tls 'acme'; it "
            f"must be {HTTP_PORT}, where the CA looks whether the names lead to the host."
        )
    directory = variables["aroundtheworld_acme_directory"]
    if not DIRECTORY.fullmatch(directory):
        yield (
            f"aroundtheworld_acme_directory: {directory!r} is not allowed; it must be the URL of a "
            "CA's directory, as in 'https://acme-v02.api.letsencrypt.org/directory'."
        )
    email = variables["aroundtheworld_acme_email"]
    name, _, domain = email.partition("@")
    if email and (not name or "." not in domain or not email.isprintable() or " " in email):
        yield (
            f"aroundtheworld_acme_email: {email!r} is not allowed; it must be one address, as in "
            "'ada@example.org', or empty."
        )


def name_problem(name: str) -> str:
    """Return why a CA gives no certificate for a name in this way, or an empty text."""
    if name == "_":
        return "a certificate is for names"
    if name.startswith("*."):
        return "for a wildcard, a CA wants a record in DNS and not a file"
    if is_address(name):
        return "a certificate is for names and not for addresses"
    return "" if "." in name and "_" not in name else "no CA gives a certificate for it"


def lineage_name(site: str) -> str:
    """Return what certbot on the host calls the site's certificate.

    On hosts module_utils/aroundtheworld/acme/lineage.py does the same.
    """
    return f"aroundtheworld-{site}"


def lineage_problems(
    variables: Mapping[str, Any], host: Mapping[str, Any], name: str
) -> Iterator[str]:
    """Yield why certbot on the host cannot have the site's certificate.

    Args:
        variables: The site's variables.
        host: What the module ``aroundtheworld_host`` observed.
        name: What the inventory calls the host.
    """
    if variables["aroundtheworld_tls"] == "acme" and host["acme"]["is_foreign"]:
        lineage = lineage_name(variables["aroundtheworld_site"])
        yield (
            f"{name}: certbot has a certificate {lineage} that the role did not have made. Delete "
            f"it there (`certbot delete --cert-name {lineage}`), or choose another "
            "aroundtheworld_site."
        )
