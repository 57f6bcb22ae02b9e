"""What a worker counts and measures of its responses, cheaply enough to do it for every one."""

import collections
import math
from bisect import bisect_left

# The upper bounds of the buckets, in seconds: from 0.5 ms to 60 s, each 1.1 times the one before.
# The first bucket also takes what is faster, the last one what is slower.
_STEPS = 123
BOUNDS = tuple(float(f"{0.0005 * (60 / 0.0005) ** (n / _STEPS):.4g}") for n in range(_STEPS + 1))


class ResponseStatistics:
    """Counts responses, and how long they took, since it was made.

    To be fed by one thread; may be read by any.
    """

    def __init__(self) -> None:
        """Begin at zero."""
        self._classes = collections.Counter(dict.fromkeys(range(1, 6), 0))  # by first digit
        self._aborted = 0
        self._buckets = [0] * len(BOUNDS)
        self._sum = 0.0

    def count_response(self, code: int, seconds: float) -> None:
        """Count a response that was given whole, and the time until it was."""
        self._classes[code // 100] += 1
        self._buckets[bisect_left(BOUNDS, seconds, 0, _STEPS)] += 1
        self._sum += seconds

    def count_aborted(self) -> None:
        """Count a request that did not get its whole response."""
        self._aborted += 1

    def responses(self) -> dict[str, int]:
        """Return how many responses there were of each class, and how many were aborted."""
        classes = {f"{digit}xx": count for digit, count in self._classes.copy().items()}
        return {**classes, "aborted": self._aborted}

    def latency(self) -> dict[str, object]:
        """Describe how long whole responses took, in seconds.

        Returns:
            `count` and `sum`; `p50` and `p99`, None before the first response; `buckets`, a pair
            of upper bound and count for each that is not empty, from which a reader who has an
            earlier answer computes the percentiles of the time in between.

            A percentile is the upper bound of the bucket into which it falls: between 0.5 ms and
            60 s never too low and at most 10 % too high. 60 stands for anything longer.
        """
        counts = self._buckets.copy()
        filled = [(bound, count) for bound, count in zip(BOUNDS, counts, strict=True) if count]
        return {
            "count": sum(counts),
            "sum": round(self._sum, 6),
            "p50": percentile(filled, 0.50),
            "p99": percentile(filled, 0.99),
            "buckets": filled,
        }


def percentile(buckets: list[tuple[float, int]], fraction: float) -> float | None:
    """Return the upper bound of the bucket into which a percentile falls (nearest rank)."""
    rank = math.ceil(fraction * sum(count for _, count in buckets))
    for bound, count in buckets:
        rank -= count
        if rank <= 0:
            return bound
    return None
