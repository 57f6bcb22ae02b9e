"""Where visitors find a site: scheme, host and, unless it is the scheme's own, port."""

from __future__ import annotations


def origin(host: str, *, http: int = 80, https: int = 0) -> str:
    """Return the origin of a site as browsers write it (RFC 6454, 6.1).

    Args:
        host: The name that visitors use.
        http: The port of HTTP.
        https: The port of HTTPS, or 0 for a site without.
    """
    scheme, port, usual = ("https", https, 443) if https else ("http", http, 80)
    return f"{scheme}://{host}" if port == usual else f"{scheme}://{host}:{port}"
