"""Text by processes that root does not trust, made fit for a terminal, a log or a message.

What a worker says of itself, what it writes into the journal and how it calls itself may hold
control characters, by which a terminal is told to do something, and may be of any length.
"""

from __future__ import annotations

from pathlib import Path

LINES, LENGTH = 20, 300


def printable(text: str, length: int = LENGTH) -> str:
    """Return the text on one line of at most `length` characters, with nothing but characters.

    Whatever is not printable, line ends among it, becomes a question mark.
    """
    # Cut before it is looked at, so that a huge text costs no more than a long one.
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[:length])
    return f"{shown[:-1]}…" if len(text) > length else shown


def printable_lines(text: str, count: int = LINES, length: int = LENGTH) -> str:
    """Return the last `count` lines of the text, each as `printable` has it."""
    lines = text.expandtabs(4).split("\n")[-count:]
    return "\n".join(printable(line.rstrip(), length) for line in lines)


def process_name(process: Path) -> str:
    """Return how a process below /proc calls itself; raises `OSError` when it has ended."""
    return printable((process / "comm").read_bytes().decode(errors="replace").strip())
