"""What systemd and the workers say, and how they are told something."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule


class HostError(Exception):
    """Something on the host did not come about; the message says what, for a person."""


class Systemd:
    """Asks systemd and tells it, through systemctl."""

    def __init__(self, module: AnsibleModule) -> None:
        """Keep `module` for running commands."""
        self.module = module

    def call(self, *arguments: str, check: bool = True) -> str:
        """Return what ``systemctl`` prints; raises `HostError` when it fails."""
        code, out, error = self.module.run_command(["systemctl", *arguments])
        if code and check:
            raise HostError(f"systemctl {' '.join(arguments[:4])} failed: {(error or out).strip()}")
        return str(out)

    def show(self, units: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return unit name to its properties, for all `units` in one call."""
        if not units:
            return {}
        names = "Id,ActiveState,UnitFileState,NeedDaemonReload"
        started = "ExecMainStartTimestampMonotonic"
        out = self.call("show", f"--property={names},{started}", "--", *units)
        found = {}
        for block in out.strip().split("\n\n"):
            properties = dict(line.partition("=")[::2] for line in block.splitlines())
            found[properties["Id"]] = properties
        return found

    def loaded(self, pattern: str) -> set[str]:
        """Return the names of the units in memory that match `pattern`."""
        out = self.call("list-units", "--all", "--plain", "--no-legend", pattern)
        return {line.split()[0] for line in out.splitlines() if line.strip()}

    def journal(self, unit: str, lines: int = 20) -> str:
        """Return the last `lines` in the journal about the unit's last start."""
        this = self.call(
            "show", "--property=InvocationID", "--value", "--", unit, check=False
        ).strip()
        matches = [f"_SYSTEMD_INVOCATION_ID={this}", "+", f"INVOCATION_ID={this}"]
        command = ["journalctl", "--no-pager", "--output=cat", f"--lines={lines}"]
        return str(
            self.module.run_command([*command, *(matches if this else [f"--unit={unit}"])])[1]
        ).strip()


def request(
    to: Path | str,
    method: str,
    url: str,
    *,
    timeout: float,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """Return the status and body of an HTTP request over a UNIX socket, or to ``address:port``.

    Raises:
        OSError: Nobody answers in `timeout` seconds.
        http.client.HTTPException: The answer is no HTTP.
    """
    connection = http.client.HTTPConnection("localhost", timeout=timeout)
    try:
        if isinstance(to, Path):
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(timeout)
            connection.sock.connect(str(to))
        else:
            address, _, port = to.rpartition(":")
            connection.sock = socket.create_connection((address.strip("[]"), int(port)), timeout)
        connection.request(method, url, headers=dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def health(control: Path) -> dict[str, Any]:
    """Return what the worker behind the private socket says of itself, or nothing.

    Of a command that has no such socket, it is what was noted when it was started.
    """
    # The socket first: a note may be left from when the pool still ran a command.
    with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
        said: dict[str, Any] = json.loads(request(control, "GET", "/health", timeout=2)[1])
        return said
    with contextlib.suppress(OSError, ValueError):
        noted = _read_at_once(control.with_name("runs")).split()
        return dict(zip(("release", "config", "pool"), noted, strict=True))
    return {}


def _read_at_once(path: Path) -> str:
    """Return the beginning of a file that the site's user may have put another thing in place of.

    Neither a pipe that nobody writes to holds this up, nor does it follow a link or read for long.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as handle:
        return (handle.read(4096) or b"").decode()


def accept(control: Path) -> None:
    """Tell a worker that holds to take connections; raises `HostError` when it does not."""
    try:
        status, _ = request(control, "POST", "/accept", timeout=5)
    except (OSError, http.client.HTTPException) as error:
        raise HostError(f"it does not answer on its private socket ({error})") from None
    if status != 200:
        raise HostError(f"it refuses to take connections (status {status})")


def probe(app: Path | str, url: str, *, timeout: float) -> str:
    """Return what is wrong with the app's answer to `url`, or an empty text.

    Args:
        app: Its UNIX socket, or its ``address:port``.
        url: What to ask for.
        timeout: Seconds in which it must answer.
    """
    try:
        status, _ = request(app, "GET", url, timeout=timeout, headers={"Host": "localhost"})
    except TimeoutError:
        return f"it did not answer {url} within {timeout:g} s"
    except (OSError, http.client.HTTPException) as error:
        return f"it does not answer {url} ({error})"
    return f"it answers {url} with status {status}" if status >= 500 else ""
