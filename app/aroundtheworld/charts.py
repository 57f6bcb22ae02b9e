"""Charts as SVG, by pygal: small, pure Python, and readable without scripts."""

from __future__ import annotations

import sys

import pygal  # type: ignore[import-untyped]
from pygal.style import Style  # type: ignore[import-untyped]

from aroundtheworld.analysis import Chart

# pygal adds a finder for plugins that draw maps, in a way that Python 3.11 warns of at every later
# import and newer ones do not know. No such plugin is used.
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]

# They also differ in lightness, and all stand out from a light and from a dark background.
COLOURS = ("#0f8a96", "#d9601a", "#8a6fd1", "#3f9a4f", "#c9447f", "#b08900", "#5b8fd6", "#8d8d8d",
           "#a0623a", "#6fae9b")  # fmt: skip
STYLE = Style(
    background="transparent",
    plot_background="transparent",
    foreground="#4a5a62",
    foreground_strong="#1d2b33",
    foreground_subtle="#9aa7ad",
    colors=COLOURS,
    font_family="system-ui, sans-serif",
    label_font_size=13,
    major_label_font_size=13,
    legend_font_size=14,
)
# An SVG that is shown as an image follows the page's colour scheme by itself.
DARK = (
    "inline:@media (prefers-color-scheme: dark)"
    "{.pygal-chart text{fill:#d5dfe3 !important}"
    ".pygal-chart .guides{stroke:#55646c !important}}"
)
KINDS = {"bars": pygal.HorizontalBar, "stacked": pygal.HorizontalStackedBar, "lines": pygal.Line}

# What such an image may do: use the styles that it carries, and nothing else.
CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


def svg(chart: Chart) -> str:
    """Return the chart as an SVG document."""
    is_lines = chart["kind"] == "lines"
    drawing = KINDS[chart["kind"]](
        style=STYLE,
        css=["file://style.css", "file://graph.css", DARK],
        js=[],
        width=900,
        height=420 if is_lines else 130 + 30 * len(chart["labels"]),
        show_legend=any(name for name, _ in chart["series"]),
        legend_at_bottom=True,
        dots_size=2,
        x_label_rotation=35 if is_lines else 0,
        show_minor_x_labels=False,
        pretty_print=False,
        no_data_text="nothing yet",
    )
    labels = chart["labels"]
    # Bars lie on their side and are drawn from below; the first belongs on top.
    step = 1 if is_lines else -1
    drawing.x_labels = labels[::step]
    if is_lines:
        drawing.x_labels_major_every = max(1, len(labels) // 12)
    for name, values in chart["series"]:
        drawing.add(name, values[::step])
    return str(drawing.render(is_unicode=True))
