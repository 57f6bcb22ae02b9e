"""The metrics in the text of a worker, which runs the app's code and is not trusted.

Prometheus takes all or nothing of a response. So that one worker cannot spoil the others', only
known families with their own type and labels are taken, each sample once, printable and short.
prometheus_client's own parser accepts a label or a sample twice, and any name, type and label.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from prometheus_client.core import Metric

from aroundtheworld_metrics.families import PREFIX

# What a worker with the runner of this release measures: the type, the help, and the labels.
FAMILIES: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "info": ("gauge", "What runs.", ("release", "config", "python", "tornado")),
    "ready": ("gauge", "Whether it takes visitors.", ()),
    "start_time_seconds": ("gauge", "When it started.", ()),
    "requests": ("counter", "Whole responses, by status.", ("code",)),
    "requests_aborted": ("counter", "Requests without a whole response.", ()),
    "requests_in_flight": ("gauge", "Requests that are being answered.", ()),
    "request_duration_seconds": (
        "histogram",
        "From a request's headers to its whole response.",
        (),
    ),
    "connections": ("gauge", "Open connections.", ()),
    "websockets": ("gauge", "Open WebSockets.", ()),
    "loop_lag_seconds": ("histogram", "How late a timer came, four a second.", ()),
    "loop_busy_seconds": (
        "gauge",
        "For how long the event loop has been blocked, 0 while it turns.",
        (),
    ),
    "loop_blocked_seconds": ("counter", "Seconds in blocks of 20 ms and more.", ("handler",)),
    "cpu_seconds": ("counter", "Processor time.", ()),
    "resident_memory_bytes": ("gauge", "Memory in use.", ()),
    "open_fds": ("gauge", "Open files and connections.", ()),
    "max_fds": ("gauge", "How many of them there may be.", ()),
}
# The names of samples that are not those of their families.
SAMPLES = {
    f"{name}{suffix}": name
    for name, (kind, _, _) in FAMILIES.items()
    for suffix in {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(kind, [])
}
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
SAMPLE = re.compile(
    rf"{PREFIX}worker_(?P<name>[a-z_]+)"
    rf"(?:\{{(?P<labels>{LABEL.pattern}(?:,{LABEL.pattern})*)\}})? (?P<value>[0-9eE.+-]{{1,40}})"
)
LABEL_LENGTH = 300


def parse_worker_metrics(text: str) -> list[Metric]:
    """Return the metrics in a worker's text; raises `ValueError` when a sample is malformed."""
    families: dict[str, Metric] = {}
    seen = set()
    for line in text.split("\n"):
        if not line or line.startswith("#"):
            continue
        if not (sample := SAMPLE.fullmatch(line)):
            raise ValueError("this is not a sample")
        name = sample["name"]
        family = name if name in FAMILIES else SAMPLES.get(name, "")
        if not family:  # a newer runner's
            continue
        kind, documentation, allowed = FAMILIES[family]
        pairs = LABEL.findall(sample["labels"] or "")
        labels = {label: _label_value(label, value) for label, value in pairs}
        bound = {"le"} if name.endswith("_bucket") else set()
        key = (name, *sorted(labels.items()))
        fits = bound <= labels.keys() <= bound | {*allowed} and len(pairs) == len(labels)
        if not fits or key in seen:
            raise ValueError(f"a sample of {name} has other labels, or is there twice")
        seen.add(key)
        value = float(sample["value"])
        if not math.isfinite(value):
            raise ValueError(f"{name} is not a finite number")
        metric = families.setdefault(
            family, Metric(f"{PREFIX}worker_{family}", documentation, kind)
        )
        metric.add_sample(f"{PREFIX}worker_{name}", labels, value)
    return list(families.values())


def _label_value(name: str, escaped: str) -> str:
    """Return the value of a label; raises `ValueError` when it is not printable, or no bound."""
    value = re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], escaped)
    if not value.isprintable():
        raise ValueError(f"the label {name} is not printable")
    if name == "le":
        float(value)
    return value[:LABEL_LENGTH]
