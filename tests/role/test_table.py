"""Tables that people read in a terminal."""

from __future__ import annotations

import pytest

from aroundtheworld_controller.output import table as module
from aroundtheworld_controller.output.table import UNLIMITED, table, terminal_width

HEADINGS = ["worker", "requests", "what"]
NUMBERS = ["worker", "requests"]
ROWS = [[10001, 7, "ready"], [10004, 1234, "busy for 12.3 s in Report.get, since it was asked"]]


def test_numbers_stand_on_the_right_and_texts_on_the_left():
    assert table(HEADINGS, ROWS, 100, NUMBERS) == [
        "worker  requests  what",
        " 10001         7  ready",
        " 10004      1234  busy for 12.3 s in Report.get, since it was asked",
    ]


def test_the_last_column_wraps_between_words_and_under_itself():
    lines = table(HEADINGS, ROWS, 42, NUMBERS)
    assert lines[2:] == [
        " 10004      1234  busy for 12.3 s in",
        "                  Report.get, since it was",
        "                  asked",
    ]


@pytest.mark.parametrize("width", [30, 42, 60, 100])
def test_no_line_is_wider_than_the_terminal_unless_a_column_would_vanish(width):
    room = max(width, len("worker  requests  ") + module.LEAST)
    assert max(map(len, table(HEADINGS, ROWS, width, NUMBERS))) <= room


def test_a_table_without_rows_is_its_headings():
    assert table(HEADINGS, [], 80) == ["worker  requests  what"]


def test_one_column_alone_wraps_too():
    assert table(["what"], [["a text of some length"]], 20) == ["what", "a text of some", "length"]


def test_the_width_is_the_terminals(monkeypatch):
    monkeypatch.setenv("COLUMNS", "77")
    assert terminal_width() == 77


def test_what_is_no_terminal_gets_whole_lines(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(module.sys.stdout, "isatty", lambda: False, raising=False)
    assert terminal_width() == UNLIMITED


def test_a_long_word_stays_whole_so_that_it_can_be_copied():
    word = "shop.handlers.reports.DifficultyHandler"
    assert table(["route", "handler"], [["/", word]], 30)[1].endswith(word)
