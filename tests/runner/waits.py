"""Waits until a worker has come to something."""

from collections.abc import Callable
from typing import Any

import harness

from tests.waiting import until

Health = dict[str, Any]


def wait_health(
    worker: harness.Worker, condition: Callable[[Health], object], seconds: float = 10
) -> Health:
    """Return the worker's health as soon as it fulfils the condition; fail when it never does."""
    return until(lambda: worker.health()[1], condition, seconds, pause=0.02)


def wait_in_flight(worker: harness.Worker, requests: int = 1) -> Health:
    """Wait until the headers of so many requests have arrived that are not answered yet."""
    return wait_health(worker, lambda health: health["requests_in_flight"] == requests)


def wait_blocked(worker: harness.Worker) -> Health:
    """Wait until the worker reports what blocks its loop, which takes 0.75 s of a block."""
    return wait_health(worker, lambda health: health["busy_in"])
