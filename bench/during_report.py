"""How long visitors wait while a report runs and while none does, in JSON: a part of bench/game.py.

Runs on this machine and not on the host, so that the client may be given priority.
"""

from __future__ import annotations

import collections
import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench.open_loop import OpenLoop, Request, Result, come_first
from bench.visitor import QUESTIONS, Visitor, pages

RATE = 80  # requests a second, which leave the machine time for a report
GUESTS = 2


class Guest:
    """A player who reads pages and answers questions, in turns."""

    def __init__(self, address: str, port: int) -> None:
        """Play and fly, so that every page has something to show."""
        visitor = Visitor(port, address)
        self._finished, self._begun = visitor.play(), visitor.begin()
        visitor.fly()
        visitor.connection.close()
        self.cookies = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
        self._headers = {"Cookie": self.cookies}
        self._due: collections.deque[tuple[int, int]] = collections.deque()
        """Rounds whose next question can be answered, and its position."""

    def requests(self) -> Iterator[Request]:
        """Yield what to request."""
        for path in itertools.cycle(pages(self._finished, self._begun)):
            yield Request(path, headers=self._headers, kind="reads")
            yield self._write()

    def _write(self) -> Request:
        """Return the answer to a question, or a new round where no question is due."""
        path, content = "/api/rounds", b""
        if self._due:
            number, position = self._due.popleft()
            path = f"/api/rounds/{number}/answers"
            content = json.dumps({"position": position, "choice": 0}).encode()
        headers = {**self._headers, "Content-Type": "application/json"}
        return Request(path, "POST", content, headers, kind="writes")

    def note(self, result: Result) -> None:
        """Learn which question is due next.

        Raises:
            RuntimeError: the response was an error, or there was none.
        """
        if result.outcome[:1] not in ("2", "3"):
            raise RuntimeError(f"{result.request.path}: {result.outcome} {result.body[:200]!r}")
        if result.request.kind == "writes":
            round_ = json.loads(result.body)
            position = len(round_["answered"])
            if position < QUESTIONS:
                self._due.append((round_["id"], position))


def waits(address: str, port: int, is_over: Callable[[], bool]) -> dict[str, list[float]]:
    """Have guests use the site until it is over, and return how long they waited."""
    guests = {guest.cookies: guest for guest in (Guest(address, port) for _ in range(GUESTS))}
    waited: dict[str, list[float]] = {"reads": [], "writes": []}

    def note(result: Result) -> None:
        guests[result.request.headers["Cookie"]].note(result)
        waited[result.request.kind].append(result.seconds)

    in_turns = zip(*(guest.requests() for guest in guests.values()), strict=True)
    requests = itertools.chain.from_iterable(in_turns)
    OpenLoop(address, port, note).run(RATE, requests, is_over)
    return waited


def after(seconds: float) -> Callable[[], bool]:
    """Return a function that returns whether so many seconds have gone by."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def measure(
    address: str, port: int, name: str, password: str, kind: str, rounds: int
) -> list[dict[str, Any]]:
    """Return how long visitors waited while a report ran and while none did, in turns."""
    come_first()  # so do the threads that are begun here
    administrator = Visitor(port, address)
    administrator.ask("POST", "/api/session", {"name": name, "password": password})
    waits(address, port, after(2))  # not counted: the first time takes longer
    measured = []
    for _ in range(rounds):
        done = threading.Event()
        took: list[float] = []

        def run(done: threading.Event = done, took: list[float] = took) -> None:
            began = time.monotonic()
            try:
                administrator.ask("POST", "/admin/reports", f"kind={kind}")
                took.append(time.monotonic() - began)
            finally:
                done.set()

        running = threading.Thread(target=run)
        running.start()
        busy = waits(address, port, done.is_set)
        running.join()
        if not took:
            raise RuntimeError("the report failed")
        idle = waits(address, port, after(took[0]))
        measured.append({"busy": busy, "idle": idle, "seconds": took[0]})
    return measured


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
