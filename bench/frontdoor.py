"""What HTTPS costs, and what the role costs beside the shortest setup there is."""

from __future__ import annotations

import re
import shlex
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.figures import Figure, Part, ratios
from bench.host import CACHE, CHECKOUT, BenchError, Host, say
from bench.isolation import HOME, VARIABLES
from bench.load import STATE, spent

CONNECTIONS = 32
TURNS = 6
FILE = "/static/page.css"
FILE_BYTES = 10_000
# The pool of the visitors only: the admin side is not asked for anything.
PORTS = [10001, 10002, 10003]
HTTPS_SITE = {
    **VARIABLES,
    "aroundtheworld_tls": "local",
    "aroundtheworld_static": [{"url": "/static/", "directory": "static"}],
    "aroundtheworld_pools": [{"name": "public", "ports": PORTS, "paths": ["/"]}],
}
# A second site, because the first sends visitors of HTTP to HTTPS. Its nginx uses the first one's
# workers: two processes of the same program differ by some percent.
HTTP_PORT, BARE_HTTP_PORT, BARE_HTTPS_PORT = 8081, 8082, 8443
HTTP_SITE: dict[str, Any] = {
    **HTTPS_SITE,
    "aroundtheworld_site": "open",
    "aroundtheworld_user": "open",
    "aroundtheworld_tls": "none",
    "aroundtheworld_http_port": HTTP_PORT,
    "aroundtheworld_metrics_port": 0,
    "aroundtheworld_environment": {"SHARED": "/var/lib/tornado/open/shared"},
    "aroundtheworld_pools": [
        {"name": "public", "ports": [port + 100 for port in PORTS], "paths": ["/"]}
    ],
}
BARE_PORTS = [11001, 11002, 11003]
# The certificate's paths and every other line about TLS are the site's own.
BARE_NGINX = """
upstream bare {{
    {servers}
    keepalive 32;
}}
server {{
    listen {http};
    location / {{
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_pass http://bare;
    }}
}}
server {{
    listen {https} ssl http2;
    {tls}
    gzip_static on;
    gzip_vary on;
    root /srv/bare;
}}
"""


@dataclass(frozen=True)
class Way:
    """One way to ask for something."""

    name: str
    url: str
    requests: int
    """In a burst: enough for a second or so."""
    http2: bool


FILE_OURS = Way("a file, the role's nginx", f"https://127.0.0.1{FILE}", 20_000, http2=True)
FILE_BARE = Way(
    "a file, bare nginx", f"https://127.0.0.1:{BARE_HTTPS_PORT}{FILE}", 20_000, http2=True
)
ROUTE_HTTPS = Way("a route over HTTPS", "https://127.0.0.1/", 4_000, http2=True)
ROUTE_HTTP = Way("the same over HTTP", f"http://127.0.0.1:{HTTP_PORT}/", 4_000, http2=False)
ROUTE_BARE = Way("bare Tornado", f"http://127.0.0.1:{BARE_HTTP_PORT}/", 4_000, http2=False)
WAYS = (FILE_OURS, FILE_BARE, ROUTE_HTTPS, ROUTE_HTTP, ROUTE_BARE)


@dataclass(frozen=True)
class Load:
    """What a burst of requests showed."""

    rate: float
    """Requests a second."""
    cost: float
    """Microseconds of processor time that nginx and the workers took for a request."""


def measure(rounds: int) -> Part:
    """Ask in each way in turns, from the host to itself.

    Each round has processes of its own, because two processes of the same program differ.

    Args:
        rounds: how often all workers are started again.

    Raises:
        BenchError: the host could not be set up, or a request was not answered with 200.
    """
    found: dict[str, list[Load]] = defaultdict(list)
    with Host("frontdoor") as host:
        app = {"aroundtheworld_app_dir": str(_app())}
        host.playbook("site.yml", changes=True, variables={**HTTPS_SITE, **app})
        host.playbook("site.yml", changes=True, variables={**HTTP_SITE, **app})
        _prepare(host)
        for number in range(rounds):
            _start_again(host)
            for way in WAYS:  # not counted: what is used for the first time takes longer
                burst(host, way)
            turns: dict[str, list[Load]] = defaultdict(list)
            for turn in range(TURNS):
                # Who comes first in a turn comes second in the next.
                for way in WAYS if (number + turn) % 2 else reversed(WAYS):
                    turns[way.name].append(burst(host, way))
            for way in WAYS:
                rate = median(load.rate for load in turns[way.name])
                cost = median(load.cost for load in turns[way.name])
                found[way.name].append(Load(rate, cost))
                say(f"{way.name}: {rate:.0f} requests/s, {cost:.1f} µs")
    return Part(figures(found))


def _app() -> Path:
    """Return the app of `isolation`, with a static file, in a directory of its own."""
    app = CACHE / "frontdoor-app"
    shutil.rmtree(app, ignore_errors=True)
    shutil.copytree(CHECKOUT / "bench" / "app", app)
    file = app / FILE.lstrip("/")
    file.parent.mkdir()
    lines = (f".place-{number} {{ color: #{number:06x}; }}\n" for number in range(FILE_BYTES))
    file.write_text("".join(lines)[:FILE_BYTES])
    return app


