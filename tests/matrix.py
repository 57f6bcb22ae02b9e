"""Which cases of a matrix a run takes: one in three, or as many as it says.

Which cases these are follows from the commit's hash, so that a run can be repeated, and the next
commit takes others. The head of pytest's report names the commit. ``MATRIX=all`` takes all cases.

``MEASURE=yes`` has scenarios judge times, too.
"""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Sequence
from typing import TypeVar

import pytest

from tests.role_files import CHECKOUT

PARTS = 3
MEASURED = bool(os.environ.get("MEASURE"))
"""Whether the machine is quiet enough for times, and for many requests a second."""
Case = TypeVar("Case")


def takes_all() -> bool:
    """Return whether this run takes all cases."""
    return os.environ.get("MATRIX") == "all"


@functools.cache
def commit() -> str:
    """Return the commit's hash; zeros where there is none."""
    command = ["git", "rev-parse", "--verify", "--quiet", "HEAD"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "0" * 40


def chosen(cases: Sequence[Case], count: int | None = None) -> list[Case]:
    """Return the cases of a matrix that this run takes.

    Args:
        cases: All of them.
        count: At least how many to take where it does not take all; one in three by default.
    """
    if takes_all():
        return list(cases)
    parts = PARTS if count is None else max(1, len(cases) // count)
    return list(cases[int(commit(), 16) % parts :: parts])


def in_turn(number: int) -> pytest.MarkDecorator:
    """Mark a slow test as one that a run takes in turn with others of its file.

    Args:
        number: When its turn is, from 0; tests with the same number run together.
    """
    return pytest.mark.skipif(
        number % PARTS not in chosen(range(PARTS)),
        reason="it is the turn of other tests; MATRIX=all runs it",
    )


def about() -> str:
    """Return the line of the report's head."""
    which = "all" if takes_all() else f"those of commit {commit()[:12]} (MATRIX=all takes all)"
    return f"cases of a matrix: {which}"
