"""Draws docs/benchmarks.svg from docs/benchmarks.json: how much of each limit is used.

And docs/isolation.svg: what visitors feel of a busy admin side, in each way to deploy the app.

The only thing here that needs a package which the project's tools do not hold; it is run with
bench/requirements.txt.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl  # type: ignore[import-not-found,unused-ignore]
from matplotlib import pyplot as plt  # type: ignore[import-not-found,unused-ignore]

from bench import report
from bench.figures import Figure

TARGET = report.FIGURES.with_suffix(".svg")
ISOLATION = TARGET.with_stem("isolation")
KEPT, BROKEN = "#2a7f62", "#c0392b"


def share(figure: Figure, value: float) -> float:
    """Return how much of the figure's limit a value uses: more than 1 is too much."""
    limit = figure.limit or 1
    return limit / value if figure.at_least else value / limit


def main() -> None:
    """Draw a row for each promise, with a dot for each time that it was measured."""
    figures = [
        figure
        for part in report.load().values()
        for figure in part.figures
        if figure.limit is not None
    ]
    # The same figures give the same file; text stays text.
    mpl.rcParams.update({"svg.hashsalt": "benchmarks", "svg.fonttype": "none"})
    drawing, axes = plt.subplots(figsize=(9, 0.5 * len(figures) + 1.2), layout="constrained")
    for row, figure in enumerate(reversed(figures)):
        color = KEPT if figure.kept else BROKEN
        median = share(figure, figure.median)
        axes.barh(row, median, height=0.5, color=color, alpha=0.25)
        shares = [share(figure, value) for value in figure.values]
        axes.plot(shares, [row] * len(shares), "o", color=color, markersize=4, alpha=0.7)
    axes.axvline(1, color="black", linewidth=1)
    names = [
        f"{figure.name.replace('`', '')}  ({'≥' if figure.at_least else '≤'} "
        f"{figure.limit:g}{figure.unit and f' {figure.unit}'})"
        for figure in reversed(figures)
    ]
    axes.set_yticks(range(len(figures)), names)
    axes.set_xlim(left=0)
    axes.set_ylim(-0.7, len(figures) - 0.3)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("share of the limit that is used (bar: median)")
    axes.spines[["top", "right"]].set_visible(False)
    drawing.savefig(TARGET, metadata={"Date": None})
    if isolation := report.load().get("isolation"):
        draw_isolation(isolation.figures)


def draw_isolation(figures: Sequence[Figure]) -> None:
    """Draw a group of bars for each way to deploy the app, a bar for each kind of work."""
    ways: dict[str, dict[str, float]] = {}
    for figure in figures:
        way, colon, state = figure.name.partition(": ")
        if colon and way.startswith("("):
            ways.setdefault(way, {})[state.partition(" (")[0]] = figure.median
    states = list(next(iter(ways.values())))
    drawing, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    width = 0.8 / len(states)
    for number, state in enumerate(states):
        places = [group + (number - len(states) / 2 + 0.5) * width for group in range(len(ways))]
        axes.bar(places, [way[state] for way in ways.values()], width, label=state)
    axes.set_yscale("log")
    axes.set_ylabel("1 in 100 public requests takes longer, ms")
    axes.set_xticks(range(len(ways)), list(ways))
    axes.tick_params(axis="x", labelsize="small")
    # Milliseconds. Of bars that begin at 1, those of a site at rest could not be seen.
    axes.set_ylim(bottom=0.1)
    drawing.legend(loc="outside upper center", title="the admin side", ncols=6, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    drawing.savefig(ISOLATION, metadata={"Date": None})


if __name__ == "__main__":
    main()
