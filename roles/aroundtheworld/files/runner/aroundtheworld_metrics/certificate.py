"""Certificates: what nginx shows to visitors, and what a file has.

Python's standard library reads a certificate only after it has checked that a CA that the host
trusts signed it and that it has not expired. Here neither may matter, so the few fields that do are
read from its DER (RFC 5280, 4.1).
"""

from __future__ import annotations

import base64
import ipaddress
import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

SECONDS = 5.0  # until a server that does not answer has none

BIT_LONG = 0x80  # of a length: it is in the bytes after it
UTC_TIME = 0x17
EXTENSIONS = 0xA3
VERSION = 0xA0
DNS_NAME, IP_ADDRESS = 0x82, 0x87
ALTERNATIVE_NAMES = b"\x55\x1d\x11"  # 2.5.29.17
PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s(.+?)-----END CERTIFICATE-----", re.DOTALL)


class Certificate(NamedTuple):
    """What matters of a certificate; times are Unix time."""

    names: tuple[str, ...]
    begin: float
    end: float
    der: bytes

    def late(self, now: float) -> bool:
        """Tell whether half of the last third of its lifetime is gone, and it was not renewed."""
        return now > self.end - (self.end - self.begin) / 6

    def lacks(self, names: Sequence[str]) -> list[str]:
        """Return the host names that it is not for."""
        return [name for name in names if not self.covers(name)]

    def covers(self, name: str) -> bool:
        """Tell whether it is for a host name."""
        wildcard = f"*.{name.lower().partition('.')[2]}"
        return bool({name.lower(), wildcard} & {*self.names})


def read_pem(text: str) -> Certificate:
    """Return the first certificate of a file's text; raises `ValueError` when there is none."""
    if not (found := PEM.search(text)):
        raise ValueError("there is no certificate in it")
    return parse(base64.b64decode(found[1]))


def served(port: int, name: str = "", address: str = "127.0.0.1") -> Certificate:
    """Return what a server shows to visitors of a host name; raises `OSError` when it has none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((address, port), SECONDS) as connection,
        context.wrap_socket(connection, server_hostname=name or None) as tls,
    ):
        der = tls.getpeercert(binary_form=True) or b""
    try:
        return parse(der)
    except ValueError as error:
        raise OSError(str(error)) from error


def parse(der: bytes) -> Certificate:
    """Return what a certificate's DER says; raises `ValueError` when it is none."""
    try:
        (_, whole), *_ = _elements(der)
        (_, signed), *_ = _elements(whole)
        fields = [(tag, value) for tag, value in _elements(signed) if tag != VERSION]
        begin, end = (_time(tag, value) for tag, value in _elements(fields[3][1]))
        names = [
            name for tag, value in fields if tag == EXTENSIONS for name in _alternative_names(value)
        ]
    except (IndexError, ValueError) as error:
        raise ValueError("this is not a certificate") from error
    return Certificate(tuple(names), begin, end, der)


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each element of a sequence."""
    while data:
        tag, length, start = data[0], data[1], 2
        if length & BIT_LONG:
            start += length - BIT_LONG
            length = int.from_bytes(data[2:start], "big")
        if start + length > len(data):
            raise ValueError("it is cut off")
        yield tag, data[start : start + length]
        data = data[start + length :]


def _time(tag: int, value: bytes) -> float:
    pattern = "%y%m%d%H%M%SZ" if tag == UTC_TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(value.decode(), pattern).replace(tzinfo=UTC).timestamp()


def _alternative_names(extensions: bytes) -> Iterator[str]:
    (_, sequence), *_ = _elements(extensions)
    for _, extension in _elements(sequence):
        (_, kind), *_, (_, value) = _elements(extension)
        if kind == ALTERNATIVE_NAMES:
            (_, names), *_ = _elements(value)
            for tag, name in _elements(names):
                if tag == DNS_NAME:
                    yield name.decode().lower()
                elif tag == IP_ADDRESS:
                    yield str(ipaddress.ip_address(name))
