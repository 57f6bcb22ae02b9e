"""A percentile of what was counted in buckets.

It needs nothing but the standard library, because workers use it too: the runner has a link to this
file, and a release a copy of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable


def percentile(buckets: Iterable[tuple[float, int]], fraction: float) -> float | None:
    """Return the upper bound of the bucket into which a percentile falls (nearest rank).

    Args:
        buckets: Upper bounds, each with how many are in its bucket, in any order.
        fraction: Which percentile, above 0 and up to 1.

    Returns:
        The bound; None when all buckets are empty.
    """
    counts = sorted(buckets)
    rank = math.ceil(fraction * sum(count for _, count in counts))
    for bound, count in counts:
        rank -= count
        if count and rank <= 0:
            return bound
    return None
