"""What a worker counts and measures, cheaply enough to do it for every request."""

import collections
import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping

from aroundtheworld_runner.percentiles import percentile

# The upper bounds of the buckets for Prometheus, in seconds.
PUBLISHED = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# The upper bounds of all buckets, in seconds: from 0.5 ms to 60 s, each at most 1.1 times the
# previous. The first bucket also takes what is faster, the last what is slower.
_STEPS = 123
_GEOMETRIC = (float(f"{0.0005 * (60 / 0.0005) ** (n / _STEPS):.4g}") for n in range(_STEPS + 1))
BOUNDS = tuple(sorted({*_GEOMETRIC, *PUBLISHED}))
_BELOW_LAST = BOUNDS[:-1]


class Histogram:
    """How long something took, many times. A single thread feeds it; any thread may read it.

    Attributes:
        sum: Seconds in all.
        max: The longest of them.
    """

    __slots__ = ("_buckets", "max", "sum")

    def __init__(self) -> None:
        """Begin at zero."""
        self._buckets = [0] * len(BOUNDS)
        self.sum = 0.0
        self.max = 0.0

    def add(self, seconds: float) -> None:
        """Count something that took so long."""
        self._buckets[bisect_left(_BELOW_LAST, seconds)] += 1
        self.sum += seconds
        if seconds > self.max:
            self.max = seconds

    def describe(self) -> dict[str, object]:
        """Describe it, in seconds.

        Returns:
            `count` and `sum`; `p50` and `p99`, None before the first; `buckets`, a pair of upper
            bound and count for each that is not empty, from which a reader who has an earlier
            answer computes the percentiles of the time in between.

            A percentile is the upper bound of the bucket into which it falls: between 0.5 ms and
            60 s never too low and at most 10 % too high. 60 stands for anything longer.
        """
        counts = self._buckets.copy()
        filled = [(bound, count) for bound, count in zip(BOUNDS, counts, strict=True) if count]
        return {
            "count": sum(counts),
            "sum": round(self.sum, 6),
            "p50": percentile(filled, 0.50),
            "p99": percentile(filled, 0.99),
            "buckets": filled,
        }

    def restore(self, buckets: Iterable[tuple[float, int]], total: float, longest: float) -> None:
        """Add what `describe` returned; raises ValueError when the buckets are not the same."""
        for bound, count in buckets:
            self._buckets[BOUNDS.index(bound)] += count
        self.sum += total
        self.max = max(self.max, longest)

    def cumulative(self) -> list[tuple[float, int]]:
        """Return pairs of a published upper bound and how many took no longer."""
        counts = self._buckets.copy()
        pairs = [(bound, sum(counts[: BOUNDS.index(bound) + 1])) for bound in PUBLISHED]
        return [*pairs, (math.inf, sum(counts))]


class ResponseStatistics:
    """Counts responses and how long they took.

    A single thread feeds it; any thread may read it.

    Attributes:
        duration: How long whole responses took.
        aborted: Requests without a whole response.
    """

    def __init__(self) -> None:
        """Begin at zero."""
        self._codes: dict[int, int] = collections.defaultdict(int)
        self.duration = Histogram()
        self.aborted = 0

    def count_response(self, code: int, seconds: float) -> None:
        """Count a response that was sent whole, and the time that took."""
        self._codes[code] += 1
        self.duration.add(seconds)

    def count_aborted(self) -> None:
        """Count a request without a whole response."""
        self.aborted += 1

    def codes(self) -> Mapping[int, int]:
        """Return how many responses there were of each status."""
        return self._codes.copy()

    def responses(self) -> dict[str, int]:
        """Return how many responses there were of each class, and how many were aborted."""
        classes = dict.fromkeys((f"{digit}xx" for digit in range(1, 6)), 0)
        for code, count in self.codes().items():
            name = f"{code // 100}xx"
            classes[name] = classes.get(name, 0) + count
        return {**classes, "aborted": self.aborted}
