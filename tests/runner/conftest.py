import contextlib
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Test modules are imported by path, so what they share has to be made importable.
sys.path.insert(0, str(Path(__file__).parent))

import harness


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory whose path is short enough for UNIX sockets, which pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="runner-") as path:
        yield Path(path)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with harness.listener() as sock:
        yield sock


@pytest.fixture
def start(directory: Path, listening: socket.socket) -> Iterator[Callable[..., harness.Worker]]:
    """Start workers on the listening socket; they are ended after the test."""
    with contextlib.ExitStack() as stack:
        started = 0

        def start(
            app: str = "sample:make_app",
            *arguments: str,
            sockets: list[socket.socket] | None = None,
            **extra: str,
        ) -> harness.Worker:
            nonlocal started
            started += 1
            passed = [listening] if sockets is None else sockets
            worker = harness.Worker(directory, f"w{started}", passed, (app, *arguments), extra)
            stack.callback(worker.close)
            return worker

        yield start
