"""What it costs the site to measure how long its handlers hold the loop, and to count."""

from __future__ import annotations

import shlex
from statistics import median
from typing import Any

from bench.figures import Figure, Part, ratios
from bench.host import Host, say, workers
from bench.load import burst

SITE = "site.yml"
TURNS = 8
SECONDS = 1
# A second site on the same host, with the same app and as many workers, that measures nothing.
BARE_PORT = 8082
BARE: dict[str, Any] = {
    "aroundtheworld_site": "bare",
    "aroundtheworld_user": "bare",
    "aroundtheworld_http_port": BARE_PORT,
    "aroundtheworld_metrics_port": 0,
    **workers(4, first=10101),
}
MEASURE_NOTHING = """
from aroundtheworld_runner import blocking, measuring, statistics
measuring.measure_handlers = lambda routes: None
blocking.Watch.start = lambda self: None
statistics.ResponseStatistics.count_response = lambda self, code, seconds: None
"""


def measure(rounds: int) -> Part:
    """Send requests to a site that measures and to another that does not, in turns.

    The turns are short, so that both meet a machine that is equally fast; each round has processes
    of its own, because two processes of the same program differ too.

    Args:
        rounds: how often all workers are started again.

    Raises:
        BenchError: the host could not be set up, or a request was not answered with 200.
    """
    rates: dict[int, list[float]] = {80: [], BARE_PORT: []}
    with Host("cost") as host:
        host.playbook(SITE, changes=True)
        host.playbook(SITE, changes=True, variables=BARE)
        host.install("wrk")
        # What Python does first in the environment of the second site.
        host.shell(
            "cd /var/lib/tornado/bare/environments/*/lib/python3*/site-packages"
            " && echo 'import measure_nothing' > measure_nothing.pth"
            f" && printf %s {shlex.quote(MEASURE_NOTHING)} > measure_nothing.py"
        )
        for _ in range(rounds):
            host.shell("systemctl restart 'aroundtheworld@*.service' 'bare@*.service'")
            for port in rates:  # not counted: what is used for the first time takes longer
                burst(host, port, SECONDS)
            turns: dict[int, list[float]] = {port: [] for port in rates}
            for number in range(TURNS):
                # Who comes first in a turn comes second in the next.
                for port in (80, BARE_PORT) if number % 2 else (BARE_PORT, 80):
                    turns[port].append(burst(host, port, SECONDS).rate)
            for port, rate in turns.items():
                rates[port].append(median(rate))
            say(f"{rates[80][-1]:.0f} requests/s measuring, {rates[BARE_PORT][-1]:.0f} not")
    measuring = Figure("requests a second, measuring", "requests/s", rates[80])
    bare = Figure("requests a second, not measuring", "requests/s", rates[BARE_PORT])
    return Part(
        [
            ratios("requests a second, measuring to not", measuring, bare, 0.97, at_least=True),
            measuring,
            bare,
        ]
    )
