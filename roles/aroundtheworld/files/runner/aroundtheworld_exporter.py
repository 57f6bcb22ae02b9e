"""Serves Prometheus metrics of a site on this host: workers, slices, nginx, and the release.

It runs under the host's own Python with Debian's prometheus_client, as the site's user, on a socket
that systemd holds. Every request reads all sources again, and all at once: a worker that is dead or
hangs shows as `aroundtheworld_worker_up 0` after a second, and does not delay anything else.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path

# Python runs this isolated, and looks for nothing beside it of its own accord.
sys.path.append(str(Path(__file__).resolve().parent))
from aroundtheworld_metrics.server import Server
from aroundtheworld_metrics.site import Paths, Site, Worker

FIRST_SOCKET = 3  # sd_listen_fds(3)


def parse_workers(argument: str) -> list[Worker]:
    """Return the workers that an argument names.

    It is like `public:10001,10002`, with `:blocking` and `:command` behind it where the pool is.
    """
    pool, ports, *kinds = argument.split(":")
    has_control, blocking = "command" not in kinds, "blocking" in kinds
    return [Worker(pool, port, has_control, blocking) for port in ports.split(",")]


def parse_queues(variable: str) -> list[Worker]:
    """Return the workers without ports that a variable names by their pools, as `mail:2,sms:1`."""
    pools = (pool.partition(":")[::2] for pool in variable.split(",") if pool)
    return [
        Worker(pool, f"{pool}-{number + 1}", has_control=False)
        for pool, count in pools
        for number in range(int(count))
    ]


def parse_https(argument: str) -> tuple[int, str]:
    """Return the port and the host name of an argument like `443:www.example.org`."""
    port, _, name = argument.partition(":")
    return int(port), name


def main() -> None:
    """Run the command line, until SIGTERM."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("site", help="its name")
    parser.add_argument("home", type=Path, help="its directory")
    parser.add_argument("nginx", help="the address of nginx's status page, as address:port")
    parser.add_argument("--https", type=parse_https, help="as 443:www.example.org")
    parser.add_argument("pools", nargs="+", help="workers, as public:10001,10002")
    options = parser.parse_args()
    workers = [worker for pool in options.pools for worker in parse_workers(pool)]
    workers += parse_queues(os.environ.get("AROUNDTHEWORLD_QUEUES", ""))
    jobs = [pool for pool in os.environ.get("AROUNDTHEWORLD_JOBS", "").split(",") if pool]
    site = Site(options.site, workers, options.nginx, Paths(options.home), options.https, jobs)
    with Server(socket.socket(fileno=FIRST_SOCKET), site) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
