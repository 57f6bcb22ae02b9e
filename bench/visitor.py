"""Visits a site, and prints how long that took and what it cost, in JSON.

Runs on the host that is measured, with Debian's own Python: nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Of the first kind that Tornado made, which a visitor can make too.
XSRF = "0123456789abcdef" * 2
PARIS, FRANCE = "/cities/2988507", "/countries/france"
QUESTIONS = 10

sys.path.append("/var/lib/tornado/aroundtheworld/current/runner")  # of the deployed game


class Visitor:
    """A client with a connection and cookies, which notes how long every response took."""

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        """Take the port, and the address of the host where it is not this machine."""
        self.connection = http.client.HTTPConnection(address, port, timeout=60)
        self.cookies = {"_xsrf": XSRF}
        self.took: list[tuple[str, str, float]] = []
        """Method, path without numbers, and seconds."""

    def ask(self, method: str, path: str, content: Any = None) -> Any:  # noqa: ANN401 - as it comes
        """Return what is answered: JSON where it is, and where a redirect leads.

        Raises:
            RuntimeError: it was an error.
        """
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        body = None
        if isinstance(content, str):
            body = f"_xsrf={XSRF}&{content}"
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        elif content is not None:
            body = json.dumps(content)
            headers["Content-Type"] = "application/json"
        elif method == "POST":
            body = ""
        began = time.perf_counter()
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        content = response.read()
        self.took.append((method, re.sub("[0-9]+", "N", path), time.perf_counter() - began))
        if response.status >= 400:
            raise RuntimeError(f"{method} {path}: {response.status} {content[:200]!r}")
        for cookie in response.headers.get_all("Set-Cookie", []):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        if response.headers.get_content_type() == "application/json":
            return json.loads(content)
        return response.headers.get("Location", "")

    def play(self) -> int:
        """Play a round by the API and return its number."""
        number: int = self.ask("POST", "/api/rounds")["id"]
        for position in range(QUESTIONS):
            answer = {"position": position, "choice": position % 4}
            self.ask("POST", f"/api/rounds/{number}/answers", answer)
        return number

    def fly(self) -> None:
        """Fly to the nearest city that can be paid, if there is any."""
        here = self.ask("GET", "/api/journey")["city"]["id"]
        flights = self.ask("GET", "/api/journey/flights")
        if flights:
            ticket = {"from": here, "to": flights[0]["city"]["id"]}
            self.ask("POST", "/api/journey/flights", ticket)

    def begin(self) -> str:
        """Begin a round on the pages, answer a question and return the round's address."""
        address = str(self.ask("POST", "/quiz", ""))
        self.ask("POST", address, "position=0&choice=0")
        return address


def pages(finished: int, begun: str) -> list[str]:
    """Return the addresses of all public pages, for a guest who has played.

    Args:
        finished: number of a round that is finished.
        begun: address of a round that is not.
    """
    return ["/", "/countries", FRANCE, PARIS, "/travel", "/leaderboard", "/you", "/quiz", begun,
            f"/quiz/{finished}", "/login", "/signup", "/api"]  # fmt: skip


def addresses(finished: int, begun: str) -> list[str]:
    """Return all public addresses, those of the API too."""
    api = ["/openapi.json", "/ping", "/countries", FRANCE, PARIS, "/leaderboard",
           f"/rounds/{finished}", "/journey", "/journey/flights"]  # fmt: skip
    return pages(finished, begun) + [f"/api{path}" for path in api]


