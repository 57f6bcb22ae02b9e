"""What the game's pages cost, how long they hold the loop, and what a report does to them."""

from __future__ import annotations

import json
import shlex
import sys
from collections import Counter, defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from bench.figures import Figure, Part, ratios
from bench.host import Host, run, say
from tests.role_files import load_python

percentile = load_python("module_utils/aroundtheworld/percentiles.py").percentile

VISITOR = (Path(__file__).parent / "visitor.py").read_text()
HOME = "/var/lib/tornado/aroundtheworld"
FEW_ROUNDS, MANY_ROUNDS = 1_000, 100_000
ROUNDS_A_PLAYER = 4.5  # of `simulate`, a little fewer than there will be
PUBLIC_PORTS = (10001, 10002, 10003)
# Workers of their own, beside those that nginx knows: by the same runner, with the same release.
EXTRA_PORTS = {"small": 10101, "large": 10102, "empty": 10103}
EMPTY_APP = """
from tornado.web import Application, RequestHandler

class Empty(RequestHandler):
    def get(self):
        pass

def make_app():
    return Application([("/", Empty)])
"""
ADMIN, PASSWORD = "ada", "a password to measure"
SLOW_REPORT = "difficulty"
# What a page costs is measured in bursts of so many requests.
BURST = 20


def measure(rounds: int, visits: int) -> Part:
    """Fill the database of a deployed game and visit it.

    Args:
        rounds: how often costs and reports are measured.
        visits: how often every public address is visited, to see how long it holds the loop.

    Raises:
        BenchError: the host could not be set up, or an answer was an error.
    """
    with Host("game") as host:
        host.playbook("site.yml", changes=True)
        _fill(host)
        processes = _start_workers(host)
        costs = _visit(host, "cost", workers=processes, rounds=rounds, burst=BURST)
        sockets = [f"/run/aroundtheworld/{port}/control.sock" for port in PUBLIC_PORTS]
        held = [
            _visit(host, "block", port=80, visits=visits, name=f"visitor{number}", sockets=sockets)
            for number in range(2)
        ]
        login = {"name": ADMIN, "password": PASSWORD}
        site = {"address": host.address, "port": 80}
        arguments = json.dumps({**site, **login, "kind": SLOW_REPORT, "rounds": rounds})
        reports = json.loads(run(sys.executable, "-m", "bench.during_report", arguments))
    return Part([*_costs(costs), *_holds(held), *_reports(reports)])


def _run(host: Host, command: str, database: str = "") -> str:
    """Run a command of the app on the host, on a database of its own if it is named."""
    prefix = f"env DATABASE_URL=sqlite:///{HOME}/shared/{database}.db " if database else ""
    return host.shell(f"aroundtheworld-run {prefix}{command}")


def _fill(host: Host) -> None:
    """Fill the game's own database and a second database, and make an administrator."""
    python = "python -m aroundtheworld"
    _run(host, f"{python} migrate", "small")
    for database, count in (("small", FEW_ROUNDS), ("", MANY_ROUNDS)):
        there = 0
        while there < count:
            # Chance decides how many rounds a player plays.
            players = int((count - there) / ROUNDS_A_PLAYER) + 1
            output = _run(host, f"{python} simulate --seed {there} --players {players}", database)
            there += int(output.split(" rounds ")[0].split()[-1].replace(",", ""))
        say(f"{there:,} rounds in the {database or 'large'} database")
    host.shell(f"echo {shlex.quote(PASSWORD)} | aroundtheworld-run {python} create-admin {ADMIN}")


def _start_workers(host: Host) -> dict[str, tuple[int, int]]:
    """Start a worker for each database and an idle app; return ports and processes."""
    host.shell(f"printf %s {shlex.quote(EMPTY_APP)} > {HOME}/shared/emptyapp.py")
    databases = {"small": "small", "large": "aroundtheworld", "empty": "small"}
    workers = {}
    for name, port in EXTRA_PORTS.items():
        app = "emptyapp:make_app" if name == "empty" else "aroundtheworld.app:make_app"
        control = f"{HOME}/shared/{name}.sock"
        command = (
            f"PYTHONPATH=$PYTHONPATH:{HOME}/shared AROUNDTHEWORLD_POOL=public"
            f" DATABASE_URL=sqlite:///{HOME}/shared/{databases[name]}.db"
            f" exec python -m aroundtheworld_runner {app} --port {port} --control {control}"
        )
        host.shell(
            f"nohup aroundtheworld-run sh -c {shlex.quote(command)} > /var/log/{name}.log 2>&1"
            " < /dev/null &"
        )
        workers[name] = (port, int(_visit(host, "process", path=control)))
    return workers


