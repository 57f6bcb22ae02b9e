"""What it costs a worker to measure how long its handlers hold the loop, and to count."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Figure, Part, ratios
from bench.host import CHECKOUT, BenchError, say

RUNNER = CHECKOUT / "roles" / "aroundtheworld" / "files" / "runner"
CONNECTIONS = 16
TURNS = 30
SECONDS = 0.1
# The handler that does the least, for which measuring costs the most.
APP = """
from tornado.web import Application, RequestHandler

class Ping(RequestHandler):
    def get(self):
        self.write("pong")

def make_app():
    return Application([("/ping", Ping)])
"""
MEASURING = "from aroundtheworld_runner.__main__ import main; main()"
# The same runner without any of it.
BARE = (
    """
from aroundtheworld_runner import blocking, statistics
blocking.measure_handlers = lambda routes: None
blocking.Watch.start = lambda self: None
statistics.ResponseStatistics.count_response = lambda self, code, seconds: None
"""
    + MEASURING
)
REQUEST = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass
class Worker:
    """A worker process, and what it has answered."""

    process: int
    port: int
    answered: int = 0
    seconds: float = 0.0
    used: int = 0
    """Nanoseconds of processor time."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.answered / self.seconds

    @property
    def cost(self) -> float:
        """Microseconds of processor time a request, which depends little on what else runs."""
        return self.used / 1000 / self.answered


def measure(rounds: int) -> Part:
    """Sends requests to a worker that measures and to one that does not, in turns.

    The turns are short, so that both meet a machine that is equally fast; each round has processes
    of its own, because two processes of the same program differ too.

    Args:
        rounds: how many pairs of processes.

    Raises:
        BenchError: a worker did not start, or did not answer.
    """
    pairs = [_pair() for _ in range(rounds)]
    measuring, bare = zip(*pairs, strict=True)
    cost = Figure("processor time a request, measuring", "µs", [one.cost for one in measuring])
    bare_cost = Figure("processor time a request, not measuring", "µs", [one.cost for one in bare])
    return Part(
        [
            ratios("processor time a request, measuring to not", cost, bare_cost, 1.03),
            cost,
            bare_cost,
            Figure("one worker, measuring", "requests/s", [one.rate for one in measuring]),
            Figure("one worker, not measuring", "requests/s", [one.rate for one in bare]),
        ]
    )


def _pair() -> tuple[Worker, Worker]:
    """Returns a worker that measured and one that did not, after their bursts."""
    with _worker(MEASURING) as measuring, _worker(BARE) as bare:
        for worker in (measuring, bare):
            asyncio.run(_load(worker.port, 0.5))  # not counted: the first requests take longer
        for number in range(TURNS):
            for worker in (measuring, bare) if number % 2 else (bare, measuring):
                used, began = _used(worker.process), time.perf_counter()
                worker.answered += asyncio.run(_load(worker.port, SECONDS))
                worker.seconds += time.perf_counter() - began
                worker.used += _used(worker.process) - used
    say(f"{measuring.cost:.1f} µs a request with measuring, {bare.cost:.1f} without")
    return measuring, bare


@contextlib.contextmanager
def _worker(program: str) -> Iterator[Worker]:
    """Runs a worker, and yields it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        Path(directory, "pingapp.py").write_text(APP)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        arguments = ["pingapp:make_app", "--port", str(port), "--control", f"{directory}/control"]
        process = subprocess.Popen(  # noqa: S603 - the project's own program
            [sys.executable, "-c", program, *arguments],
            env={**os.environ, "PYTHONPATH": f"{directory}:{RUNNER}"},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            said = process.stderr.readline() if process.stderr else ""
            if "serving on" not in said:
                raise BenchError(f"The worker did not start: {said}")
            yield Worker(process.pid, port)
        finally:
            process.kill()
            process.communicate()


def _used(process: int) -> int:
    """Returns the nanoseconds of processor time that all threads of a process have used."""
    schedstats = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(schedstat.read_text().split()[0]) for schedstat in schedstats)


async def _load(port: int, seconds: float) -> int:
    """Returns how many requests were answered."""
    end = time.perf_counter() + seconds
    return sum(await asyncio.gather(*(_client(port, end) for _ in range(CONNECTIONS))))


async def _client(port: int, end: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answered = 0
    while time.perf_counter() < end:
        writer.write(REQUEST)
        if not (await reader.readuntil(b"pong")).startswith(b"HTTP/1.1 200"):
            raise BenchError("A request was not answered with 200.")
        answered += 1
    writer.close()
    return answered
