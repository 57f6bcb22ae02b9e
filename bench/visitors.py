"""Send public requests at a constant rate, while others keep the admin side busy."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import resource
import threading
import time
from collections.abc import Iterable

from bench.open_loop import OpenLoop, Request, Result, come_first

BUSY = 4  # clients that keep the admin side busy, each with one request after the other
BEFOREHAND = 2.0  # seconds for which they do before the first visitor comes
PATHS = ("/", "/", "/", "/", "/row")  # in turn


def get(address: str, port: int, path: str) -> None:
    """Request something slow, and do not care what comes of it."""
    connection = http.client.HTTPConnection(address, port)
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", path)
        connection.getresponse().read()
    connection.close()


def keep_busy(address: str, port: int, path: str) -> None:
    """Request the path again and again."""
    while True:
        get(address, port, path)
        time.sleep(0.02)


def begin(threads: Iterable[threading.Thread]) -> None:
    """Start threads that do not keep the program running."""
    for thread in threads:
        thread.daemon = True
        thread.start()


def main() -> None:
    """Print what came of every request, as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--busy", default="", help="path that others request all the time")
    parser.add_argument("--once", default="", help="path that is requested once, after a while")
    arguments = parser.parse_args()
    site, once = (arguments.address, arguments.port), 0.0
    # A connection for each request that waits, where the site stands still.
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    if arguments.busy:
        begin(threading.Thread(target=keep_busy, args=(*site, arguments.busy)) for _ in range(BUSY))
        time.sleep(BEFOREHAND)
    if arguments.once:
        once = time.time() + BEFOREHAND
        begin([threading.Timer(BEFOREHAND, get, (*site, arguments.once))])
    come_first()  # after the others are there, who have no such haste
    results: list[Result] = []
    count = int(arguments.rate * arguments.seconds)
    requests = itertools.islice(map(Request, itertools.cycle(PATHS)), count)
    OpenLoop(*site, results.append).run(arguments.rate, requests)
    found = {
        "seconds": [round(result.seconds, 6) for result in results if result.outcome == "200"],
        "failed": [result.outcome for result in results if result.outcome != "200"],
        "once": once,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
