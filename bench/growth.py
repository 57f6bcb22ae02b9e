"""What 64 workers cost that 4 do not: in requests a second, and in the operator's time."""

from __future__ import annotations

from typing import Any

from bench.figures import Figure, Part, ratios
from bench.host import Host, say
from bench.load import SECONDS, burst

SITE = "site.yml"


def workers(count: int) -> dict[str, Any]:
    """Returns the variables for so many workers, one of them the admin side's."""
    last = 10000 + count
    return {
        "aroundtheworld_pools": [
            {"name": "public", "ports": list(range(10001, last)), "paths": ["/"]},
            {"name": "admin", "ports": [last], "paths": ["/admin"], "blocking": True},
        ]
    }


def measure(rounds: int) -> Part:
    """Sends requests to 4 and to 64 workers in turns, and has nothing changed on either host.

    Args:
        rounds: how often each is measured.

    Raises:
        BenchError: a run failed, or a request was not answered with 200.
    """
    rate: dict[int, list[float]] = {4: [], 64: []}
    cost: dict[int, list[float]] = {4: [], 64: []}
    run: dict[int, list[float]] = {4: [], 64: []}
    with Host("four") as four, Host("sixtyfour") as sixty_four:
        hosts = {4: four, 64: sixty_four}
        for count, host in hosts.items():
            host.playbook(SITE, changes=True, variables=workers(count))
            host.playbook(SITE, changes=False, variables=workers(count))
            host.shell("DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes wrk")
            burst(host, 80, 1)  # not counted: what is used for the first time takes longer
        for number in range(rounds):
            # Who comes first in a round comes second in the next.
            for count in (4, 64) if number % 2 else (64, 4):
                load = burst(hosts[count], 80, SECONDS)
                rate[count].append(load.rate)
                cost[count].append(load.cost)
                took = hosts[count].playbook(SITE, changes=False, variables=workers(count))
                run[count].append(took)
            say(f"{rate[64][-1]:.0f} requests/s of 64 workers, {rate[4][-1]:.0f} of 4")
    few, many = (
        [
            Figure(f"requests a second, {count} workers", "requests/s", rate[count]),
            Figure(f"processor time a request, {count} workers", "µs", cost[count]),
            Figure(f"`site.yml`, nothing to change, {count} workers", "s", run[count]),
        ]
        for count in (4, 64)
    )
    return Part(
        [
            ratios("requests a second, 64 workers to 4", many[0], few[0], 0.9, at_least=True),
            ratios("`site.yml`, nothing to change, 64 workers to 4", many[2], few[2], 1.3),
            *few,
            *many,
        ]
    )
