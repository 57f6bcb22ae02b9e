"""Passwords of people whom nginx asks for one: what may be one, and the files that nginx reads."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

VARIABLE = "aroundtheworld_passwords"
USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
# What Debian 12 and 13 know and nobody has broken: yescrypt, bcrypt, SHA-512, SHA-256.
HASH = re.compile(r"\$(y|2[aby]|6|5)\$[./0-9A-Za-z$=,]+")
# nginx hashes the password of each request before it goes on with any other, so as few rounds as
# this kind of hash allows: under a millisecond instead of five.
ROUNDS = 1000
LONGEST = 511  # bytes; the C library's crypt takes no more
ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def password_problems(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with names and passwords; no password is shown."""
    passwords = variables[VARIABLE]
    for user, password in passwords.items():
        if not isinstance(user, str) or not USER.fullmatch(user):
            yield (
                f"{VARIABLE}: the name {user!r} is not allowed; it must have letters, digits and "
                "'._@-' only, and begin with a letter or digit."
            )
        elif not isinstance(password, str) or not password.isprintable() or not password:
            yield f"{VARIABLE}.{user}: it must be a text of one line that is not empty."
        elif len(password.encode()) > LONGEST:
            yield f"{VARIABLE}.{user}: it is too long; at most {LONGEST} bytes are allowed."
        elif password.startswith(("$", "{")) and not HASH.fullmatch(password):
            yield (
                f"{VARIABLE}.{user}: it begins as a hash does, and nginx could not use it. Give "
                "the password itself, or its hash as 'openssl passwd -6' or 'mkpasswd' makes it."
            )
    for index, pool in enumerate(variables["aroundtheworld_pools"]):
        for position, user in enumerate(pool["basic_auth"]):
            if user not in passwords:
                yield (
                    f"aroundtheworld_pools[{index}].basic_auth[{position}]: {user!r} has no "
                    f"password; add the name to {VARIABLE}."
                )


def are_plain(variables: Mapping[str, Any]) -> bool:
    """Tell whether passwords travel unencrypted: neither the site nor a proxy has HTTPS."""
    return (
        variables["aroundtheworld_tls"] == "none"
        and not (variables["aroundtheworld_trusted_proxies"])
    )


def password_warnings(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield which pools ask for passwords that everybody on the way can read."""
    for index, pool in enumerate(variables["aroundtheworld_pools"]):
        if pool["basic_auth"] and are_plain(variables):
            yield (
                f"aroundtheworld_pools[{index}].basic_auth: everybody on the way can read the "
                f"passwords for pool {pool['name']!r}, because there is no HTTPS; set "
                "aroundtheworld_tls, or put the proxy that has HTTPS into "
                "aroundtheworld_trusted_proxies."
            )


def password_files(
    site: str, pools: Sequence[Mapping[str, Any]], passwords: Mapping[str, str]
) -> dict[str, str]:
    """Return the files that nginx asks about names and passwords, path to content."""
    return {
        f"/etc/{site}/passwords/{pool['name']}": "".join(
            f"{user}:{hashed(passwords[user], f'{site}:{user}')}\n" for user in pool["basic_auth"]
        )
        for pool in pools
        if pool["basic_auth"]
    }


def hashed(password: str, person: str) -> str:
    """Return the hash of a password, or the hash that it is already.

    The salt follows from whose it is, so that the same password is the same file in each run.
    """
    if HASH.fullmatch(password):
        return password
    digest = hashlib.sha256(person.encode()).digest()
    return sha512_crypt(password, base64.b64encode(digest, b"./")[:16].decode())


def sha512_crypt(password: str, salt: str, rounds: int = ROUNDS) -> str:
    """Return a hash as ``crypt(3)`` does, which Python has no more.

    The specification is https://www.akkadia.org/drepper/SHA-crypt.txt.
    """
    sha512 = hashlib.sha512
    text, seasoning = password.encode(), salt.encode()
    other = sha512(text + seasoning + text).digest()
    whole = text + seasoning + (other * (len(text) // 64 + 1))[: len(text)]
    length = len(text)
    while length:
        whole += other if length & 1 else text
        length >>= 1
    result = sha512(whole).digest()
    repeated = sha512(text * len(text)).digest()
    text = (repeated * (len(text) // 64 + 1))[: len(text)]
    seasoning = sha512(seasoning * (16 + result[0])).digest()[: len(seasoning)]
    for number in range(rounds):
        parts = [text if number % 2 else result]
        parts += [seasoning] * bool(number % 3) + [text] * bool(number % 7)
        parts += [result if number % 2 else text]
        result = sha512(b"".join(parts)).digest()
    return f"$6$rounds={rounds}${salt}${_encoded(result)}"


def _encoded(digest: bytes) -> str:
    """Return 64 bytes in the order and the letters of ``crypt(3)``."""
    first, second, third = 0, 21, 42
    text = ""
    for _ in range(21):
        text += _letters(digest[first] << 16 | digest[second] << 8 | digest[third], 4)
        first, second, third = second + 1, third + 1, first + 1
    return text + _letters(digest[63], 2)


def _letters(number: int, count: int) -> str:
    return "".join(ALPHABET[number >> 6 * place & 63] for place in range(count))
