"""Headers by which apps learn about a visitor, and which a visitor could make up.

Tornado, Werkzeug, gunicorn, waitress, uvicorn, hypercorn and Django believe them, or CDNs and other
proxies send them. Servers in Python read ``_`` as ``-`` in a header's name, and nginx passes such a
name on if the first server of the address allows it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

# nginx sets these itself, in templates/nginx/settings.conf.j2.
SET = ("X-Real-IP", "X-Forwarded-For", "X-Forwarded-Proto", "X-Request-ID")
# nginx passes these on as it has read them, and a server in Python might believe another spelling.
OF_A_BODY = ("Content-Length", "Content-Type", "Transfer-Encoding")
CLEARED = (
    "Forwarded",
    # The scheme
    "X-Scheme",
    "X-Url-Scheme",
    "X-Forwarded-Scheme",
    "X-Forwarded-Protocol",
    "X-Forwarded-Ssl",
    "X-Forwarded-Https",
    "X-Forwarded-Tls",
    "X-Proto",
    "X-Https",
    "X-Arr-Ssl",
    "Https",
    "Front-End-Https",
    "Fastly-Ssl",
    "CF-Visitor",
    "WL-Proxy-SSL",
    # Host, port and path
    "X-Forwarded",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Path",
    "X-Forwarded-Uri",
    "X-Forwarded-Method",
    "X-Forwarded-Server",
    "X-Forwarded-Context",
    "X-Host",
    "X-Host-Override",
    "X-Http-Host-Override",
    "X-Original-Host",
    "X-Original-Proto",
    "X-Original-Method",
    "X-Original-Url",
    "X-Original-Uri",
    "X-Rewrite-Url",
    "X-Http-Destinationurl",
    "X-Script-Name",
    "Script-Name",
    "Path-Info",
    "Request-Uri",
    "Server-Name",
    "Server-Port",
    "X-Real-Port",
    # The visitor's address
    "X-Forwarded-By",
    "X-Forwarded-Client-Ip",
    "X-Original-For",
    "X-Original-Forwarded-For",
    "X-Original-Remote-Addr",
    "X-Client-IP",
    "X-Client-Port",
    "X-Cluster-Client-IP",
    "X-Remote-IP",
    "X-Remote-Addr",
    "X-ProxyUser-IP",
    "X-Envoy-External-Address",
    "X-Azure-ClientIP",
    "X-Azure-SocketIP",
    "X-Appengine-User-IP",
    "X-Appengine-Remote-Addr",
    "Remote-Addr",
    "Remote-Port",
    "Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "CF-Connecting-IPv6",
    "CF-Pseudo-IPv4",
    "Fastly-Client-IP",
    "Fly-Client-IP",
    "Proxy-Client-IP",
    "WL-Proxy-Client-IP",
    # Who somebody is
    "Remote-User",
    "Remote-Groups",
    "Remote-Name",
    "Remote-Email",
    "Auth-User",
    "X-Remote-User",
    "X-Remote-Group",
    "X-Remote-Groups",
    "X-Remote-Name",
    "X-Remote-Email",
    "X-Auth-User",
    "X-Authenticated-User",
    "X-Authenticated-Userid",
    "X-Auth-Request-User",
    "X-Auth-Request-Email",
    "X-Auth-Request-Groups",
    "X-Auth-Request-Preferred-Username",
    "X-Auth-Request-Access-Token",
    "X-Forwarded-User",
    "X-Forwarded-Groups",
    "X-Forwarded-Email",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Access-Token",
    "X-Webauth-User",
    "X-Goog-Authenticated-User-Email",
    "X-Forwarded-Client-Cert",
    "X-Client-Cert",
    "X-Client-Verify",
    "X-Client-Dn",
    "X-Ssl-Cert",
    "X-Ssl-Client-Cert",
    "X-Ssl-Client-Verify",
    "X-Ssl-Client-S-Dn",
    "Client-Cert",
    "Ssl-Client-Cert",
    "Ssl-Client-Verify",
    "Ssl-Client-S-Dn",
    # What is between two neighbours only; CGI programs take Proxy for a proxy of theirs (httpoxy)
    "HTTP2-Settings",
    "Proxy",
    "Proxy-Authorization",
    "Proxy-Connection",
)


def spellings(name: str) -> Iterator[str]:
    """Yield a header's name with each of its hyphens as a hyphen and as an underscore."""
    first, *words = name.split("-")
    for joints in itertools.product("-_", repeat=len(words)):
        yield first + "".join(map("".join, zip(joints, words, strict=True)))


def clearing() -> list[str]:
    """Return the directives of nginx that clear all of them, a line for each header.

    A template could do it too, but takes fifty times as long, for each server of the site.
    """
    names = [list(spellings(name))[1:] for name in (*SET, *OF_A_BODY)] + [
        list(spellings(name)) for name in CLEARED
    ]
    return [" ".join(f'proxy_set_header {name} "";' for name in line) for line in names]
