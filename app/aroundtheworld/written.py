"""Questions that administrators write: what each must look like, and their CSV files. Pure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from aroundtheworld.quiz import KIND_NAMES, Question
from aroundtheworld.world import World

# What a question may be about: as the generated ones, and what no table of figures knows.
CATEGORIES: dict[str, str] = {
    **{kind.value: name for kind, name in KIND_NAMES.items()},
    "history": "History",
    "nature": "Nature",
    "culture": "Culture",
}
DIFFICULTIES = ("easy", "medium", "hard")

# The longest text that a field may hold; the columns of the database hold as much.
LENGTHS = {"prompt": 200, "right": 80, "wrong_1": 80, "wrong_2": 80, "wrong_3": 80, "fact": 200}
CHOICES = ("right", "wrong_1", "wrong_2", "wrong_3")
FIELDS = ("category", "country", "difficulty", "published", *LENGTHS)
COLUMNS = ("id", *FIELDS)

MOST_ROWS = 5000

# What a spreadsheet takes for a formula, and would compute when the file is opened; in some
# languages the wide forms too. An apostrophe before it says that it is text.
FORMULA = re.compile(r"'*[=+\-@\uff1d\uff0b\uff0d\uff20]")

Values = dict[str, str | bool]
Problems = dict[str, str]


def parse(fields: Mapping[str, str], world: World) -> tuple[Values, Problems]:
    """Read a question's fields.

    Args:
        fields: text by the names of `FIELDS`; a missing field is empty.
        world: knows the countries.

    Returns:
        The columns of the table `questions`, and for every field that will not do a sentence that
        says what is allowed. The columns are complete only if there is no such sentence.
    """
    text = {name: " ".join(fields.get(name, "").split()) for name in FIELDS}
    text["country"] = text["country"].upper()
    problems: Problems = {}
    for name, allowed in (("category", tuple(CATEGORIES)), ("difficulty", DIFFICULTIES)):
        if text[name] not in allowed:
            problems[name] = f"must be one of {', '.join(allowed)}, not {shown(text[name])}"
    if text["country"] not in world.by_code:
        problems["country"] = "must be the two letters of a country, such as FR, not " + shown(
            text["country"]
        )
    if text["published"] not in ("yes", "no"):
        problems["published"] = f"must be yes or no, not {shown(text['published'])}"
    for name, most in LENGTHS.items():
        if not text[name]:
            problems[name] = f"must not be empty; at most {most} characters"
        elif len(text[name]) > most:
            problems[name] = f"has {len(text[name])} characters; at most {most} are allowed"
        elif not text[name].isprintable():
            problems[name] = f"has a character that cannot be shown: {shown(text[name])}"
    for i, name in enumerate(CHOICES):
        before = {text[other].casefold() for other in CHOICES[:i]}
        if name not in problems and text[name].casefold() in before:
            problems[name] = f"must differ from the other answers; {shown(text[name])} is there"
    return {**text, "published": text["published"] == "yes"}, problems


def shown(text: str) -> str:
    """Return a value in a form that fits into a sentence, however long or strange it is."""
    return repr(text) if len(text) <= 40 else repr(text[:40]) + "…"


def question(row: Mapping[str, object], rng: Random) -> Question:
    """Return a row of the table `questions` for a round, its answers in random order."""
    choices = [str(row[name]) for name in CHOICES]
    right = choices[0]
    rng.shuffle(choices)
    return Question(
        kind=str(row["category"]),
        country=str(row["country"]),
        prompt=str(row["prompt"]),
        choices=tuple(choices),
        answer=choices.index(right),
        fact=str(row["fact"]),
        written_id=int(str(row["id"])),
    )


@dataclass(frozen=True, slots=True)
class Line:
    """A question as a line of a CSV file holds it.

    Attributes:
        number: of the line in the file, from 1.
        id: of the question that it changes; None for a new question.
        values: columns of the table `questions`.
    """

    number: int
    id: int | None
    values: Values


def to_csv(rows: Iterable[Mapping[str, object]]) -> str:
    """Return rows of the table `questions` as a CSV file that `from_csv` reads.

    No cell is a formula, whatever somebody wrote: see `FORMULA`.
    """
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        cells = {**row, "published": "yes" if row["published"] else "no"}
        writer.writerow(
            {name: f"'{cell}" if FORMULA.match(str(cell)) else cell for name, cell in cells.items()}
        )
    return file.getvalue()


def from_csv(content: bytes, world: World) -> tuple[list[Line], list[str]]:
    """Read a CSV file of questions.

    Args:
        content: the file, UTF-8, its first line the names of `COLUMNS` in any order. `id` may be
            missing or empty, for a new question.
        world: knows the countries.

    Returns:
        The questions, and a sentence for everything that is wrong, with its line and column. The
        questions are of use only if there is no such sentence.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = content.count(b"\n", 0, error.start) + 1
        return [], [f"Line {at} is not UTF-8: save the file in that encoding."]
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines: list[Line] = []
    problems: list[str] = []
    seen: dict[object, int] = {}
    number = 1
    try:
        names = next(reader, [])
        problems = _header_problems(names)
        if problems:
            return [], problems
        number = reader.line_num + 1
        for cells in reader:
            here, number = number, reader.line_num + 1
            if not any(cells):
                continue
            if len(lines) >= MOST_ROWS:
                problems.append(f"Line {here}: a file may hold {MOST_ROWS:,} questions at most.")
                break
            line, wrong = _line(here, names, cells, world)
            problems += wrong
            lines.append(line)
            for name, key in (("prompt", line.values["prompt"]), ("id", line.id)):
                first = seen.setdefault((name, key), here)
                if key and first != here:
                    problems.append(f"Line {here}, column {name}: is on line {first} already.")
    except csv.Error as error:
        problems.append(f"Line {number} is no CSV: {error}.")
    if not lines and not problems:
        problems.append("The file has no question below its first line.")
    return lines, problems


def _text(cell: str) -> str:
    """Return a cell without the apostrophe that keeps it from being a formula."""
    text = cell.strip()
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def _header_problems(names: Sequence[str]) -> list[str]:
    columns = ", ".join(COLUMNS)
    problems = [
        f"Line 1: there is no column {shown(name)}; there are {columns}."
        for name in names
        if name not in COLUMNS
    ]
    problems += [
        f"Line 1: the column {name} is missing; needed are {', '.join(FIELDS)}."
        for name in FIELDS
        if name not in names
    ]
    problems += [
        f"Line 1: the column {name} is there twice." for name in COLUMNS if names.count(name) > 1
    ]
    return problems


def _line(
    number: int, names: Sequence[str], cells: Sequence[str], world: World
) -> tuple[Line, list[str]]:
    if len(cells) != len(names):
        values, _ = parse({}, world)
        return Line(number, None, values), [
            f"Line {number} has {len(cells)} columns, the first line has {len(names)}."
        ]
    fields = dict(zip(names, map(_text, cells), strict=True))
    values, wrong = parse(fields, world)
    given_id = fields.get("id", "").strip()
    is_id = given_id.isascii() and given_id.isdigit() and len(given_id) < 10
    if given_id and not is_id:
        wrong["id"] = f"must be a question's number, or empty for a new one, not {shown(given_id)}"
    return Line(number, int(given_id) if is_id else None, values), [
        f"Line {number}, column {name}: {sentence}." for name, sentence in wrong.items()
    ]
