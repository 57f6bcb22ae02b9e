"""Tables for a terminal: as wide as it is at most, and no word of them is cut."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence

GAP = "  "
# The last column gets at least this many characters, however narrow the terminal is.
LEAST = 15
# What reads a pipe or a file, such as grep or a mail from cron, wants one line for each row.
UNLIMITED = 10_000


def terminal_width() -> int:
    """Return how many characters a line of the output may have."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return shutil.get_terminal_size().columns
    return UNLIMITED


def table(
    headings: Sequence[str],
    rows: Sequence[Sequence[object]],
    width: int = 0,
    numbers: Collection[str] = (),
) -> list[str]:
    """Return the lines of a table, in which the last column wraps.

    Args:
        headings: One for each column.
        rows: The cells of each row.
        width: How many characters a line may have; 0 means as many as the terminal has.
        numbers: The headings of columns that are aligned on the right.
    """
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *texts, strict=True)]
    right = [heading in numbers for heading in headings]
    room = (width or terminal_width()) - sum(widths[:-1]) - len(GAP) * (len(widths) - 1)
    widths[-1] = min(widths[-1], max(room, LEAST))
    lines = []
    for cells in [list(headings), *texts]:
        fixed = GAP.join(
            cell.rjust(size) if to_right else cell.ljust(size)
            for cell, size, to_right in zip(cells[:-1], widths, right, strict=False)
        )
        last = cells[-1].rjust(widths[-1]) if right[-1] else cells[-1]
        wrapped = textwrap.wrap(
            last,
            widths[-1],
            drop_whitespace=not right[-1],
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
        start = f"{fixed}{GAP}" if fixed else ""
        lines.append(f"{start}{wrapped[0]}".rstrip())
        lines += [" " * len(start) + rest for rest in wrapped[1:]]
    return lines
