"""What the site's workers do, by their control sockets.

The game does not depend on what runs it, so it has a client of its own.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

# A worker's socket is answered by a thread of its own, so it answers however busy the worker is.
TIMEOUT_SECONDS = 2.0
LARGEST_ANSWER = 64 * 1024


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker, as it describes itself.

    Attributes:
        name: of its directory: the port.
        health: its answer; empty if there was none.
        problem: why it did not, in a few words.
    """

    name: str
    health: Mapping[str, object] = field(default_factory=dict)
    problem: str = ""


def ask(directory: Path) -> list[Worker]:
    """Read the health of all workers with a socket `directory`/PORT/control.sock, all at once."""
    sockets = sorted(directory.glob("*/control.sock"))
    if not sockets:
        return []
    with ThreadPoolExecutor(min(16, len(sockets))) as threads:
        return list(threads.map(_ask, sockets))


def _ask(path: Path) -> Worker:
    name = path.parent.name
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT_SECONDS)
            connection.connect(str(path))
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n")
            response = http.client.HTTPResponse(connection)
            response.begin()
            health = json.loads(response.read(LARGEST_ANSWER))
    except TimeoutError:
        return Worker(name, problem=f"no answer within {TIMEOUT_SECONDS:g} s")
    except OSError as error:
        return Worker(name, problem=error.strerror or str(error))
    except (http.client.HTTPException, ValueError):
        return Worker(name, problem="an answer that is none")
    if not isinstance(health, dict):
        return Worker(name, problem="an answer that is none")
    return Worker(name, health)
