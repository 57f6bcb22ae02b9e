"""Families of metrics that are put together sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

PREFIX = "aroundtheworld_"


class Families:
    """Metric families, each with the samples of every worker: a name must come up only once."""

    def __init__(self, site: str) -> None:
        """Begin without any; every sample gets the label `site`."""
        self.site = site
        self.all: dict[str, Metric] = {}

    def gauge(self, name: str, documentation: str, value: float, **labels: str) -> None:
        """Add a sample of something that goes up and down."""
        self._add(GaugeMetricFamily, name, documentation, value, labels)

    def counter(self, name: str, documentation: str, value: float, **labels: str) -> None:
        """Add a sample of something that only goes up."""
        self._add(CounterMetricFamily, name, documentation, value, labels)

    def _add(
        self,
        kind: Callable[..., Any],
        name: str,
        documentation: str,
        value: float,
        labels: Mapping[str, str],
    ) -> None:
        labels = {"site": self.site, **labels}
        family = kind(PREFIX + name, documentation, labels=list(labels))
        family.add_metric(list(labels.values()), value)
        self.extend([family], {})

    def extend(self, metrics: Iterable[Metric], labels: Mapping[str, str]) -> None:
        """Add the samples of metrics, each with more labels."""
        for metric in metrics:
            family = self.all.setdefault(
                metric.name, Metric(metric.name, metric.documentation, metric.type)
            )
            family.samples += [
                sample._replace(labels={**sample.labels, **labels}) for sample in metric.samples
            ]
