"""A CA of the controller's own, for trying HTTPS out: it is made once, and its key stays there."""

from __future__ import annotations

import hashlib
import ipaddress
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import NamedTuple, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from aroundtheworld_controller.cache import locked
from aroundtheworld_controller.nginx.certificates import (
    certificate_problems,
    is_address,
    key_problems,
)

CA_DAYS, DAYS = 3650, 90
EARLY = timedelta(days=DAYS / 3)  # before its end, a certificate is replaced
ITSELF = ("localhost", "127.0.0.1", "::1")


class Pair(NamedTuple):
    """The files of a certificate and its key."""

    certificate: Path
    key: Path


def local_certificate(names: Sequence[str], directory: Path, now: datetime | None = None) -> Pair:
    """Return a certificate for names, which lasts for a while, and its key.

    Args:
        names: Host names and addresses; those by which a machine knows itself are added.
        directory: Where the CA is, and a directory for each list of names.
        now: The time.
    """
    moment, everything = now or datetime.now(UTC), sorted({*names, *ITSELF})
    digest = hashlib.sha256("\n".join(everything).encode()).hexdigest()[:12]
    pair = Pair(directory / f"certificate-{digest}.pem", directory / f"key-{digest}.pem")
    with locked(directory / ".lock"):
        ca = _ca(directory, moment)
        if not _is_good(pair, everything, moment + EARLY) or not _is_from(pair, ca):
            _issue(pair, everything, ca, moment)
    return pair


def _ca(directory: Path, moment: datetime) -> Pair:
    pair = ca_files(directory)
    if not _is_good(pair, (), moment + timedelta(days=DAYS)):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Around The World, local CA")])
        builder = (
            _builder(name, name, key.public_key(), moment, CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(sign=True), critical=True)
        )
        _write(pair, key, builder.sign(key, hashes.SHA256()))
    return pair


def ca_files(directory: Path) -> Pair:
    """Return where the CA's certificate and its key are."""
    return Pair(directory / "ca.pem", directory / "ca-key.pem")


def _issue(pair: Pair, names: Sequence[str], ca: Pair, moment: datetime) -> None:
    issuer = x509.load_pem_x509_certificate(ca.certificate.read_bytes())
    signer = cast(ec.EllipticCurvePrivateKey, load_pem_private_key(ca.key.read_bytes(), None))
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    alternatives = [
        x509.IPAddress(ipaddress.ip_address(name)) if is_address(name) else x509.DNSName(name)
        for name in names
    ]
    builder = (
        _builder(subject, issuer.subject, key.public_key(), moment, DAYS)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    _write(pair, key, builder.sign(signer, hashes.SHA256()), issuer)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    moment: datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(hours=1))  # the clock of a browser may be behind
        .not_valid_after(moment + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign,
        crl_sign=sign,
        encipher_only=False,
        decipher_only=False,
    )


def _write(pair: Pair, key: ec.EllipticCurvePrivateKey, *certificates: x509.Certificate) -> None:
    """Write both files; one without the other is replaced by the next run."""
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = b"".join(each.public_bytes(Encoding.PEM) for each in certificates)
    for path, content in ((pair.key, private), (pair.certificate, public)):
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        new.replace(path)


def _is_good(pair: Pair, names: Sequence[str], moment: datetime) -> bool:
    """Tell whether both files are there, fit each other, and hold until then."""
    try:
        certificate, key = pair.certificate.read_text(), pair.key.read_text()
    except (OSError, ValueError):
        return False
    wrong = chain(
        certificate_problems(certificate, names, "", moment), key_problems(certificate, key, "")
    )
    return not any(wrong)


def _is_from(pair: Pair, ca: Pair) -> bool:
    return pair.certificate.read_text().endswith(ca.certificate.read_text())
