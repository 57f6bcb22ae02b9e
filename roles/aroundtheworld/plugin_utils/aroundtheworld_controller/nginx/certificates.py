"""What is wrong with a certificate, so that a run refuses it before it changes anything."""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

PRIVATE = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
MARK = re.compile(r"-----(BEGIN|END) [A-Z0-9 ]+-----")


def certificate_problems(
    text: str, names: Sequence[str], where: str, now: datetime | None = None
) -> Iterator[str]:
    """Yield what is wrong with a site's certificate.

    Args:
        text: The certificate, and after it those that lead to its root, as PEM.
        names: The site's names.
        where: The variable that the certificate comes from.
        now: The time at which it has to be valid.
    """
    if PRIVATE.search(text):
        yield f"{where}: it has a private key in it; give only certificates."
        return
    if problem := line_problem(text, where):
        yield problem
        return
    try:
        chain = x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        yield (
            f"{where}: it cannot be read; it must be a certificate as PEM, which begins with "
            "'-----BEGIN CERTIFICATE-----', and after it those that lead to its root."
        )
        return
    moment = now or datetime.now(UTC)
    for certificate in chain:
        first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if moment > last:
            yield f"{where}: the certificate {_shown(certificate)} expired on {last:%Y-%m-%d}."
        elif moment < first:
            yield (
                f"{where}: the certificate {_shown(certificate)} is not valid before "
                f"{first:%Y-%m-%d %H:%M} UTC; it is {moment:%Y-%m-%d %H:%M} UTC here."
            )
    yield from _chain_problems(chain, where)
    covered = _names(chain[0])
    for name in names:
        if name != "_" and not any(_covers(pattern, name) for pattern in covered):
            yield (
                f"{where}: the certificate lacks the name {name!r} of "
                f"aroundtheworld_server_names; it has {', '.join(sorted(covered)) or 'none'}."
            )


def key_problems(certificate: str, key: str, where: str) -> Iterator[str]:
    """Yield what is wrong with the private key of a certificate, unless that cannot be read.

    Args:
        certificate: The certificate, and perhaps others after it.
        key: Its key as PEM, which is in no sentence.
        where: The variable that the key comes from.
    """
    try:
        chain = x509.load_pem_x509_certificates(certificate.encode())
    except ValueError:
        return
    if problem := line_problem(key, where):
        yield problem
        return
    try:
        private = load_pem_private_key(key.encode(), None)
    except TypeError:
        yield (
            f"{where}: the key has a passphrase, for which nobody could be asked when nginx "
            "starts; give it without one, and keep it in a vault."
        )
        return
    except ValueError:
        yield (
            f"{where}: it cannot be read; it must be a private key as PEM, which begins with "
            "'-----BEGIN PRIVATE KEY-----'."
        )
        return
    fits = [_bytes(each.public_key()) == _bytes(private.public_key()) for each in chain]
    if not any(fits):
        yield f"{where}: the key does not fit the certificate {_shown(chain[0])}."
    elif not fits[0]:
        yield (
            f"{where}: the key fits the certificate {_shown(chain[fits.index(True)])}, which is "
            f"not the first; the site's own must come before those that lead to its root."
        )


def line_problem(text: str, where: str) -> str:
    """Return what is wrong with the lines of PEM, or an empty text; nginx is strict about them."""
    lines = text.removeprefix("\ufeff").splitlines()
    if all(MARK.fullmatch(line.rstrip()) for line in lines if MARK.search(line)):
        return ""
    return (
        f"{where}: its lines are joined or indented, so nginx cannot read it; in YAML, write it as "
        "a block after '|'."
    )


def _chain_problems(chain: Sequence[x509.Certificate], where: str) -> Iterator[str]:
    for certificate, issuer in itertools.pairwise(chain):
        if not _issued_by(certificate, issuer):
            yield (
                f"{where}: the certificate {_shown(certificate)} is from "
                f"{_text(certificate.issuer)}, but the one after it is {_shown(issuer)}; each must "
                "be followed by the one that issued it."
            )
            return
    last = chain[-1]
    if not _issued_by(last, last) and not _is_ca(last):
        yield (
            f"{where}: the chain is incomplete, because the certificate {_shown(last)} is from "
            f"{_text(last.issuer)}, which is missing; append that one's certificate, and those "
            "that lead to its root."
        )


def _issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _names(certificate: x509.Certificate) -> set[str]:
    """Return the names and addresses that a certificate is for; browsers read no others."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    names = extension.value.get_values_for_type(x509.DNSName)
    return {
        *map(str.lower, names),
        *map(str, extension.value.get_values_for_type(x509.IPAddress)),
    }


def _covers(pattern: str, name: str) -> bool:
    """Tell whether a certificate's name is a site's, as browsers see it (RFC 6125)."""
    name = name.lower()
    if is_address(name):  # in any spelling; one of IPv6 may also name the interface
        return pattern == str(ipaddress.ip_address(name.partition("%")[0]))
    if not pattern.startswith("*."):
        return pattern == name
    first, _, rest = name.partition(".")
    return bool(first) and rest == pattern[2:]


def is_address(name: str) -> bool:
    """Tell whether a host name is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _bytes(key: Any) -> bytes:  # noqa: ANN401 - one of the library's many types
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _shown(certificate: x509.Certificate) -> str:
    names = sorted(_names(certificate))
    return f"of {', '.join(names)}" if names else f"of {_text(certificate.subject)}"


def _text(name: x509.Name) -> str:
    return repr(name.rfc4514_string())
