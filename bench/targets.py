"""How long the contributor's commands take, from a fresh clone."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench.figures import Figure, Part
from bench.host import CHECKOUT, run, run_to_the_end, say

# Make would pass on what it was called with, and what it chose for this checkout.
OWN = {"MAKEFLAGS": "", "MFLAGS": "", "MAKELEVEL": "", "HOSTS_PREFIX": "", "HOSTS_SUBNET": ""}


def measure() -> Part:
    """Run `make up` twice and `make test` once in a clone of what is committed.

    Debian packages that this machine has, and the caches of uv and pip, are used as they are.

    Raises:
        BenchError: a target failed.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        clone = Path(temporary) / "clone"
        run("git", "clone", "--quiet", CHECKOUT, clone)
        try:
            first, again = _make(clone, "up"), _make(clone, "up")
            _make(clone, "down")
            test = _make(clone, "test")
        finally:
            # A test that was cut off has left its hosts.
            clean = 'PATH="$PWD/.venv/bin:$PATH" molecule destroy --all; make clean'
            run_to_the_end("sh", "-c", clean, directory=clone, environment=OWN)
    return Part(
        [
            Figure("`make up` from a fresh clone", "s", [first], 180),
            Figure("`make up` again", "s", [again], 30),
            Figure("`make test`", "s", [test], 720),
        ]
    )


def _make(clone: Path, target: str) -> float:
    """Make a target and return how long that took, in seconds."""
    began = time.perf_counter()
    run("make", target, directory=clone, environment=OWN)
    took = time.perf_counter() - began
    say(f"make {target} {took:.0f} s")
    return took
