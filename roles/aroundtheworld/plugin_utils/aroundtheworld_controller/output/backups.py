"""A backup in words, for a run and for the status."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def sentences(last: Mapping[str, Any], repository: str) -> Iterator[str]:
    """Yield what there is to tell of a backup.

    Args:
        last: As the host has it written down, with its ``notes``.
        repository: Where it is.
    """
    yield (
        f"backup {last['id']} has {size(last['bytes'])}, {size(last['added'])} of them new, took "
        f"{last['seconds']:.1f} s, and is in {repository}"
    )
    yield from last["notes"]


def drill_sentences(last: Mapping[str, Any]) -> Iterator[str]:
    """Yield what there is to tell of a drill, as the host has it written down."""
    yield (
        f"backup {last['id']} of {last['of']} can be restored: {size(last['bytes'])} were "
        f"{last['files']} and compared with their hashes, in {last['seconds']:.1f} s"
    )
    for database in last["databases"]:
        yield (
            f"database {database['name']} was {database['how']}: {database['tables']} tables, "
            f"{database['rows']} rows"
        )
    yield from last["notes"]


def size(number: float) -> str:
    """Return bytes as a person reads them."""
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"
