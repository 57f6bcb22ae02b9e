"""What visitors feel of a busy admin side, here and in four other ways to deploy the app."""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.figures import Figure, Part, ratios
from bench.host import CHECKOUT, BenchError, Host, run, say

HOME = "/var/lib/tornado/aroundtheworld"
RATE = 200  # public requests a second
BLOCKED = 5  # seconds for which a public loop is blocked
WATCHDOG = 10  # seconds after which a public worker is restarted
PUBLIC_PORTS, ADMIN_PORT = [10001, 10002, 10003], 10004

VARIABLES: dict[str, Any] = {
    "aroundtheworld_app_dir": str(CHECKOUT / "bench" / "app"),
    "aroundtheworld_make_app": "strain:make_app",
    "aroundtheworld_migrate_command": "",
    "aroundtheworld_migrate_check_command": "",
    "aroundtheworld_schema_check_command": "",
    "aroundtheworld_environment": {"SHARED": f"{HOME}/shared"},
    "aroundtheworld_secrets": {},
    "aroundtheworld_static": [],
    "aroundtheworld_pools": [
        {"name": "public", "ports": PUBLIC_PORTS, "paths": ["/"], "watchdog": WATCHDOG},
        {
            "name": "admin",
            "ports": [ADMIN_PORT],
            "paths": ["/admin"],
            "blocking": True,
            "memory_max": "400M",
        },
    ],
}

# How the admin side is kept busy: a word for the table, and the path that is requested.
STATES = {
    "idle": "",
    "blocking calls": "/admin/block?seconds=1",
    "pure Python": "/admin/compute?seconds=1",
    "memory": "/admin/remember?seconds=1",
    "disk writes": "/admin/store?seconds=1",
    "database writes": "/admin/write?seconds=1",
}
ROLE = "(e) this role"


@dataclass(frozen=True)
class Other:
    """Another way to deploy the app: the port of its nginx, that server, and its processes."""

    port: int
    nginx: str
    processes: Sequence[str]
    """Commands, each for a service of its own."""


def _tornado(port: int, processes: int = 1) -> str:
    return f"python strain.py {port} {processes}"


# What Tornado's documentation shows for nginx in front of several processes.
_PROXY = """
        proxy_pass_header Server;
        proxy_set_header Host $http_host;
        proxy_redirect off;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Scheme $scheme;"""
_FOUR = [_tornado(port) for port in range(11001, 11005)]
_SPLIT = """
upstream {name} {{ server 127.0.0.1:11001; server 127.0.0.1:11002; server 127.0.0.1:11003; }}
upstream {name}_admin {{ server 127.0.0.1:{admin}; }}
server {{
    listen {port};
    location / {{{proxy}
        proxy_pass http://{name};
    }}
    location /admin {{{proxy}
        proxy_pass http://{name}_admin;
    }}
}}
"""
OTHERS = {
    "(a) one pool of four": Other(
        8081,
        """
upstream one_pool {
    server 127.0.0.1:11001; server 127.0.0.1:11002; server 127.0.0.1:11003; server 127.0.0.1:11004;
}
server { listen 8081; location / { proxy_pass http://one_pool; } }
""",
        _FOUR,
    ),
    "(b) the plain split": Other(
        8082, _SPLIT.format(name="plain", admin=11004, port=8082, proxy=_PROXY), _FOUR
    ),
    "(c) Tornado forks four": Other(
        8083,
        "server { listen 8083; location / { proxy_pass http://127.0.0.1:11005; } }\n",
        [_tornado(11005, 4)],
    ),
    "(d) Flask for the admin": Other(
        8084,
        _SPLIT.format(name="flask", admin=11006, port=8084, proxy=_PROXY),
        [*_FOUR[:3], "gunicorn --bind 127.0.0.1:11006 desk:app"],
    ),
}


