"""How many requests a second the site's nginx passes on, against the plain configuration."""

from __future__ import annotations

import re
import shlex
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
# Prints the nanoseconds of processor time that nginx and the workers have used so far.
_USED = (
    "for process in $(pgrep -x nginx) $(pgrep -u tornado); do cat /proc/$process/schedstat; done"
    """ | awk '{ used += $1 } END { printf "%.0f\\n", used }'"""
)


@dataclass(frozen=True)
class Load:
    """What one burst of requests showed."""

    rate: float
    """Requests a second."""
    cost: float
    """Microseconds of processor time that nginx and the workers took for one. Unlike the rate, it
    hardly depends on what else the machine is doing."""


def measure(rounds: int) -> Part:
    """Sends requests through both configurations in turns, from the host to itself.

    Args:
        rounds: how many bursts each configuration gets.

    Raises:
        BenchError: the host could not be set up, or a request was not answered with 200.
    """
    ours: list[Load] = []
    plain: list[Load] = []
    with Host("load") as host:
        host.playbook("site.yml", changes=True)
        host.shell("DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes wrk")
        host.shell(
            f"printf %s {shlex.quote(PLAIN)} > /etc/nginx/conf.d/plain.conf"
            " && nginx -t -q && systemctl reload nginx && sleep 1"
        )
        for port in (80, PLAIN_PORT):  # not counted: what is used for the first time takes longer
            _burst(host, port, 1)
        for number in range(rounds):
            # Who comes first in a round comes second in the next.
            for port in (80, PLAIN_PORT) if number % 2 else (PLAIN_PORT, 80):
                (ours if port == 80 else plain).append(_burst(host, port, SECONDS))
            say(f"{ours[-1].rate:.0f} requests/s, plain {plain[-1].rate:.0f}")
    rate = Figure("requests through the role's nginx", "requests/s", [one.rate for one in ours])
    plain_rate = Figure("through the plain configuration", "requests/s", [p.rate for p in plain])
    return Part(
        [
            ratios("public requests a second, to plain", rate, plain_rate, 1.6, at_least=True),
            rate,
            plain_rate,
            Figure("processor time a request, role's nginx", "µs", [one.cost for one in ours]),
            Figure("processor time a request, plain", "µs", [one.cost for one in plain]),
        ]
    )


def _burst(host: Host, port: int, seconds: int) -> Load:
    said = host.shell(
        f"{_USED}; wrk --threads 1 --connections {CONNECTIONS} --duration {seconds}s"
        f" http://127.0.0.1:{port}/api/ping; {_USED}"
    )
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    count = re.search(r"(\d+) requests in", said)
    used = [int(line) for line in said.splitlines() if line.isdigit()]
    if rate is None or count is None or len(used) != 2 or "Non-2xx" in said:
        raise BenchError(f"Not every request to port {port} was answered with 200:\n{said}")
    return Load(float(rate[1]), (used[1] - used[0]) / 1000 / int(count[1]))
