"""What 64 workers cost that 4 do not: in requests a second, and in the operator's time."""

from __future__ import annotations

import shlex
from collections import defaultdict

from bench.figures import Figure, Part, ratios
from bench.host import Host, say, workers
from bench.load import SECONDS, Load, burst

SITE = "site.yml"
FEW, MANY = 4, 64
CONNECTIONS_A_WORKER = 8
# As many processes as public workers that are nothing but Tornado, to see what is its, and the
# machine's.
BARE_PORT, FIRST_BARE_PROCESS = 8081, 11001
BARE = """
import asyncio, sys
from tornado.web import Application, RequestHandler

class Ping(RequestHandler):
    def get(self):
        self.write({"status": "ok"})

async def main():
    Application([("/api/ping", Ping)]).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()

asyncio.run(main())
"""
BARE_NGINX = """
upstream bare {{
    zone bare 128k;
    least_conn;
    {servers}
    keepalive {connections};
}}
server {{
    listen {port};
    location / {{
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_pass http://bare;
    }}
}}
"""


def measure(rounds: int) -> Part:
    """Send requests to 4 and to 64 workers in turns, and have nothing changed on either host.

    Args:
        rounds: how often each is measured.

    Raises:
        BenchError: a run failed, or a request was not answered with 200.
    """
    loads: dict[tuple[int, int], list[Load]] = defaultdict(list)
    run: dict[int, list[float]] = {FEW: [], MANY: []}
    with Host("four") as four, Host("sixtyfour") as sixty_four:
        hosts = {FEW: four, MANY: sixty_four}
        for count, host in hosts.items():
            host.playbook(SITE, changes=True, variables=workers(count))
            host.playbook(SITE, changes=False, variables=workers(count))
            _prepare(host, count)
        for number in range(rounds):
            # Who comes first in a round comes second in the next.
            counts = (FEW, MANY) if number % 2 else (MANY, FEW)
            for port in (80, BARE_PORT):
                for count in counts:
                    load = burst(hosts[count], port, SECONDS, CONNECTIONS_A_WORKER * count)
                    loads[port, count].append(load)
                    say(f"{load.rate:.0f} requests/s, {_words(port, count)}")
            for count in counts:
                took = hosts[count].playbook(SITE, changes=False, variables=workers(count))
                run[count].append(took)
    rates = {
        key: Figure(
            f"requests a second, {_words(*key)}", "requests/s", [load.rate for load in some]
        )
        for key, some in loads.items()
    }
    costs = {
        key: Figure(
            f"processor time a request, {_words(*key)}", "µs", [load.cost for load in group]
        )
        for key, group in loads.items()
    }
    runs = {
        count: Figure(f"`site.yml`, nothing to change, {count} workers", "s", values)
        for count, values in run.items()
    }
    more = f"{MANY} workers to {FEW}"
    return Part(
        [
            ratios(
                f"requests a second, {more}", rates[80, MANY], rates[80, FEW], 0.9, at_least=True
            ),
            ratios(
                f"requests a second, bare Tornado, {MANY - 1} processes to {FEW - 1}",
                rates[BARE_PORT, MANY],
                rates[BARE_PORT, FEW],
            ),
            ratios(f"`site.yml`, nothing to change, {more}", runs[MANY], runs[FEW], 1.3),
            *rates.values(),
            *costs.values(),
            *runs.values(),
        ]
    )


def _words(port: int, count: int) -> str:
    # The last worker is the admin side's.
    return f"{count} workers" if port == 80 else f"bare Tornado, {count - 1} processes"


def _prepare(host: Host, count: int) -> None:
    """Start the processes that are nothing but Tornado, and have nginx take every connection."""
    ports = range(FIRST_BARE_PROCESS, FIRST_BARE_PROCESS + count - 1)
    connections = CONNECTIONS_A_WORKER * count
    nginx = BARE_NGINX.format(
        servers="\n    ".join(f"server 127.0.0.1:{port} max_fails=0;" for port in ports),
        connections=2 * connections,
        port=BARE_PORT,
    )
    host.install("wrk")
    host.shell(
        # Debian's 768 a process are not enough for both ends of all of them.
        "sed -i 's/worker_connections .*/worker_connections 4096;/' /etc/nginx/nginx.conf"
        " && echo 'worker_rlimit_nofile 8192;' > /etc/nginx/modules-enabled/limit.conf"
    )
    host.add_to_nginx("bare", nginx)
    host.shell(
        f"printf %s {shlex.quote(BARE)} > /srv/bare.py"
        f" && for port in $(seq {ports[0]} {ports[-1]}); do systemd-run --quiet --uid=tornado"
        " /var/lib/tornado/aroundtheworld/environments/*/bin/python /srv/bare.py $port; done"
    )
    host.shell(
        f"timeout 60 bash -c 'for port in {{{ports[0]}..{ports[-1]}}}; do"
        " until : < /dev/tcp/127.0.0.1/$port; do sleep 0.2; done; done' 2> /dev/null"
    )
    for port in (80, BARE_PORT):  # not counted: what is used for the first time takes longer
        burst(host, port, 1, connections)
