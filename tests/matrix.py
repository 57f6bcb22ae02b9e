"""Which cases of a matrix a run takes: one in three, others with the next commit.

``MATRIX=all`` takes them all. Which third it is follows from the commit's hash, so that a run can
be repeated, and the head of pytest's report says it.
"""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Sequence
from typing import TypeVar

from tests.role_files import CHECKOUT

PARTS = 3
Case = TypeVar("Case")


@functools.cache
def part() -> int:
    """Return which part is taken, from 0; -1 for all."""
    if os.environ.get("MATRIX") == "all":
        return -1
    command = ["git", "rev-parse", "HEAD"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    return int(done.stdout.strip() or "0", 16) % PARTS


def chosen(cases: Sequence[Case]) -> list[Case]:
    """Return the cases of a matrix that this run takes; all of them where it takes all."""
    return list(cases) if part() < 0 else list(cases[part() :: PARTS])


def about() -> str:
    """Return the line that tells of it."""
    which = "all of them" if part() < 0 else f"part {part() + 1} of {PARTS} (MATRIX=all takes all)"
    return f"cases of a matrix: {which}"
