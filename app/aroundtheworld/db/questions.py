"""Queries about the questions that administrators write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import sqlalchemy as sa

from aroundtheworld.clock import now_ms
from aroundtheworld.db.engine import Row
from aroundtheworld.db.schema import questions, round_questions
from aroundtheworld.written import Line, Values

PER_PAGE = 25


@dataclass(frozen=True, slots=True)
class Filter:
    """Which questions to list; what is empty asks for nothing.

    Attributes:
        text: a part of the prompt, in any case.
        category: of `written.CATEGORIES`.
        country: its code.
        published: "yes" or "no".
    """

    text: str = ""
    category: str = ""
    country: str = ""
    published: str = ""

    def clauses(self) -> list[sa.ColumnElement[bool]]:
        """Return the conditions of a query."""
        c = questions.c
        clauses: list[sa.ColumnElement[bool]] = []
        if self.text:
            clauses.append(c.prompt.icontains(self.text, autoescape=True))
        if self.category:
            clauses.append(c.category == self.category)
        if self.country:
            clauses.append(c.country == self.country)
        if self.published:
            clauses.append(c.published == (self.published == "yes"))
        return clauses


def draw(
    connection: sa.Connection, countries: Sequence[str], most: int, rng: Random
) -> Sequence[Mapping[str, object]]:
    """Return published questions at random: at most one for each country, and at most `most`."""
    c = questions.c
    found: dict[str, list[int]] = {}
    for row in connection.execute(
        sa.select(c.country, c.id).where(c.country.in_(countries), c.published)
    ):
        found.setdefault(row.country, []).append(row.id)
    drawn = [rng.choice(found[country]) for country in countries if country in found]
    chosen = rng.sample(drawn, min(most, len(drawn)))
    if not chosen:
        return []
    return [
        dict(row)
        for row in connection.execute(sa.select(questions).where(c.id.in_(chosen))).mappings()
    ]


def count(connection: sa.Connection, filter_: Filter) -> int:
    """Return how many questions there are."""
    query = sa.select(sa.func.count()).select_from(questions).where(*filter_.clauses())
    return connection.execute(query).scalar_one()


def page(connection: sa.Connection, filter_: Filter, number: int) -> Sequence[Row]:
    """Return a page of questions, numbered from 1, the newest first."""
    return connection.execute(
        sa.select(questions)
        .where(*filter_.clauses())
        .order_by(questions.c.id.desc())
        .limit(PER_PAGE)
        .offset((number - 1) * PER_PAGE)
    ).all()


def everything(connection: sa.Connection) -> Sequence[Mapping[str, object]]:
    """Return all questions, the oldest first."""
    query = sa.select(questions).order_by(questions.c.id)
    return [dict(row) for row in connection.execute(query).mappings()]


def by_id(connection: sa.Connection, question_id: int) -> Row | None:
    """Return the question, or None."""
    query = sa.select(questions).where(questions.c.id == question_id)
    return connection.execute(query).one_or_none()


def times_asked(connection: sa.Connection, question_id: int) -> int:
    """Return in how many rounds the question was asked."""
    query = sa.select(sa.func.count()).where(round_questions.c.question_id == question_id)
    return connection.execute(query).scalar_one()


def with_prompt(connection: sa.Connection, prompt: str) -> int | None:
    """Return the id of the question with that prompt, or None."""
    query = sa.select(questions.c.id).where(questions.c.prompt == prompt)
    return connection.execute(query).scalar_one_or_none()


def add(connection: sa.Connection, values: Values) -> int | None:
    """Add a question; return its id, or None if another has that prompt."""
    if with_prompt(connection, str(values["prompt"])) is not None:
        return None
    now = now_ms()
    question_id: int = connection.execute(
        sa.insert(questions)
        .values(**values, created_at=now, changed_at=now)
        .returning(questions.c.id)
    ).scalar_one()
    return question_id


def change(connection: sa.Connection, question_id: int, values: Values) -> bool:
    """Change a question; do nothing and return False if another has that prompt."""
    if with_prompt(connection, str(values["prompt"])) not in (None, question_id):
        return False
    connection.execute(
        sa.update(questions)
        .where(questions.c.id == question_id)
        .values(**values, changed_at=now_ms())
    )
    return True


def publish(connection: sa.Connection, question_id: int, published: bool) -> None:
    """Let the question be asked from now on, or not any more."""
    connection.execute(
        sa.update(questions)
        .where(questions.c.id == question_id)
        .values(published=published, changed_at=now_ms())
    )


def delete(connection: sa.Connection, question_id: int) -> bool:
    """Delete a question that is not in use; say whether it was deleted.

    In use is what is published, or was asked ever.
    """
    used = sa.exists().where(round_questions.c.question_id == question_id)
    query = sa.delete(questions).where(
        questions.c.id == question_id, questions.c.published.is_(False), ~used
    )
    return bool(connection.execute(query).rowcount)


class ImportRefused(Exception):  # noqa: N818 - what happened, and it is the admin's file
    """The lines do not fit the questions that there are; `args` are sentences that say why."""


def import_lines(connection: sa.Connection, lines: Sequence[Line]) -> tuple[int, int]:
    """Add and change questions as the lines of a file say; return how many of each.

    A line that changes nothing counts as neither.

    Raises:
        ImportRefused: some lines cannot be done, so none was.
    """
    existing = {row["id"]: row for row in everything(connection)}
    problems = [
        f"Line {line.number}, column id: there is no question {line.id};"
        " leave it empty for a new one."
        for line in lines
        if line.id is not None and line.id not in existing
    ]
    replaced = {line.id for line in lines}
    kept = {row["prompt"]: id_ for id_, row in existing.items() if id_ not in replaced}
    problems += [
        f"Line {line.number}, column prompt: question {kept[line.values['prompt']]} asks that."
        for line in lines
        if line.values["prompt"] in kept
    ]
    if problems:
        raise ImportRefused(*problems)
    changed = [
        line
        for line in lines
        if line.id is not None
        and any(existing[line.id][name] != value for name, value in line.values.items())
    ]
    # Two lines may have exchanged their prompts: make room first.
    for line in changed:
        connection.execute(
            sa.update(questions)
            .where(questions.c.id == line.id)
            .values(prompt=f"(question {line.id} is being replaced)")
        )
    now = now_ms()
    for line in changed:
        connection.execute(
            sa.update(questions)
            .where(questions.c.id == line.id)
            .values(**line.values, changed_at=now)
        )
    new = [line.values for line in lines if line.id is None]
    if new:
        connection.execute(
            sa.insert(questions),
            [{**values, "created_at": now, "changed_at": now} for values in new],
        )
    return len(new), len(changed)
