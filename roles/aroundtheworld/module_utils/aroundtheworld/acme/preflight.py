"""Whether host names lead to this host, as a CA is going to see them."""

from __future__ import annotations

import http.client
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CHALLENGES = ".well-known/acme-challenge"
SECONDS = 5.0
MAY_LEAD_HERE = range(300, 400)  # what a balancer redirects may come here in the end

Fetch = Callable[[str, str, str], tuple[int, str]]
"""Returns status and text of a path, by the address and the host name."""


def problems(names: Sequence[str], webroot: Path, fetch: Fetch | None = None) -> list[str]:
    """Return which names lead elsewhere, each with why, as a sentence.

    Only what is certain: where nobody answers, the host may not reach its own outer address, and
    the CA may. IPv6 counts as IPv4 does, because a CA prefers it.
    """
    with token_file(webroot) as token:
        return [
            problem
            for name in names
            for problem in _problems(name, token, fetch or fetch_from_host)
        ]


@contextmanager
def token_file(webroot: Path) -> Iterator[str]:
    """Have a file among the challenges in the block that only this host can know."""
    directory, token = webroot / CHALLENGES, secrets.token_hex(16)
    for path in (webroot, directory.parent, directory):  # nginx reads there, whatever the umask
        path.mkdir(exist_ok=True)
        path.chmod(0o755)
    path = directory / token
    path.write_text(token)
    path.chmod(0o644)
    try:
        yield token
    finally:
        path.unlink(missing_ok=True)


def _problems(name: str, token: str, fetch: Fetch) -> Iterator[str]:
    try:
        addresses = addresses_of(name)
    except socket.gaierror as error:
        if error.errno != socket.EAI_AGAIN:  # then no name server answers
            yield f"{name} has no address in DNS"
        return
    for address in addresses:
        try:
            status, text = fetch(address, name, f"/{CHALLENGES}/{token}")
        except (OSError, http.client.HTTPException):
            continue
        if text != token and status not in MAY_LEAD_HERE:
            yield (
                f"{name} leads to {address}, where something else answers (with status {status})"
            )


def addresses_of(name: str) -> list[str]:
    """Return the addresses of a host name, of both families; raises `socket.gaierror`."""
    found = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def fetch_from_host(address: str, name: str, path: str) -> tuple[int, str]:
    """Return status and text of a response, from this host; raises `OSError` when there is none."""
    connection = http.client.HTTPConnection(address, 80, timeout=SECONDS)
    try:
        connection.request("GET", path, headers={"Host": name, "Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read(256).decode(errors="replace")
    finally:
        connection.close()
