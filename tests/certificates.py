"""Certificates for tests: of a CA, for names and times that a test chooses."""

from __future__ import annotations

import datetime
import functools
import ipaddress
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

Days = tuple[float, float]
"""From when to when a certificate is valid, in days from now."""

VALID: Days = (-1, 30)
# What a CA may do with its key, and only that.
ISSUES = x509.KeyUsage(False, False, False, False, False, True, True, False, False)


class Issuer:
    """A certificate with its key, which issues others."""

    def __init__(self, name: str, by: Issuer | None = None, days: Days = VALID) -> None:
        """Make it, issued by itself or by another."""
        self.name, self.by = _name(name), by
        self.key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(self.name, self.key.public_key(), by or self, days)
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        builder = builder.add_extension(constraints, critical=True)
        builder = builder.add_extension(ISSUES, critical=True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        self.certificate = builder.sign((by or self).key, hashes.SHA256())

    @property
    def pem(self) -> str:
        """Return the certificate."""
        return _pem(self.certificate)

    def issue(self, *names: str, days: Days = VALID) -> tuple[str, str]:
        """Return a certificate for names and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name("test"), key.public_key(), self, days)
        alternatives = x509.SubjectAlternativeName(list(_general_names(names)))
        builder = builder.add_extension(alternatives, critical=False)
        return _pem(builder.sign(self.key, hashes.SHA256())), key_pem(key)


@functools.cache
def root() -> Issuer:
    """Return a CA for all tests."""
    return Issuer("Root of the tests")


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """Return a private key as PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_names(names: Iterable[str]) -> Iterable[x509.GeneralName]:
    for name in names:
        try:
            yield x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            yield x509.DNSName(name)


def _builder(
    name: x509.Name, key: ec.EllipticCurvePublicKey, issuer: Issuer, days: Days
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    first, last = (now + datetime.timedelta(days=day) for day in days)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(last)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()),
            critical=False,
        )
    )
