"""What Tornado computes anew for each request, and what was the same for the one before."""

import functools
import math
from collections.abc import Callable

from tornado import httputil, netutil

ADDRESSES = 1000  # of visitors, whose requests come in numbers


def remember() -> None:
    """Have Tornado remember it from now on, in this process.

    A tenth of the time that a small request takes went into the check of the visitor's address, by
    `getaddrinfo`, and into the response's date.
    """
    netutil.is_valid_ip = functools.lru_cache(ADDRESSES)(netutil.is_valid_ip)
    httputil.format_timestamp = _once_a_second(httputil.format_timestamp)


def _once_a_second(format_timestamp: Callable[..., str]) -> Callable[..., str]:
    """Return a function that formats the time as `time.time()` has it only once in a second."""
    whole_seconds = functools.lru_cache(2)(format_timestamp)

    @functools.wraps(format_timestamp)
    def remembered(ts: object) -> str:
        return whole_seconds(math.floor(ts)) if isinstance(ts, float) else format_timestamp(ts)

    return remembered