def _prepare(host: Host) -> None:
    """Install the client, and put the bare nginx beside the sites."""
    host.install("nghttp2-client")
    host.shell(
        f"mkdir -p /srv/bare/static && cp {HOME}/current/assets{FILE}* /srv/bare/static"
        " && sed -i 's/127.0.0.1:101/127.0.0.1:100/' /etc/nginx/sites-available/open.conf"
    )
    site = host.shell("cat /etc/nginx/sites-available/aroundtheworld.conf")
    servers = "\n    ".join(f"server 127.0.0.1:{port};" for port in BARE_PORTS)
    nginx = BARE_NGINX.format(
        servers=servers, http=BARE_HTTP_PORT, https=BARE_HTTPS_PORT, tls="\n    ".join(tls(site))
    )
    host.add_to_nginx("bare", nginx)


def tls(site: str) -> list[str]:
    """Return the lines about TLS of the server that has the site's certificate.

    Raises:
        BenchError: no server in nginx's file has a certificate.
    """
    for server in re.split(r"^server \{$", site, flags=re.MULTILINE):
        if re.search(r"^ +ssl_certificate ", server, re.MULTILINE) and "location / {" in server:
            return [line.strip() for line in server.splitlines() if line.startswith("    ssl_")]
    raise BenchError("The site's nginx has no server with a certificate.")


def _start_again(host: Host) -> None:
    """Start the workers, and as many processes of nothing but the app, again."""
    start = " && ".join(
        f"systemd-run --quiet --collect --uid=tornado --unit=bare-{port}"
        f" --setenv=SHARED={HOME}/shared --working-directory={HOME}/current/app"
        f" {HOME}/current/venv/bin/python strain.py {port} 1"
        for port in BARE_PORTS
    )
    host.shell(
        "systemctl stop 'bare-*.service'; systemctl restart 'aroundtheworld@*.service'"
        f" && {start} && systemctl reload nginx && sleep 1"  # it reloads after that has ended
    )
    ports = " ".join(map(str, BARE_PORTS))
    answers = (
        f"for port in {ports}; do until : < /dev/tcp/127.0.0.1/$port; do sleep 0.2; done; done"
    )
    host.shell(f"timeout 60 bash -c {shlex.quote(answers)} 2> /dev/null")


def burst(host: Host, way: Way) -> Load:
    """Send requests on kept connections, on each the next when the last is answered.

    Raises:
        BenchError: a request was not answered with 200.
    """
    protocol = "" if way.http2 else "--h1 "
    output = host.shell(
        f"{STATE}; h2load {protocol}--threads=1 --clients={CONNECTIONS} --max-concurrent-streams=1"
        f" --requests={way.requests} {way.url}; {STATE}"
    )
    return read(output, way)


def read(output: str, way: Way) -> Load:
    """Return what h2load and the processors' clocks before and after it say.

    Raises:
        BenchError: a request was not answered with 200, or not in the way's protocol.
    """
    rate = re.search(r"^finished in .*, ([\d.]+) req/s", output, re.MULTILINE)
    answered = f"status codes: {way.requests} 2xx" in output
    protocol = "Application protocol: h2\n" if way.http2 else "Application protocol: http/1.1\n"
    if rate is None or not answered or protocol not in output:
        over = "HTTP/2" if way.http2 else "HTTP/1.1"
        raise BenchError(
            f"Not every request to {way.url} was answered with 200 over {over}:\n{output}"
        )
    return Load(float(rate[1]), spent(output)[0] / way.requests)


def figures(found: dict[str, list[Load]]) -> Sequence[Figure]:
    """Return the figures of the rounds, in each of which every way was measured."""
    rates = {
        name: Figure(f"requests a second, {name}", "requests/s", [load.rate for load in loads])
        for name, loads in found.items()
    }
    costs = {
        name: Figure(f"processor time a request, {name}", "µs", [load.cost for load in loads])
        for name, loads in found.items()
    }
    bare_file, route = "to bare nginx", "a route over HTTPS and HTTP/2"
    ours, bare = FILE_OURS.name, FILE_BARE.name
    https, http, tornado = ROUTE_HTTPS.name, ROUTE_HTTP.name, ROUTE_BARE.name
    return [
        ratios(
            f"requests a second, a file over HTTPS and HTTP/2, {bare_file}",
            rates[ours],
            rates[bare],
            0.9,
            at_least=True,
        ),
        ratios(
            f"requests a second, {route}, to HTTP", rates[https], rates[http], 0.85, at_least=True
        ),
        ratios("processor time a request, to bare Tornado", costs[http], costs[tornado], 1.1),
        ratios(f"processor time, a file, {bare_file}", costs[ours], costs[bare]),
        ratios(f"processor time, {route}, to HTTP", costs[https], costs[http]),
        ratios("requests a second, to bare Tornado", rates[http], rates[tornado]),
        *rates.values(),
        *costs.values(),
    ]