@dataclass(frozen=True)
class Visit:
    """What visitors felt."""

    seconds: list[float]
    failed: list[str]
    once: float = 0.0
    """When the request that disturbs was sent, in seconds since 1970."""

    @property
    def p99(self) -> float:
        """Milliseconds that 1 in 100 responses took, or longer."""
        return statistics.quantiles(self.seconds, n=100)[98] * 1000 if self.seconds else 0.0

    @property
    def slow(self) -> float:
        """How many of a hundred requests took longer than half a second, or failed."""
        slow = sum(seconds > 0.5 for seconds in self.seconds) + len(self.failed)
        return 100 * slow / (len(self.seconds) + len(self.failed))


class Bench:
    """The host on which all are."""

    def __init__(self, host: Host) -> None:
        """Take the host."""
        self.host = host

    def visit(self, port: int, seconds: float, *, busy: str = "", once: str = "") -> Visit:
        """Have visitors come, while others keep the admin side busy."""
        site = (self.host.address, str(port))
        output = run(
            *(sys.executable, "-m", "bench.visitors", *site, f"--rate={RATE}"),
            *(f"--seconds={seconds}", f"--busy={busy}", f"--once={once}"),
        )
        return Visit(**json.loads(output.splitlines()[-1]))

    def start(self, other: Other) -> None:
        """Start the processes of another way, each as a service without limits."""
        prefix = (
            f"systemd-run --quiet --collect --uid=tornado --setenv=SHARED={HOME}/shared"
            f" --setenv=PATH={HOME}/current/venv/bin:/usr/bin:/bin"
            f" --working-directory={HOME}/current/app"
        )
        for number, process in enumerate(other.processes):
            self.host.shell(f"{prefix} --unit=strain-{number} /usr/bin/env {process}")
        self.wait(other.port)
        # By its defaults, nginx shuts out for 10 s what was not there at once; this ends that.
        self.host.shell("systemctl reload nginx; sleep 1")

    def stop(self) -> None:
        """Stop them."""
        self.host.shell("systemctl kill --signal=KILL 'strain-*.service'; sleep 0.5; true")

    def wait(self, port: int) -> None:
        """Return when both sides answer."""
        for path in ("/row", "/admin/block?seconds=0"):
            self.host.shell(
                f"for n in $(seq 150); do curl -fs -o /dev/null 'http://127.0.0.1:{port}{path}'"
                " && exit; sleep 0.2; done; exit 1"
            )

    def restarts(self) -> dict[int, int]:
        """Return each worker's restarts by systemd."""
        output = self.host.shell("systemctl show -p Id,NRestarts 'aroundtheworld@*.service'")
        found = {}
        for block in output.strip().split("\n\n"):
            port, count = re.search(r"@(\d+)\.", block), re.search(r"NRestarts=(\d+)", block)
            if port and count:
                found[int(port[1])] = int(count[1])
        if found.keys() != {*PUBLIC_PORTS, ADMIN_PORT}:
            raise BenchError(f"systemd should know four workers, and prints:\n{output}")
        return found


def measure(seconds: float, rounds: int) -> Part:
    """Have visitors come to each way of deploying, idle and busy in every way.

    Args:
        seconds: how long each visit to the role is; to the others, half of that.
        rounds: how often the role is measured; the others are once.

    Raises:
        BenchError: the host could not be set up, or did not answer.
    """
    with Host("isolation") as host:
        host.playbook("site.yml", changes=True, variables=VARIABLES)
        host.install("curl")
        host.add_to_nginx("others", "".join(other.nginx for other in OTHERS.values()))
        bench = Bench(host)
        found: dict[str, dict[str, list[Visit]]] = {}
        for name, other in OTHERS.items():
            bench.start(other)
            found[name] = _every_state(bench, name, other.port, seconds / 2, 1)
            bench.stop()
        bench.wait(80)
        found[ROLE] = _every_state(bench, ROLE, 80, seconds, rounds)
        disturbed = list(_disturbed(bench))
    return Part([*_promises(found[ROLE]), *disturbed, *_pictures(found)])


