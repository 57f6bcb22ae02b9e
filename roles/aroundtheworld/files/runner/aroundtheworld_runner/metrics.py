"""Metrics in Prometheus' text format, version 0.0.4."""

import math
from collections.abc import Iterable, Mapping

from aroundtheworld_runner.statistics import Histogram

PREFIX = "aroundtheworld_worker_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]


class Metrics:
    """Families of samples; `str` of it is their text."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lines: list[str] = []

    def __str__(self) -> str:
        """Return the text."""
        return "\n".join(self._lines) + "\n"

    def gauge(self, name: str, text: str, value: float, labels: Labels | None = None) -> None:
        """Add a value that may go up and down."""
        self._family(name, "gauge", text, [(labels or {}, value)])

    def counter(self, name: str, text: str, value: float | Iterable[tuple[Labels, float]]) -> None:
        """Add a value that only goes up, or a value for each set of labels."""
        samples = [({}, value)] if isinstance(value, int | float) else value
        self._family(name, "counter", text, samples)

    def histogram(self, name: str, text: str, histogram: Histogram) -> None:
        """Add how many things took how long."""
        pairs = histogram.cumulative()
        buckets = [({"le": _number(bound)}, float(count)) for bound, count in pairs]
        self._family(name, "histogram", text, buckets, "_bucket")
        self._sample(f"{name}_sum", {}, histogram.sum)
        self._sample(f"{name}_count", {}, pairs[-1][1])

    def _family(
        self,
        name: str,
        kind: str,
        text: str,
        samples: Iterable[tuple[Labels, float]],
        suffix: str = "",
    ) -> None:
        self._lines += [f"# HELP {PREFIX}{name} {text}", f"# TYPE {PREFIX}{name} {kind}"]
        for labels, value in samples:
            self._sample(name + suffix, labels, value)

    def _sample(self, name: str, labels: Labels, value: float) -> None:
        pairs = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())
        self._lines.append(f"{PREFIX}{name}{f'{{{pairs}}}' if pairs else ''} {_number(value)}")


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf"
    return str(int(value)) if value == int(value) else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
