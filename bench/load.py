"""How many requests a second the site's nginx passes on, against the plain configuration."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from bench.figures import Figure, Part, ratios
from bench.host import BenchError, Host, say

PLAIN_PORT = 8081
CONNECTIONS = 32
SECONDS = 5
# What Tornado's documentation shows, to the same workers: no keep-alive to them, round robin.
PLAIN = f"""
upstream plain {{
    server 127.0.0.1:10001;
    server 127.0.0.1:10002;
    server 127.0.0.1:10003;
}}
server {{
    listen 127.0.0.1:{PLAIN_PORT};
    location / {{
        proxy_pass_header Server;
        proxy_set_header Host $http_host;
        proxy_redirect off;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Scheme $scheme;
        proxy_pass http://plain;
    }}
}}
"""
# Prints the processor time that nginx and the workers have used so far, in nanoseconds, and that of
# the whole machine in hundredths of a second: idle, and all.
STATE = (
    "for process in $(pgrep -x nginx) $(pgrep -u tornado); do cat /proc/$process/schedstat; done"
    """ | awk '{ used += $1 } END { printf "used %.0f\\n", used }'"""
    "; awk '/^cpu / { for (n = 2; n <= 9; n++) all += $n;"
    """ printf "used %d\\nused %d\\n", $5 + $6, all }' /proc/stat"""
)
# How much of the machine's time may go elsewhere than to nginx and the workers in a burst that
# counts. The client takes a third of it.
ELSEWHERE = 0.2
ENOUGH = 3  # rounds, when the machine was not quiet for more of them
PATIENCE = 600  # seconds of waiting for the machine to be quiet, in all


@dataclass(frozen=True)
class Load:
    """What a burst of requests showed."""

    rate: float
    """Requests a second."""
    cost: float
    """Microseconds of processor time that nginx and the workers took for a request.

    Unlike the rate, it hardly depends on what else the machine is doing.
    """
    elsewhere: float
    """The share of the machine's time that went to anything else, such as the client."""


def measure(rounds: int) -> Part:
    """Send requests through both configurations in turns, from the host to itself.

    Args:
        rounds: how many bursts each configuration gets.

    Raises:
        BenchError: the host could not be set up, a request was not answered with 200, or the
            machine was busy with something else all the time.
    """
    ours: list[Load] = []
    plain: list[Load] = []
    with Host("load") as host:
        host.playbook("site.yml", changes=True)
        host.install("wrk")
        host.add_to_nginx("plain", PLAIN)
        for port in (80, PLAIN_PORT):  # not counted: what is used for the first time takes longer
            burst(host, port, 1)
        give_up = time.monotonic() + PATIENCE + rounds * 2 * SECONDS
        while len(ours) < rounds:
            # Who comes first in a round comes second in the next.
            ports = (80, PLAIN_PORT) if len(ours) % 2 else (PLAIN_PORT, 80)
            loads = {port: burst(host, port, SECONDS) for port in ports}
            elsewhere = max(load.elsewhere for load in loads.values())
            if elsewhere <= ELSEWHERE:
                ours.append(loads[80])
                plain.append(loads[PLAIN_PORT])
                say(f"{ours[-1].rate:.0f} requests/s, plain {plain[-1].rate:.0f}")
            elif time.monotonic() < give_up:
                say(f"{elsewhere:.0%} of the machine's time went elsewhere: once more")
                time.sleep(2 * SECONDS)
            elif len(ours) >= ENOUGH:
                break
            else:
                raise BenchError(
                    f"The machine was never quiet for long enough: {elsewhere:.0%} of its time "
                    "went elsewhere. Try again when it has less to do."
                )
    rate = Figure("requests through the role's nginx", "requests/s", [load.rate for load in ours])
    plain_rate = Figure(
        "through the plain configuration", "requests/s", [load.rate for load in plain]
    )
    return Part(
        [
            ratios("public requests a second, to plain", rate, plain_rate, 1.6, at_least=True),
            rate,
            plain_rate,
            Figure("processor time a request, role's nginx", "µs", [load.cost for load in ours]),
            Figure("processor time a request, plain", "µs", [load.cost for load in plain]),
        ]
    )


def burst(host: Host, port: int, seconds: int, connections: int = CONNECTIONS) -> Load:
    """Send as many requests as there are answers, and return what that showed.

    Raises:
        BenchError: a request was not answered with 200.
    """
    output = host.shell(
        f"{STATE}; wrk --threads 1 --connections {connections} --duration {seconds}s"
        f" http://127.0.0.1:{port}/api/ping; {STATE}"
    )
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    count = re.search(r"([1-9]\d*) requests in", output)
    if rate is None or count is None or "Non-2xx" in output:
        raise BenchError(f"Not every request to port {port} was answered with 200:\n{output}")
    used, elsewhere = spent(output)
    return Load(float(rate[1]), used / int(count[1]), elsewhere)


def spent(output: str) -> tuple[float, float]:
    """Return what passed between the two `STATE` in the output of a command.

    Returns:
        Microseconds of processor time that nginx and the workers took, and the share of the
        machine's time that went to anything else.

    Raises:
        BenchError: the output has not two of them.
    """
    state = [int(number) for number in re.findall(r"^used (\d+)$", output, re.MULTILINE)]
    if len(state) != 6:
        raise BenchError(f"There should be the processors' clocks before and after:\n{output}")
    used, idle, all_time = (
        after - before for before, after in zip(state[:3], state[3:], strict=True)
    )
    return used / 1000, 1 - (idle + used / 1e7) / all_time
