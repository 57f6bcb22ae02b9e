"""Dumps of a PostgreSQL database, whose URL no other process gets to see.

A URL as an argument would be in the list of processes, so what is in it goes to PostgreSQL's
programs in the variables of their environment (libpq has one for each of these).
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, unquote

# By its name in a URL, the variable for it (PostgreSQL's manual, 34.15).
VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "channel_binding": "PGCHANNELBINDING",
    "service": "PGSERVICE",
    "options": "PGOPTIONS",
    "application_name": "PGAPPNAME",
    "sslmode": "PGSSLMODE",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "sslsni": "PGSSLSNI",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "requirepeer": "PGREQUIREPEER",
    "gssencmode": "PGGSSENCMODE",
    "krbsrvname": "PGKRBSRVNAME",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "client_encoding": "PGCLIENTENCODING",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}
# A driver may be named too, as in postgresql+asyncpg://.
URL = re.compile(
    r"postgres(?:ql)?(?:\+\w+)?://(?:(?P<login>[^/?#]*)@)?(?P<hosts>[^/?#]*)"
    r"(?:/(?P<name>[^?#]*))?(?:\?(?P<options>[^#]*))?"
)
LOCK_SECONDS = 60  # a migration may keep a table for itself
CONNECT_SECONDS = "20"
# What to do about errors of PostgreSQL's programs, by words of theirs.
REMEDIES = {
    "permission denied": (
        "On the server, make the user of the URL the owner of what is to be copied, or let it read "
        "all (grant pg_read_all_data to …)"
    ),
    "server version mismatch": (
        "Install the server's own programs on the host, such as postgresql-client-17: pg_dump has "
        "to be as new as the server"
    ),
}


class DumpError(Exception):
    """A dump cannot be made; the message is for a person and has no password."""


def connection(url: str) -> dict[str, str]:
    """Return the variables that lead PostgreSQL's programs to the database of a URL.

    Raises:
        DumpError: It is no such URL.
    """
    match = URL.fullmatch(url.strip())
    if not match:
        raise DumpError("its secret is not a URL such as postgresql://user:password@host/name")
    found = dict(_hosts(match["hosts"]))
    user, colon, password = (match["login"] or "").partition(":")
    found |= {"user": unquote(user)} if user else {}
    found |= {"password": unquote(password)} if colon else {}
    found |= {"dbname": unquote(match["name"])} if match["name"] else {}
    options = dict(parse_qsl(match["options"] or "", keep_blank_values=True))
    if unknown := sorted(options.keys() - VARIABLES.keys()):
        raise DumpError(f"its URL has {unknown[0]!r}, for which PostgreSQL has no variable")
    found |= options
    if any("\0" in value for value in found.values()):
        raise DumpError("its URL has a NUL character")
    variables = {VARIABLES[name]: value for name, value in found.items()}
    return {"PGCONNECT_TIMEOUT": CONNECT_SECONDS, **variables}


def _hosts(text: str) -> dict[str, str]:
    """Return ``host`` and ``port`` of the part of a URL for them; there may be several."""
    hosts, ports = [], []
    for entry in text.split(",") if text else ():
        match = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::(\d*))?", entry)
        if not match:
            raise DumpError(
                "its URL has a host that cannot be read; in a name or password, write '/' as %2F"
            )
        hosts.append(unquote(match[1].strip("[]")))
        ports.append(match[2] or "")
    found = {"host": ",".join(hosts)} if any(hosts) else {}
    return found | ({"port": ",".join(ports)} if any(ports) else {})


def database_bytes(variables: Mapping[str, str]) -> int:
    """Return how large the database is, which is at least what its dump takes."""
    query = "select pg_database_size(current_database())"
    return int(run_client(["psql", "-X", "-A", "-t", "-w", "-c", query], variables).strip())


def dump(variables: Mapping[str, str], target: Path) -> None:
    """Write a dump that `pg_restore` can read; raises `DumpError`.

    It is not compressed, because restic does that, and finds what has not changed since.
    """
    wait = f"--lock-wait-timeout={LOCK_SECONDS}s"
    flags = ["--format=custom", "--compress=0", "--no-password", wait]
    run_client(["pg_dump", *flags, f"--file={target}"], variables)
    run_client(["pg_restore", "--list", str(target)], {})


def environment_for(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program of PostgreSQL.

    libpq looks for certificates in the home.
    """
    home = {"HOME": path} if (path := os.environ.get("HOME")) else {}
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **home, **variables}


def run_client(command: Sequence[str], variables: Mapping[str, str]) -> str:
    """Return what a program of PostgreSQL prints; raises `DumpError` with its last lines."""
    try:
        done = subprocess.run(  # noqa: S603 - no shell
            command,
            env=environment_for(variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        raise DumpError(f"{command[0]} is not on this host (postgresql-client)") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()[-5:] or [f"status {done.returncode}"]
        told = " ".join(lines)
        remedies = [remedy for words, remedy in REMEDIES.items() if words in told]
        raise DumpError(". ".join([f"{command[0]} failed: {told}", *remedies]))
    return done.stdout