def visit_everything(port: int, visits: int, name: str) -> None:
    """Make visits of new guests, who see every page, play, fly and sign up."""
    for number in range(visits):
        guest = Visitor(port)
        finished = guest.play()
        guest.fly()
        begun = guest.begin()
        for path in addresses(finished, begun):
            guest.ask("GET", path)
        credentials = {"name": f"{name}-{number}", "password": "a password to measure"}
        guest.ask("POST", "/api/players", credentials)
        guest.ask("POST", "/api/session", credentials)
        guest.ask("GET", "/api/session")
        guest.ask("POST", "/logout", "")
        guest.connection.close()


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Do work in several threads at once.

    Raises:
        RuntimeError: a thread failed.
    """
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"{failures[0]!r}")


def read(control: str, url: str) -> Any:  # noqa: ANN401 - as it comes
    """Return what a worker answers on its control socket."""
    from aroundtheworld_runner.bounded_http import request  # only the host has it

    return json.loads(request(Path(control), "GET", url, timeout=10, limit=1024 * 1024).body)


def process(path: str) -> int:
    """Wait until the worker with that private socket is ready, and return its process.

    Raises:
        RuntimeError: it was not within a minute.
    """
    health: dict[str, Any] = {}
    for _ in range(600):
        with contextlib.suppress(OSError):  # its socket is not there yet
            health = read(path, "/health")
        if health.get("state") == "ready":
            return int(health["pid"])
        time.sleep(0.1)
    raise RuntimeError(f"the worker at {path} is not ready: {health}")


def routes(sockets: list[str]) -> dict[str, dict[str, int]]:
    """Return for each route of several workers how many requests held the loop how long."""
    found: dict[str, dict[str, int]] = {}
    for path in sockets:
        for route in read(path, "/routes")["routes"]:
            counts = found.setdefault(f"{route['route']} {route['handler']}", {})
            for bound, count in route["holds"]["buckets"]:
                counts[str(bound)] = counts.get(str(bound), 0) + count
    return found


def block(port: int, visits: int, name: str, sockets: list[str]) -> dict[str, Any]:
    """Have everything visited, and return for how long each route held a worker's loop."""
    visit_everything(port, 10, f"{name}-first")
    before = routes(sockets)
    in_threads(2, lambda number: visit_everything(port, visits // 2, f"{name}-{number}"))
    after = routes(sockets)
    return {
        route: {
            bound: count - before.get(route, {}).get(bound, 0) for bound, count in counts.items()
        }
        for route, counts in after.items()
    }


def used(process: int) -> int:
    """Return the nanoseconds of processor time that all threads of a process have used."""
    schedstats = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(schedstat.read_text().split()[0]) for schedstat in schedstats)


def cost(workers: dict[str, tuple[int, int]], rounds: int, burst: int) -> list[dict[str, Any]]:
    """Return for each round what each request costs each worker, in microseconds.

    Args:
        workers: port and process of `empty`, whose handler does nothing, and of `small` and
            `large`, which differ by their databases.
        rounds: how often everything is measured, in turns.
        burst: requests of a kind in a row.
    """
    visitors = {name: Visitor(port) for name, (port, _) in workers.items()}
    paths: dict[str, dict[str, str]] = {"empty": {"/": "/"}}
    for name in ("small", "large"):
        finished, begun = visitors[name].play(), visitors[name].begin()
        paths[name] = {
            "/quiz/begun" if path == begun else re.sub("[0-9]+", "N", path): path
            for path in addresses(finished, begun)
        }
        for path in 2 * list(paths[name].values()):  # not counted: the first time takes longer
            visitors[name].ask("GET", path)

    def of(name: str, label: str) -> float:
        """Return what a request to a worker costs."""
        before = used(workers[name][1])
        if label == "round":
            for _ in range(burst):
                visitors[name].play()
            count = burst * (1 + QUESTIONS)
        else:
            for _ in range(burst):
                visitors[name].ask("GET", paths[name][label])
            count = burst
        return (used(workers[name][1]) - before) / 1000 / count

    measured = []
    for number in range(rounds):
        costs: dict[str, dict[str, float]] = {name: {} for name in workers}
        for label in [*paths["small"], "round"]:
            for name in ("small", "large") if number % 2 else ("large", "small"):
                costs[name][label] = of(name, label)
            costs["empty"][label] = of("empty", "/")
        measured.append(costs)
    return measured


DO: dict[str, Callable[..., Any]] = {
    "process": process,
    "block": block,
    "cost": cost,
}

if __name__ == "__main__":
    print(json.dumps(DO[sys.argv[1]](**json.loads(sys.argv[2]))))
