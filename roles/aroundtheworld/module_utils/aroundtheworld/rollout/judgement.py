"""What speaks against a worker that runs a new release, from what workers say of themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ansible.module_utils.aroundtheworld.percentiles import percentile
from ansible.module_utils.aroundtheworld.worker_client import WorkerHealth

# The canary is given up when, over at least so many requests, …
CANARY_REQUESTS = 20
# … so many failed, and a share that is so much above that of its siblings, …
CANARY_FAILURES, CANARY_ERRORS = 3, 0.02
# … or a quarter of them took so many times as long as theirs, and by so many seconds. (A higher
# percentile of so few requests is the one slow page that somebody happened to ask for.)
CANARY_QUARTER, CANARY_SLOWER, CANARY_SECONDS = 0.75, 3.0, 0.25
# … or a share was refused (4xx) that is by so much above that of its siblings in the same time.
# Some of what visitors and robots ask for is always refused, and chance deals it out unevenly, so
# the share also has to be so many standard errors above: of a thousand good releases, each looked
# at ten times with 20 to 150 requests, one is given up; of those that refuse 30 % more 99.8 %, of
# those that refuse 15 % more 64 %.
REFUSED_MORE, REFUSED_SIGMAS = 0.1, 4.0
# Before the rollout there may have been no robot that tries a thousand addresses.
REFUSED_MORE_THAN_BEFORE = 0.5
# It is given up at once when its event loop was blocked for so many seconds longer than theirs.
CANARY_BLOCKED = 1.0

Pairs = Sequence[tuple[WorkerHealth, WorkerHealth]]
"""What workers said of themselves at some moment, each with what it said later."""

# What a worker has said that has not begun yet.
NOTHING = WorkerHealth(responses={})


def slowest(pairs: Pairs, fraction: float) -> float:
    """Return the percentile of the answers that workers gave between two words of theirs.

    Args:
        pairs: What each worker said of itself before and after, with the counts of its buckets.
        fraction: Which percentile, 0 to 1.

    Returns:
        The upper bound in seconds of the bucket that it falls into; 0 without an answer.
    """
    counts: dict[float, int] = {}
    for sooner, later in pairs:
        for sign, said in ((-1, sooner), (1, later)):
            for bound, count in said.latencies:
                counts[bound] = counts.get(bound, 0) + sign * count
    return percentile(counts.items(), fraction) or 0.0


def comparable(pairs: Pairs) -> Pairs:
    """Return those that can be compared.

    One that runs an older runner, does not answer right now, or was restarted in between cannot.
    """
    return [
        (sooner, later)
        for sooner, later in pairs
        if sooner.responses is not None
        and later.responses is not None
        and sooner.pid in (0, later.pid)
    ]


def responses(pairs: Pairs, *kinds: str) -> int:
    """Return how many answers of some kinds, or of all, were given in between."""
    return sum(
        (later.responses or {}).get(kind, 0) - (sooner.responses or {}).get(kind, 0)
        for sooner, later in pairs
        for kind in kinds or later.responses or ()
    )


def failed_share(pairs: Pairs) -> float:
    """Return which share of the answers that were given in between are errors."""
    return responses(pairs, "5xx") / max(responses(pairs), 1)


def errors_problem(mine: Pairs, usual: float) -> str:
    """Return what speaks against a worker that fails more often than is usual, or nothing."""
    requests, failed = responses(mine), failed_share(mine)
    if requests < CANARY_REQUESTS or responses(mine, "5xx") < CANARY_FAILURES:
        return ""
    if failed <= usual + CANARY_ERRORS:
        return ""
    return f"{failed:.0%} of its {requests} answers are errors, where {usual:.0%} are usual"


def refusals_problem(mine: Pairs, others: Pairs, more: float) -> str:
    """Return what speaks against a worker that refuses (4xx) clearly more than others, or nothing.

    Args:
        mine: What the worker said before and after.
        others: Of those that it is compared with; without an answer of theirs, nothing is said.
        more: By how much its share has to be above theirs.
    """
    requests, theirs = responses(mine), responses(others)
    if requests < CANARY_REQUESTS or not theirs:
        return ""
    refused, refused_there = responses(mine, "4xx"), responses(others, "4xx")
    share, usual = refused / requests, refused_there / theirs
    # Of the difference of two shares, if both were the same.
    same = (refused + refused_there) / (requests + theirs)
    deviation = math.sqrt(same * (1 - same) * (1 / requests + 1 / theirs))
    if share - usual <= max(more, REFUSED_SIGMAS * deviation):
        return ""
    return (
        f"{share:.0%} of its {requests} answers are refusals (status 4xx), where {usual:.0%} of "
        f"{theirs} are usual"
    )


def canary_problem(before: WorkerHealth, after: WorkerHealth, siblings: Pairs) -> str:
    """Return what speaks against the canary, or an empty text.

    Args:
        before: What it said of itself when the watch began.
        after: What it says now.
        siblings: The same two of each worker of its pool that still runs the release before.
    """
    siblings = comparable(siblings)
    if after.silent:
        return "it does not answer on its private socket any more"
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
