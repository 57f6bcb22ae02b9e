"""Stands in for systemd: real processes, real sockets, the real protocol."""

import asyncio
import contextlib
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from tornado.websocket import WebSocketClientConnection

RUNNER = Path(__file__).parents[2] / "roles" / "aroundtheworld" / "files" / "runner"
APPS = Path(__file__).parent / "apps"

# What systemd does between fork and exec: the sockets become descriptors 3, 4, ... and the
# process learns its own id, which it keeps through exec.
EXEC = """
import os, sys
passed, *command = sys.argv[1:]
high = [os.dup2(int(fd), 100 + n) for n, fd in enumerate(passed.split(","))] if passed else []
for n, fd in enumerate(high):
    os.dup2(fd, 3 + n)
    os.close(fd)
os.environ.setdefault("LISTEN_PID", str(os.getpid()))
os.environ["LISTEN_FDS"] = str(len(high))
os.environ["LISTEN_FDNAMES"] = ":".join(["aroundtheworld"] * len(high))
os.execv(command[0], command)
"""


def listener(family: socket.AddressFamily = socket.AF_INET, address: Any = None) -> socket.socket:
    """Bind and listen, as a socket unit does."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind(address if address is not None else ("127.0.0.1", 0))
    sock.listen(4096)
    return sock


def environment(**extra: str) -> dict[str, str]:
    names = ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_START")
    inherited = {name: os.environ[name] for name in names if name in os.environ}
    return {**inherited, "PYTHONPATH": f"{APPS}:{RUNNER}", "PYTHONDONTWRITEBYTECODE": "1", **extra}


def run(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "aroundtheworld_runner", *arguments],
        env=environment(**extra),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


class Worker:
    """One worker process and the service manager's end of its notification socket."""

    def __init__(
        self,
        directory: Path,
        name: str,
        sockets: list[socket.socket],
        arguments: tuple[str, ...],
        extra: dict[str, str],
    ) -> None:
        self.control = directory / f"{name}.control"
        self.private_app = directory / f"{name}.app"
        self.stderr_path = directory / f"{name}.stderr"
        notify_path = directory / f"{name}.notify"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(notify_path))
        self.notified: list[tuple[float, str]] = []
        with self.stderr_path.open("wb") as stderr:
            status = os.fstat(stderr.fileno())
            if extra.get("JOURNAL_STREAM") == "stderr":
                extra = {**extra, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
            passed = [sock.fileno() for sock in sockets]
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    "-c",
                    EXEC,
                    ",".join(map(str, passed)),
                    sys.executable,
                    "-m",
                    "aroundtheworld_runner",
                    "--control",
                    str(self.control),
                    "--private-app",
                    str(self.private_app),
                    *arguments,
                ],
                env=environment(NOTIFY_SOCKET=str(notify_path), **extra),
                pass_fds=passed,
                stderr=stderr,
            )

    def wait_notified(self, expected: str, seconds: float = 10) -> float:
        """Return when (monotonic) a message with this line came; fail when none comes."""
        deadline = time.monotonic() + seconds
        while True:
            for moment, message in self.notified:
                if expected in message.splitlines():
                    return moment
            left = deadline - time.monotonic()
            assert left > 0, f"no {expected} in {self.notified}; {self.stderr()}"
            assert self.process.poll() is None or self.read_notified(0), self.stderr()
            self.read_notified(min(left, 0.1))

    def read_notified(self, seconds: float) -> bool:
        """Collect a message if one comes within this time."""
        if not select.select([self._notify], [], [], seconds)[0]:
            return False
        self.notified.append((time.monotonic(), self._notify.recv(4096).decode()))
        return True

    def ready(self) -> "Worker":
        self.wait_notified("READY=1")
        return self

    def health(self) -> tuple[int, dict[str, Any]]:
        return request(self.control, "/health")

    def routes(self) -> dict[str, dict[str, Any]]:
        """Return what it has measured of its routes, by pattern."""
        routes = request(self.control, "/routes")[1]["routes"]
        return {route["route"] or route["handler"]: route for route in routes}

    def wait_logged(self, expected: str, seconds: float = 10) -> float:
        """Return when (monotonic) this appeared on its standard error."""
        deadline = time.monotonic() + seconds
        while expected not in self.stderr():
            assert time.monotonic() < deadline, f"no {expected!r} in: {self.stderr()}"
            time.sleep(0.02)
        return time.monotonic()

    def accept(self) -> tuple[int, dict[str, Any]]:
        return request(self.control, "/accept", "POST")

    def wait_state(self, expected: str, seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            # httpx would not close the socket of a connection that is refused.
            with socket.socket(socket.AF_UNIX) as probe:
                listens = probe.connect_ex(str(self.control)) == 0
            if listens and self.health()[1]["state"] == expected:
                return
            time.sleep(0.02)
        raise AssertionError(f"never {expected}: {self.stderr()}")

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def drain(self) -> None:
        """Ask it to end and wait until it has begun to."""
        self.terminate()
        self.wait_notified("STOPPING=1")

    def wait(self, seconds: float = 10) -> int:
        return self.process.wait(seconds)

    def stderr(self) -> str:
        return self.stderr_path.read_text()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._notify.close()


def request(control: Path, path: str, method: str = "GET") -> tuple[int, dict[str, Any]]:
    """Send a request to a control socket; return the status and the content."""
    response = request_raw(control, path, method)
    return response.status_code, response.json()


def request_raw(control: Path, path: str, method: str = "GET") -> httpx.Response:
    """Send a request to a control socket; it times out after two seconds."""
    transport = httpx.HTTPTransport(uds=str(control), verify=False)  # or it reads certificates
    with httpx.Client(transport=transport, timeout=2) as client:
        return client.request(method, f"http://worker{path}")


@contextlib.contextmanager
def private_client(path: Path) -> Iterator[http.client.HTTPConnection]:
    """A connection to a UNIX socket, kept alive if the server does."""
    connection = http.client.HTTPConnection("worker")
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.sock.settimeout(10)
        connection.sock.connect(str(path))
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def client(sock: socket.socket) -> Iterator[http.client.HTTPConnection]:
    """A keep-alive connection to a listening TCP socket."""
    connection = http.client.HTTPConnection("127.0.0.1", sock.getsockname()[1], timeout=10)
    try:
        yield connection
    finally:
        connection.close()


def get(connection: http.client.HTTPConnection, path: str = "/", **headers: str) -> Any:
    """Send a GET and return the content of the response, decoded where it is JSON."""
    connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    return read(connection)


def read(connection: http.client.HTTPConnection) -> Any:
    """Read the response to the request that was sent."""
    response = connection.getresponse()
    body = response.read()
    assert response.status == 200, (response.status, body)
    is_json = response.headers.get_content_type() == "application/json"
    return json.loads(body) if is_json else body.decode()


async def hang_up(connection: WebSocketClientConnection) -> None:
    """Close a WebSocket and wait until its socket is closed too, or it would be a later test's."""
    assert connection.protocol is not None
    stream = connection.protocol.stream
    assert stream is not None
    connection.close()
    async with asyncio.timeout(10):
        while not stream.closed():  # noqa: ASYNC110 - its only callback is the connection's own
            await asyncio.sleep(0.01)
