"""What is wrong with a worker that runs a new release, judged by the statuses of workers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ansible.module_utils.aroundtheworld.percentiles import percentile
from ansible.module_utils.aroundtheworld.worker_client import WorkerStatus

# The canary is given up when, over at least so many requests, …
CANARY_REQUESTS = 20
# … so many failed, and a share that is so much above that of its siblings, …
CANARY_FAILURES, CANARY_ERRORS = 3, 0.02
# … or a quarter of them took so many times as long as theirs, and by so many seconds. (A higher
# percentile of so few requests is a single slow page that somebody happened to visit.)
CANARY_QUARTER, CANARY_SLOWER, CANARY_SECONDS = 0.75, 3.0, 0.25
# … or a share was refused (4xx) that is by so much above that of its siblings in the same time.
# Some requests of visitors and robots are always refused, and chance spreads them unevenly, so the
# share also has to be so many standard errors above: of a thousand good releases, each looked at
# ten times with 20 to 150 requests, 1 is given up; of those that refuse 30 % more 99.8 %, of those
# that refuse 15 % more 64 %.
REFUSED_MORE, REFUSED_SIGMAS = 0.1, 4.0
# Before the rollout there may have been no robot that tries a thousand addresses.
REFUSED_MORE_THAN_BEFORE = 0.5
# It is given up at once when its event loop was blocked for so many seconds longer than theirs.
CANARY_BLOCKED = 1.0

Pairs = Sequence[tuple[WorkerStatus, WorkerStatus]]
"""The statuses of workers at some moment, each with the status of the same worker later."""

# The status of a worker that has not answered a request yet.
NOTHING = WorkerStatus(responses={})


def slowest(pairs: Pairs, fraction: float) -> float:
    """Return a percentile of the times that workers took for their responses in between.

    Args:
        pairs: The status of each worker before and after, with the counts of its buckets.
        fraction: Which percentile, 0 to 1.

    Returns:
        The upper bound in seconds of the bucket that it falls into; 0 without a response.
    """
    counts: dict[float, int] = {}
    for sooner, later in pairs:
        for sign, status in ((-1, sooner), (1, later)):
            for bound, count in status.latencies:
                counts[bound] = counts.get(bound, 0) + sign * count
    return percentile(counts.items(), fraction) or 0.0


def comparable(pairs: Pairs) -> Pairs:
    """Return the pairs that can be compared.

    A worker cannot when its runner is older, it does not answer right now, or it was restarted in
    between.
    """
    return [
        (sooner, later)
        for sooner, later in pairs
        if sooner.responses is not None
        and later.responses is not None
        and sooner.pid in (0, later.pid)
    ]


def responses(pairs: Pairs, *classes: str) -> int:
    """Return how many responses there were in between, of some classes or of all."""
    return sum(
        (later.responses or {}).get(name, 0) - (sooner.responses or {}).get(name, 0)
        for sooner, later in pairs
        for name in classes or later.responses or ()
    )


def failed_share(pairs: Pairs) -> float:
    """Return the share of errors among the responses in between."""
    return responses(pairs, "5xx") / max(responses(pairs), 1)


def errors_problem(mine: Pairs, usual: float) -> str:
    """Return how much more often a worker fails than is usual, or an empty text."""
    requests, failed = responses(mine), failed_share(mine)
    if requests < CANARY_REQUESTS or responses(mine, "5xx") < CANARY_FAILURES:
        return ""
    if failed <= usual + CANARY_ERRORS:
        return ""
    return f"{failed:.0%} of its {requests} answers are errors, where {usual:.0%} are usual"


def refusals_problem(mine: Pairs, others: Pairs, more: float) -> str:
    """Return how much more often a worker refuses (4xx) than others, or an empty text.

    Args:
        mine: The worker.
        others: The workers that it is compared with; without a response of theirs it cannot be.
        more: By how much its share has to be above theirs.
    """
    requests, theirs = responses(mine), responses(others)
    if requests < CANARY_REQUESTS or not theirs:
        return ""
    refused, refused_there = responses(mine, "4xx"), responses(others, "4xx")
    share, usual = refused / requests, refused_there / theirs
    # The standard error of the difference of two shares that are the same.
    same = (refused + refused_there) / (requests + theirs)
    deviation = math.sqrt(same * (1 - same) * (1 / requests + 1 / theirs))
    if share - usual <= max(more, REFUSED_SIGMAS * deviation):
        return ""
    return (
        f"{share:.0%} of its {requests} answers are refusals (status 4xx), where {usual:.0%} of "
        f"{theirs} are usual"
    )


def canary_problem(before: WorkerStatus, after: WorkerStatus, siblings: Pairs) -> str:
    """Return what is wrong with the canary, or an empty text.

    Args:
        before: Its status when the watch began.
        after: Its status now.
        siblings: The other workers of its pool, which still run the release before.
    """
    siblings = comparable(siblings)
    if after.silent:
        return "it does not answer on its control socket any more"
    if after.state != "ready":
        return f"it is {after.state or 'a command'} and not ready"
    blocked = max(after.busy_seconds, after.loop_lag_max)
    usual = max((later.loop_lag_max for _, later in siblings), default=0.0)
    if blocked > usual + CANARY_BLOCKED:
        where = f" in {after.busy_in}" if after.busy_in else ""
        return f"its event loop was blocked for {blocked:.1f} s{where}"
    mine = [(before, after)]
    if responses(mine) < CANARY_REQUESTS:
        return ""
    if problem := errors_problem(mine, failed_share(siblings)):
        return problem
    if problem := refusals_problem(mine, siblings, REFUSED_MORE):
        return problem
    slow = slowest(mine, CANARY_QUARTER)
    slow_there = slowest(siblings, CANARY_QUARTER) if siblings else slow
    if slow > max(CANARY_SLOWER * slow_there, slow_there + CANARY_SECONDS):
        return (
            f"a quarter of its answers took {slow * 1000:.0f} ms or more, "
            f"of its siblings' {slow_there * 1000:.0f} ms"
        )
    return ""
