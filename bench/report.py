"""The figures as tables, for the terminal and for docs/benchmarks.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.figures import Figure, Part
from bench.host import CHECKOUT

PAGE = CHECKOUT / "docs" / "benchmarks.md"
FIGURES = CHECKOUT / "docs" / "benchmarks.json"
BEGIN, END = "<!-- measured -->\n", "<!-- /measured -->\n"

TITLES = {
    "playbooks": "The operator's commands",
    "load": "Public requests",
    "cost": "What measuring costs the site",
    "game": "The game with 100,000 rounds played",
    "isolation": "Visitors while the admin side is busy",
    "growth": "Four workers and 64",
    "targets": "The contributor's commands",
}


def load(path: Path = FIGURES) -> dict[str, Part]:
    """Returns the parts that were kept, by name."""
    if not path.exists():
        return {}
    return {name: Part.from_json(part) for name, part in json.loads(path.read_text()).items()}


def save(parts: Mapping[str, Part]) -> None:
    """Keeps the parts, and writes them into the page between its markers."""
    data = {name: parts[name].to_json() for name in TITLES if name in parts}
    FIGURES.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(before + BEGIN + "\n" + markdown(parts) + "\n" + END + after)


def markdown(parts: Mapping[str, Part]) -> str:
    """Returns a heading and a table for each part."""
    return (
        "\n\n".join(
            f"### {TITLES[name]}\n\nMeasured on {part.when}: {part.machine}.\n\n"
            + "\n".join(table(part))
            for name, part in parts.items()
        )
        + "\n"
    )


def table(part: Part) -> Iterator[str]:
    """Yields the lines of a part's table; those with a limit come first in it."""
    rows = [["what", "limit", "median", "least", "most", "times", "ok?"]]
    rows += [_row(figure) for figure in part.figures]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"| {' | '.join(cells)} |"


def _row(figure: Figure) -> list[str]:
    limit = ok = ""
    if figure.limit is not None:
        limit = f"{'≥' if figure.at_least else '≤'} {figure.limit:g} {figure.unit}"
        ok = "yes" if figure.kept else "**no**"
    least, most = _short(min(figure.values)), _short(max(figure.values))
    count = str(len(figure.values))
    return [figure.name, limit, f"{_short(figure.median)} {figure.unit}", least, most, count, ok]


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
