"""Waits until a worker has come to something: a fixed pause is too short on a busy machine."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import harness

Health = dict[str, Any]
T = TypeVar("T")


def wait_until(read: Callable[[], T], seconds: float = 10) -> T:
    """Return the first value that is true; fail when none is."""
    deadline = time.monotonic() + seconds
    while not (value := read()):
        assert time.monotonic() < deadline, value
        time.sleep(0.02)
    return value


def wait_health(
    worker: harness.Worker, condition: Callable[[Health], object], seconds: float = 10
) -> Health:
    """Return the worker's health as soon as it fulfils the condition; fail when it never does."""
    deadline = time.monotonic() + seconds
    while not condition(health := worker.health()[1]):
        assert time.monotonic() < deadline, health
        time.sleep(0.02)
    return health


def wait_in_flight(worker: harness.Worker, requests: int = 1) -> Health:
    """Wait until the headers of so many requests have arrived that are not answered yet."""
    return wait_health(worker, lambda health: health["requests_in_flight"] == requests)


def wait_blocked(worker: harness.Worker) -> Health:
    """Wait until the worker reports what blocks its loop, which takes 0.75 s of a block."""
    return wait_health(worker, lambda health: health["busy_in"])
