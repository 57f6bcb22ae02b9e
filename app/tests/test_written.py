from __future__ import annotations

import csv
import io
from random import Random

import pytest

from aroundtheworld import world, written

WORLD = world.load()
GIVEN = {
    "category": "history",
    "country": "FR",
    "difficulty": "hard",
    "published": "yes",
    "prompt": "Which wall fell in 1789?",
    "right": "The Bastille",
    "wrong_1": "Hadrian's",
    "wrong_2": "The Louvre",
    "wrong_3": "None",
    "fact": "The Bastille was stormed on 14 July 1789.",
}


def file(*rows, columns=written.COLUMNS):
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows({**GIVEN, "prompt": f"Number {i}?", **row} for i, row in enumerate(rows))
    return text.getvalue().encode()


def test_a_good_question_is_read_and_asked():
    values, problems = written.parse(GIVEN, WORLD)
    assert problems == {}
    assert values == {**GIVEN, "published": True}
    question = written.question({**values, "id": 7}, Random(1))
    assert question.choices[question.answer] == "The Bastille"
    assert set(question.choices) == {GIVEN[name] for name in written.CHOICES}
    assert question.written_id == 7
    answers = {written.question({**values, "id": 7}, Random(seed)).answer for seed in range(40)}
    assert answers == {0, 1, 2, 3}


def test_spaces_and_the_case_of_the_country_do_not_matter():
    values, problems = written.parse(
        {**GIVEN, "country": " fr", "right": " The \n Bastille "}, WORLD
    )
    assert not problems
    assert (values["country"], values["right"]) == ("FR", "The Bastille")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("category", "sports", "must be one of capital, .*culture, not 'sports'"),
        ("difficulty", "", "must be one of easy, medium, hard, not ''"),
        ("country", "XX", "two letters of a country, such as FR, not 'XX'"),
        ("country", "F" * 900, "not 'F{40}'…$"),
        ("published", "maybe", "yes or no, not 'maybe'"),
        ("prompt", "  ", "must not be empty; at most 200"),
        ("prompt", "x" * 201, "has 201 characters; at most 200"),
        ("wrong_2", "THE BASTILLE", "must differ from the other answers"),
        ("fact", "a\x00b", "cannot be shown"),
        ("right", "a\u202eb", "cannot be shown"),
    ],
)
def test_what_will_not_do_is_named_with_what_is_allowed(name, value, sentence):
    _, problems = written.parse({**GIVEN, name: value}, WORLD)
    assert list(problems) == [name]
    with pytest.raises(AssertionError, match=sentence):
        raise AssertionError(problems[name])


def test_nothing_given_names_every_field():
    assert set(written.parse({}, WORLD)[1]) == set(written.FIELDS)


def test_what_is_exported_can_be_imported():
    rows = [
        {**GIVEN, "id": 3, "published": True},
        {**GIVEN, "id": 5, "published": False, "prompt": 'Quotes ", commas; ünd 漢字?'},
    ]
    lines, problems = written.from_csv(written.to_csv(rows).encode(), WORLD)
    assert problems == []
    assert [{**line.values, "id": line.id} for line in lines] == rows
    assert [line.number for line in lines] == [2, 3]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(1)", "'=1", "''-1", "\uff1d1"])
def test_no_cell_that_is_exported_is_a_formula(text):
    row = {**GIVEN, "id": 3, "published": True, "prompt": text, "wrong_1": f"{text} or so"}
    content = written.to_csv([row])
    (cells,) = csv.DictReader(io.StringIO(content))
    assert (cells["prompt"], cells["wrong_1"]) == (f"'{text}", f"'{text} or so")
    ((line,), problems) = written.from_csv(content.encode(), WORLD)
    assert problems == []
    assert {**line.values, "id": line.id} == row


def test_other_apostrophes_stay_as_they_are():
    row = {**GIVEN, "id": 3, "published": True, "prompt": "'Tis where?", "wrong_1": "'"}
    content = written.to_csv([row])
    assert "''" not in content
    assert written.from_csv(content.encode(), WORLD)[0][0].values["prompt"] == "'Tis where?"


def test_a_file_of_a_spreadsheet_is_read_too():
    content = "\ufeff" + file({}, {}).decode().replace("\n", "\r\n").replace("\r\r", "\r") + "\r\n"
    lines, problems = written.from_csv(content.encode(), WORLD)
    assert (len(lines), problems) == (2, [])


def test_every_bad_line_is_named_by_where_it_begins():
    content = file(
        {"country": "Atlantis"},
        {"prompt": "Two\nlines?"},
        {"fact": "", "difficulty": "very"},
        {"prompt": "Number 0?"},
        {"id": "4"},
        {"id": "4"},
        {"id": "-1"},
    )
    _, problems = written.from_csv(content, WORLD)
    assert [p.split(":")[0] for p in problems] == [
        "Line 2, column country",
        "Line 5, column difficulty",
        "Line 5, column fact",
        "Line 6, column prompt",
        "Line 8, column id",
        "Line 9, column id",
    ]
    assert "is on line 2 already" in problems[3]
    assert "is on line 7 already" in problems[4]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "Line 1: the column category is missing"),
        (file({}, columns=[c for c in written.COLUMNS if c != "id"]).replace(b"fact", b"fakt"),
         "Line 1: there is no column 'fakt'; there are id, category"),
        (file().replace(b"id,", b"fact,", 1), "Line 1: the column fact is there twice"),
        (file(), "no question below its first line"),
        (file({}) + b"a,b\n", "Line 3 has 2 columns, the first line has 11"),
        (file({}) + b'"never closed\n', "Line 3 is no CSV: unexpected end of data"),
        (file({}) + b'"a"b,\n', "Line 3 is no CSV"),
        (file({}) + "é".encode("latin-1"), "Line 3 is not UTF-8"),
        (b"\x89PNG\r\n\x1a\n", "Line 1 is not UTF-8"),
        (file(*[{}] * 5001), "Line 5002: a file may hold 5,000 questions"),
        (file({"prompt": "x" * 200_000}), "field larger than field limit"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_such_file_is_refused(content, sentence):
    _, problems = written.from_csv(content, WORLD)
    assert any(sentence in problem for problem in problems), problems
