"""Text of processes that root does not trust, made fit for a terminal, a log or a message.

What a worker answers, writes to the journal or calls itself may contain control characters, which
command a terminal, and may be of any length.
"""

from __future__ import annotations

from pathlib import Path

LINES, LENGTH = 20, 300


def printable(text: str, length: int = LENGTH) -> str:
    """Return the text on one line of at most `length` characters, all of them printable.

    Other characters, line ends too, become question marks.
    """
    # Cut first, so that a huge text costs no more than a long one.
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[:length])
    return f"{shown[:-1]}…" if len(text) > length else shown


def printable_lines(text: str, count: int = LINES, length: int = LENGTH) -> str:
    """Return the last `count` lines of the text, each as `printable` has it."""
    lines = text.expandtabs(4).split("\n")[-count:]
    return "\n".join(printable(line.rstrip(), length) for line in lines)


def process_name(process: Path) -> str:
    """Return the name that a process below /proc gave itself; raises `OSError` when it ended."""
    return printable((process / "comm").read_bytes().decode(errors="replace").strip())
