"""Certificates for tests, each signed by its own key."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Sequence
from ipaddress import ip_address
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

BEGIN = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)


class Made(NamedTuple):
    """A certificate and its key."""

    pem: str
    der: bytes
    key: str


@functools.cache
def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def make(
    names: Sequence[str], days: float = 90, begin: datetime.datetime = BEGIN, address: str = ""
) -> Made:
    """Return a certificate for the names, that lasts so many days."""
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    if address:
        alternatives.append(x509.IPAddress(ip_address(address)))
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(_key().public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(_key(), hashes.SHA256())
    )
    encoding = serialization.Encoding
    key = _key().private_bytes(
        encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Made(
        certificate.public_bytes(encoding.PEM).decode(),
        certificate.public_bytes(encoding.DER),
        key.decode(),
    )
