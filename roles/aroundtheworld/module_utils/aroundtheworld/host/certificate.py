"""A certificate that somebody else keeps on the host, with its key."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CERTIFICATE, KEY = "aroundtheworld_tls_certificate_file", "aroundtheworld_tls_key_file"
CERTIFICATES = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def describe_certificate(paths: Mapping[str, str]) -> dict[str, Any]:
    """Return the text of the ``certificate``, and the ``problems`` of both files as sentences.

    Args:
        paths: The path of the ``certificate`` and of its ``key``; nothing when the site has none.
    """
    result: dict[str, Any] = {"certificate": "", "problems": []}
    if not paths:
        return result
    texts = {}
    for variable, path in ((CERTIFICATE, paths["certificate"]), (KEY, paths["key"])):
        try:
            texts[variable] = Path(path).read_text()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not a text"
            result["problems"].append(
                f"{variable}: {path!r} cannot be read on the host: {why}; it must be a file of PEM."
            )
    # Not the rest of the file: programs other than nginx have the key there, too.
    result["certificate"] = "\n".join(CERTIFICATES.findall(texts.get(CERTIFICATE, "")))
    if not result["problems"]:
        try:
            # Without a function for the passphrase, Python asks at a terminal.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                paths["certificate"], paths["key"], password=lambda: ""
            )
        except (ssl.SSLError, OSError) as error:
            result["problems"].append(
                f"{KEY}: the key {paths['key']!r} on the host does not fit the certificate "
                f"{paths['certificate']!r}: {error}."
            )
    return result
