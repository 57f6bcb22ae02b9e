"""Addresses of repositories, archives and indexes, for people: without what is secret in them."""

from __future__ import annotations

import re
import urllib.parse

# A URL within a text, to its end: what follows the host may be a password with strange signs in it.
URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<rest>[^\s'\"<>]*)")
# As ssh and git take it, with a password that does not belong there: ada:lovelace@host:shop.git
USER_AND_PASSWORD = re.compile(r"(?<![^\s'\"<>])[^\s'\"<>/:@]+:(?!//)[^\s'\"<>]*@(?=[^\s'\"<>])")
HIDDEN = "…"
SHORT = 6  # characters; a shorter secret is hidden in addresses only, or it would garble the text


def shown(text: str) -> str:
    """Return an address, or a text with addresses in it, without passwords and tokens.

    Gone are user and password, and the values in a query and in a fragment. Where a password has a
    slash in it, no rule can tell it from a path with an @; then rather too much is hidden.
    """
    text = URL.sub(lambda found: found["scheme"] + _shown_rest(found["rest"]), text)
    return USER_AND_PASSWORD.sub("", text)


def shown_with(address: str, text: str) -> str:
    """Return a program's message about `address` without what is secret in that, in any form."""
    text = shown(text)
    for secret in sorted(_secrets(address), key=len, reverse=True):
        if len(secret) >= SHORT:
            text = text.replace(secret, HIDDEN)
    return text


def _split(rest: str) -> tuple[str, str]:
    """Return what stands for user and password in a URL without its scheme, and what follows."""
    before, at, after = rest.rpartition("@")
    first = re.split(r"[/?#]", before, maxsplit=1)[0]
    plain = first == before
    # Not plain: a password with a slash, or an @ in a path or query, as in host/@scope/shop.tgz.
    if at and (plain or ":" in first or "@" in first or "/" in re.split(r"[?#]", after)[0]):
        return before, after
    return "", rest


def _shown_rest(rest: str) -> str:
    path, *more = re.split(r"(?=[?#])", _split(rest)[1], maxsplit=1)
    return path + re.sub(r"([?#&;])([^=&;#?]*=)?[^&;#?]+", rf"\1\2{HIDDEN}", "".join(more))


def _secrets(address: str) -> set[str]:
    """Return what is secret in an address, as it stands there and as it is meant."""
    found = set()
    rest = address.partition("://")[2]
    before, after = _split(rest) if rest else ("", "")
    if not rest and (match := USER_AND_PASSWORD.match(address)):
        before = match[0][:-1]
    if before:
        user, colon, password = before.partition(":")
        # A token may stand for the user's name, when there is nothing else.
        found |= {password} if colon else {user}
    for part in re.split(r"[?#]", after)[1:]:
        found |= {pair.partition("=")[2] or pair for pair in re.split(r"[&;]", part)}
    return {form for secret in found for form in (secret, urllib.parse.unquote(secret)) if form}
