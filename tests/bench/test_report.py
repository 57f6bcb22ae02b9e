"""The page of figures: tables between markers, everything else by hand."""

from __future__ import annotations

import pytest

from bench import report
from bench.figures import Figure, Part
from bench.host import BenchError

PAGE = "# Figures\n\n<!-- measured: load -->\n\nold\n\n<!-- /measured -->\n\nBy hand.\n"


def part() -> Part:
    return Part([Figure("requests", "x", [1.0, 2.0, 3.0], 2.5)], "2026-11-26", "2 cores")


def test_the_page_has_the_figures_that_are_kept():
    page = report.PAGE.read_text()
    for name, kept in report.load().items():
        assert report.with_part(page, name, kept) == page, name


def test_a_part_replaces_its_own_table_and_nothing_else():
    page = report.with_part(PAGE, "load", part())
    assert page.startswith("# Figures\n\n<!-- measured: load -->\n\nMeasured on 2026-11-26")
    assert page.endswith("|\n\n<!-- /measured -->\n\nBy hand.\n")
    assert "old" not in page
    assert report.with_part(page, "load", part()) == page


def test_a_part_without_a_place_on_the_page_is_not_lost_silently():
    with pytest.raises(BenchError, match="measured: game"):
        report.with_part(PAGE, "game", part())
