"""What was measured: figures, and the promises that they keep or break."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A quantity, measured several times."""

    name: str
    unit: str
    """What the values are in: "s", "requests/s", or "x" for a ratio."""
    values: list[float]
    """In the order in which they were measured."""
    limit: float | None = None
    """What the median is held against; None for what is only of interest."""
    at_least: bool = False
    """Whether the limit is the least allowed instead of the most."""

    @property
    def median(self) -> float:
        """The middle value."""
        return median(self.values)

    @property
    def kept(self) -> bool:
        """Whether the median keeps to the limit."""
        if self.limit is None:
            return True
        return self.median >= self.limit if self.at_least else self.median <= self.limit


def ratios(
    name: str, over: Figure, under: Figure, limit: float | None = None, at_least: bool = False
) -> Figure:
    """Return how many times `under` each of `over` is, round by round."""
    values = [a / b for a, b in zip(over.values, under.values, strict=True)]
    return Figure(name, "x", values, limit, at_least)


@dataclass(frozen=True)
class Part:
    """What a part of a run measured, where and when."""

    figures: Sequence[Figure]
    when: str = field(
        default_factory=lambda: datetime.datetime.now(datetime.UTC).date().isoformat()
    )
    machine: str = field(default_factory=lambda: describe_machine())

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Part:
        """Return what `to_json` was called on."""
        return cls(**{**data, "figures": [Figure(**figure) for figure in data["figures"]]})


def describe_machine() -> str:
    """Return what decides how long things take here, in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}, ansible-core {version('ansible-core')}, "
        f"load {os.getloadavg()[1]:.1f}"
    )