def _visit(host: Host, what: str, **arguments: object) -> Any:  # noqa: ANN401 - as it comes
    """Run `bench/visitor.py` on the host and return what it found."""
    quoted = shlex.quote(json.dumps(arguments))
    return json.loads(host.shell(f"python3 - {what} {quoted} <<'END'\n{VISITOR}\nEND"))


def _costs(rounds: list[dict[str, dict[str, float]]]) -> list[Figure]:
    """Return what was measured of the costs."""
    is_page = {label: not label.startswith("/api/") and label != "round" for label in
               rounds[0]["large"]}  # fmt: skip
    empty = Figure(
        "processor time of a request, empty handler", "µs",
        [median(costs["empty"].values()) for costs in rounds],
    )  # fmt: skip
    page = Figure(
        "processor time of a request, median public page", "µs",
        [
            median(cost for label, cost in costs["large"].items() if is_page[label])
            for costs in rounds
        ],
    )  # fmt: skip
    # Every address once, and a round that is played: as much of each as in a usual visit.
    large, small = (
        Figure(
            f"processor time of a visit, {count:,} rounds in the database", "µs",
            [sum(costs[name].values()) for costs in rounds],
        )
        for name, count in (("large", MANY_ROUNDS), ("small", FEW_ROUNDS))
    )  # fmt: skip
    for label in rounds[0]["large"]:
        here = median(costs["large"][label] for costs in rounds)
        there = median(costs["small"][label] for costs in rounds)
        say(f"{here:7.0f} µs {label}, {here / there:.2f} x of the small database")
    return [
        ratios("median public page, to an empty handler", page, empty, 30),
        ratios("100,000 rounds in the database, to 1,000", large, small, 1.2),
        empty,
        page,
        large,
        small,
    ]


def _holds(rounds: list[dict[str, dict[str, int]]]) -> list[Figure]:
    """Return what was measured of how long requests held the loop."""
    counts: dict[str, Counter[float]] = defaultdict(Counter)
    for routes in rounds:
        for route, buckets in routes.items():
            counts[route].update({float(bound): n for bound, n in buckets.items()})
    by_route = {
        route: percentile(buckets.items(), 0.999) * 1000
        for route, buckets in counts.items()
        if buckets.total()
    }
    worst = sorted(by_route, key=lambda route: by_route[route], reverse=True)
    for route in worst[:5]:
        say(f"{by_route[route]:6.1f} ms {route}, {counts[route].total()} requests")
    name = "how long the slowest public route holds the loop, p99.9"
    return [Figure(name, "ms", [by_route[worst[0]]], 10)]


def _reports(rounds: list[dict[str, Any]]) -> list[Figure]:
    """Return what was measured while a report ran, and while none did."""

    def p99(phase: str, kind: str) -> list[float]:
        return [
            sorted(waits[phase][kind])[int(0.99 * len(waits[phase][kind]))] * 1000
            for waits in rounds
        ]

    figures = {
        (phase, kind): Figure(f"public {kind}, p99 {words}", "ms", p99(phase, kind))
        for phase, words in (("busy", "while a report runs"), ("idle", "while none does"))
        for kind in ("reads", "writes")
    }
    slowest = [max(waits["busy"]["writes"]) for waits in rounds]
    return [
        ratios(
            "public p99 while a report runs, to idle",
            figures["busy", "reads"], figures["idle", "reads"], 1.2,
        ),
        Figure("slowest public write while a report runs", "s", slowest, 0.5),
        *figures.values(),
        Figure("how long the report ran", "s", [waits["seconds"] for waits in rounds]),
    ]  # fmt: skip