def _every_state(
    bench: Bench, name: str, port: int, seconds: float, rounds: int
) -> dict[str, list[Visit]]:
    found: dict[str, list[Visit]] = {state: [] for state in STATES}
    bench.visit(port, 2)  # not counted: what is used for the first time takes longer
    for _ in range(rounds):
        for state, path in STATES.items():
            visit = bench.visit(port, seconds, busy=path)
            found[state].append(visit)
            say(f"{name}, {state}: p99 {visit.p99:.1f} ms, {len(visit.failed)} failed")
            if path:
                bench.wait(port)  # what the admin side has begun ends
                bench.host.shell("sync; sleep 2")
    return found


def _promises(ours: dict[str, list[Visit]]) -> list[Figure]:
    idle = Figure("", "ms", [visit.p99 for visit in ours["idle"]])
    figures = [
        ratios(
            f"public p99 with {state} on the admin side, to idle",
            Figure("", "ms", [visit.p99 for visit in visits]),
            idle,
            1.2,
        )
        for state, visits in ours.items()
        if state != "idle"
    ]
    failed = [float(len(visit.failed)) for visits in ours.values() for visit in visits]
    return [*figures, Figure("public requests that failed, a visit", "", failed, 0)]


def _disturbed(bench: Bench) -> list[Figure]:
    """Return what a blocked public loop and a hog in the admin side cost."""
    visit = bench.visit(80, BLOCKED + 5, once=f"/block?seconds={BLOCKED}")
    lines = bench.host.shell(
        f"journalctl -q -o short-unix -u 'aroundtheworld@*' --since=@{visit.once:.0f}"
    ).splitlines()
    named = [float(line.split()[0]) - visit.once for line in lines if "Block" in line]
    say(f"one public loop blocked: {visit.slow:.2f} % slow; named after {named[:1]} s")

    # Both sides blocked for longer than the watchdog of the public side allows.
    calm = bench.restarts()
    bench.visit(80, WATCHDOG * 2.5, once=f"/block?seconds={WATCHDOG * 3}")
    bench.visit(80, WATCHDOG * 3, once=f"/admin/block?seconds={WATCHDOG * 3}")
    watched = bench.restarts()
    public = sum(watched[port] - calm[port] for port in PUBLIC_PORTS)
    admin = watched[ADMIN_PORT] - calm[ADMIN_PORT]
    say(f"blocked for good: {public} public restarts, {admin} of the admin worker")

    hogged = bench.visit(80, 15, once="/admin/hog?seconds=20")
    bench.wait(80)
    after = bench.restarts()
    killed = after[ADMIN_PORT] - watched[ADMIN_PORT]
    others = sum(after[port] - watched[port] for port in PUBLIC_PORTS)
    say(f"hog: admin killed {killed} times, public {others}, {len(hogged.failed)} failed")
    return [
        Figure(
            f"public requests over 500 ms, one loop blocked for {BLOCKED} s", "%", [visit.slow], 1
        ),
        Figure("until the journal names the handler", "s", named[:1] or [float(BLOCKED * 10)], 2),
        Figure("restarts by the watchdog, public worker blocked for good", "", [public], 1, True),
        Figure("restarts by the watchdog, admin worker blocked as long", "", [admin], 0),
        Figure("times that a memory hog had the admin worker killed", "", [killed], 1, True),
        Figure("times that it had a public worker killed", "", [others], 0),
        Figure("public requests that failed meanwhile", "", [float(len(hogged.failed))], 0),
        Figure("public p99 meanwhile", "ms", [hogged.p99]),
    ]


def _pictures(found: dict[str, dict[str, list[Visit]]]) -> list[Figure]:
    """Return the p99 of each way in each state, and what failed in it."""
    figures = []
    for name, states in found.items():
        for state, visits in states.items():
            failed = sum(len(visit.failed) for visit in visits)
            more = f" ({failed} failed)" if failed else ""
            figures.append(Figure(f"{name}: {state}{more}", "ms", [visit.p99 for visit in visits]))
    return figures
