"""The figures as tables, for the terminal and for docs/benchmarks.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.figures import Figure, Part
from bench.host import CHECKOUT, BenchError

PAGE = CHECKOUT / "docs" / "benchmarks.md"
FIGURES = CHECKOUT / "docs" / "benchmarks.json"
# Around the table of each part; what is around them is written by hand.
BEGIN, END = "<!-- measured: {} -->\n", "<!-- /measured -->\n"
# In the order in which they are kept.
PARTS = ("playbooks", "load", "cost", "frontdoor", "game", "isolation", "growth", "targets")


def load(path: Path = FIGURES) -> dict[str, Part]:
    """Return the parts that were kept, by name."""
    if not path.exists():
        return {}
    return {name: Part.from_json(part) for name, part in json.loads(path.read_text()).items()}


def save(parts: Mapping[str, Part]) -> None:
    """Keep the parts, and write each into the page between its markers."""
    data = {name: parts[name].to_json() for name in PARTS if name in parts}
    FIGURES.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    page = PAGE.read_text()
    for name, part in parts.items():
        page = with_part(page, name, part)
    PAGE.write_text(page)


def with_part(page: str, name: str, part: Part) -> str:
    """Return the page with the table of a part between its markers."""
    before, begin, rest = page.partition(BEGIN.format(name))
    _, end, after = rest.partition(END)
    if not end:
        raise BenchError(f"{PAGE.name} has no {BEGIN.format(name).strip()} with an end behind it.")
    return f"{before}{begin}\n{markdown(part)}\n{end}{after}"


def markdown(part: Part) -> str:
    """Return when and where a part was measured, and its table."""
    return f"Measured on {part.when}: {part.machine}.\n\n" + "\n".join(table(part)) + "\n"


def table(part: Part) -> Iterator[str]:
    """Yield the lines of a part's table; those with a limit come first in it."""
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
