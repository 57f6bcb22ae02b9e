"""Sends public requests at a constant rate, while others keep the admin side busy.

The client is that of the rollout's tests: open-loop, and time counts from when a request was to be
sent. It is a process of its own, so that nothing else in Python holds it up.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

from bench.host import CHECKOUT

PATIENCE = 10.0  # seconds until a request without an answer has failed
BUSY = 4  # who keep the admin side busy, each with one request after the other
BEFOREHAND = 2.0  # seconds for which they do before the first visitor comes


def load_prober() -> ModuleType:
    """Return the client; its directory has the name of an installed package."""
    specification = importlib.util.spec_from_file_location(
        "prober", CHECKOUT / "molecule" / "rollout" / "prober.py"
    )
    if specification is None or specification.loader is None:
        raise ImportError("molecule/rollout/prober.py is no Python file")
    module = importlib.util.module_from_spec(specification)
    sys.modules["prober"] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    module.PATIENCE, module.WEBSOCKETS = PATIENCE, 0  # type: ignore[attr-defined]
    return module


async def ask(address: str, port: int, path: str) -> str:
    """Return the status line of an answer, or nothing when the connection broke."""
    try:
        reader, writer = await asyncio.open_connection(address, port)
    except OSError:
        return ""
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
        return (await reader.readline()).decode().strip()
    except OSError:
        return ""
    finally:
        writer.close()


async def keep_busy(address: str, port: int, path: str) -> None:
    """Ask for the path again and again."""
    while True:
        await ask(address, port, path)
        await asyncio.sleep(0.02)


async def visit(given: argparse.Namespace, ledger: Path) -> dict[str, float]:
    """Send the load; return when which disturbance began, in seconds since 1970."""
    prober = load_prober()
    kinds = (
        prober.Kind("home", 800, "GET", "/"),
        prober.Kind("row", 200, "GET", "/row"),
    )
    target, began = (given.address, given.port), {}
    others = [
        asyncio.create_task(keep_busy(*target, given.busy))
        for _ in range(BUSY if given.busy else 0)
    ]
    await asyncio.sleep(BEFOREHAND if given.busy else 0.2)

    async def disturb() -> None:
        await asyncio.sleep(BEFOREHAND)
        began["once"] = time.time()
        await ask(*target, given.once)

    if given.once:
        others.append(asyncio.create_task(disturb()))
    url = f"http://{given.address}:{given.port}"
    await prober.Prober(url, ledger).run(kinds, given.rate, given.seconds)
    for other in others:
        other.cancel()
    return began


def main() -> None:
    """Print what came of every request, as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--busy", default="", help="path that others ask for all the time")
    parser.add_argument("--once", default="", help="path that is asked for once, after a while")
    given = parser.parse_args()
    # Real visitors have machines of their own: here the client comes first, so that what it
    # measures is how long the site took and not how long it waited itself.
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        sys.exit("Only root may give the client real-time priority: run `make bench` as root.")
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        ledger = Path(directory) / "ledger"
        # The client says when it begins, and this is to print nothing but what came of it.
        with contextlib.redirect_stdout(sys.stderr):
            began = asyncio.run(visit(given, ledger))
        rows = [json.loads(line) for line in ledger.read_text().splitlines()]
    failed = [row["outcome"] for row in rows if not row["good"]]
    seconds = [row["seconds"] for row in rows if row["good"]]
    print(json.dumps({"seconds": seconds, "failed": failed, **began}))


if __name__ == "__main__":
    main()
