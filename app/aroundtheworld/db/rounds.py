"""Queries about rounds of questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from aroundtheworld.clock import now_ms
from aroundtheworld.db import events, journeys, players
from aroundtheworld.db.engine import Row
from aroundtheworld.db.schema import players as players_table
from aroundtheworld.db.schema import round_questions, rounds
from aroundtheworld.quiz import WINNING_SCORE, Question
from aroundtheworld.travel import coins_for


def coins_of(question: Row) -> int:
    """Return what the answer to a row of `round_questions` earned."""
    if question.chosen is None:
        return 0
    right = question.chosen == question.answer
    return coins_for(right, question.answered_at - question.asked_at)


@dataclass(frozen=True, slots=True)
class Round:
    """A round as it stands.

    Attributes:
        id: its number.
        score: right answers so far.
        questions: rows of `round_questions`, in order.
    """

    id: int
    score: int
    questions: Sequence[Row]

    @property
    def current(self) -> Row | None:
        """The question to be answered, or None when all are."""
        return next((q for q in self.questions if q.chosen is None), None)

    @property
    def last_answered(self) -> Row | None:
        """The question answered last, or None at the beginning."""
        return next((q for q in reversed(self.questions) if q.chosen is not None), None)


def start(
    connection: sa.Connection,
    player_id: int | None,
    questions: Sequence[Question],
    first_city_id: int,
) -> tuple[int, int]:
    """Begin a round.

    Args:
        connection: in a write transaction.
        player_id: who plays; a new guest is added if it is None or unknown.
        questions: what will be asked, in order.
        first_city_id: where a player begins who is nowhere yet.

    Returns:
        The ids of the player and of the round.
    """
    if player_id is None or players.by_id(connection, player_id) is None:
        player_id = players.add_guest(connection)
    journeys.begin(connection, player_id, first_city_id)
    now = now_ms()
    round_id: int = connection.execute(
        sa.insert(rounds).values(player_id=player_id, started_at=now).returning(rounds.c.id)
    ).scalar_one()
    connection.execute(
        sa.insert(round_questions),
        [
            {
                "round_id": round_id,
                "position": position,
                "kind": str(question.kind),
                "country": question.country,
                "prompt": question.prompt,
                "choices": list(question.choices),
                "answer": question.answer,
                "fact": question.fact,
                "question_id": question.written_id,
                "asked_at": now if position == 0 else None,
            }
            for position, question in enumerate(questions)
        ],
    )
    return player_id, round_id


def load(connection: sa.Connection, round_id: int, player_id: int) -> Round | None:
    """Return the round if it exists and is that player's, else None."""
    score = connection.execute(
        sa.select(rounds.c.score).where(rounds.c.id == round_id, rounds.c.player_id == player_id)
    ).scalar_one_or_none()
    if score is None:
        return None
    questions = connection.execute(
        sa.select(round_questions)
        .where(round_questions.c.round_id == round_id)
        .order_by(round_questions.c.position)
    ).all()
    return Round(round_id, score, questions)


def latest_open(connection: sa.Connection, player_id: int) -> int | None:
    """Return the id of the player's latest round if it is not finished, else None."""
    latest = connection.execute(
        sa.select(rounds.c.id, rounds.c.finished_at)
        .where(rounds.c.player_id == player_id)
        .order_by(rounds.c.id.desc())
        .limit(1)
    ).one_or_none()
    return latest.id if latest is not None and latest.finished_at is None else None


def latest(connection: sa.Connection, player_id: int, limit: int = 10) -> Sequence[Row]:
    """Return the player's latest rounds (id, started_at, finished_at, score), newest first."""
    return connection.execute(
        sa.select(rounds.c.id, rounds.c.started_at, rounds.c.finished_at, rounds.c.score)
        .where(rounds.c.player_id == player_id)
        .order_by(rounds.c.id.desc())
        .limit(limit)
    ).all()


def record(connection: sa.Connection, player_id: int) -> Row:
    """Return how many rounds the player finished and the best score (None before the first)."""
    return connection.execute(
        sa.select(
            sa.func.count().label("finished"), sa.func.max(rounds.c.score).label("best")
        ).where(rounds.c.player_id == player_id, rounds.c.finished_at.is_not(None))
    ).one()


def answer(
    connection: sa.Connection, round_id: int, player_id: int, position: int, chosen: int
) -> bool | None:
    """Answer a question of a round.

    Only the question that is due can be answered, once: whatever arrives twice, late or out of
    order changes nothing, and says so by returning False.

    Args:
        connection: in a write transaction.
        round_id: the round.
        player_id: whose round it must be.
        position: which question, from 0.
        chosen: index of the choice.

    Returns:
        Whether the answer counted; None if there is no such round of that player.

    Raises:
        ValueError: the question has no such choice.
    """
    state = load(connection, round_id, player_id)
    if state is None:
        return None
    current = state.current
    if current is None or current.position != position:
        return False
    if not 0 <= chosen < len(current.choices):
        raise ValueError(f"question {position} has no choice {chosen}")
    now = now_ms()
    counted = connection.execute(
        sa.update(round_questions)
        .where(
            round_questions.c.round_id == round_id,
            round_questions.c.position == position,
            # Where transactions run side by side (PostgreSQL), the second finds none.
            round_questions.c.chosen.is_(None),
        )
        .values(chosen=chosen, answered_at=now)
    ).rowcount
    if not counted:
        return False
    right = chosen == current.answer
    journeys.earn(connection, player_id, coins_for(right, now - current.asked_at))
    is_last = position == len(state.questions) - 1
    connection.execute(
        sa.update(rounds)
        .where(rounds.c.id == round_id)
        .values(
            score=rounds.c.score + int(right),
            finished_at=now if is_last else None,
        )
    )
    score = state.score + int(right)
    if is_last and score >= WINNING_SCORE:
        events.add(connection, events.WON, player_id, score)
    if not is_last:
        connection.execute(
            sa.update(round_questions)
            .where(
                round_questions.c.round_id == round_id,
                round_questions.c.position == position + 1,
            )
            .values(asked_at=now)
        )
    return True


@dataclass(frozen=True, slots=True)
class Totals:
    """What has been played so far.

    Attributes:
        players: everybody who began a round or has an account.
        rounds: begun.
        finished: of them, played to the end.
        answers: how many there were.
        right: of them, right.
    """

    players: int
    rounds: int
    finished: int
    answers: int
    right: int


def totals(connection: sa.Connection) -> Totals:
    """Count everything. Reads whole tables: for the admin side."""
    q = round_questions.c
    answers, right = connection.execute(
        sa.select(sa.func.count(q.chosen), sa.func.count(sa.case((q.chosen == q.answer, 1))))
    ).one()
    begun, finished = connection.execute(
        sa.select(sa.func.count(), sa.func.count(rounds.c.finished_at)).select_from(rounds)
    ).one()
    everybody = connection.execute(
        sa.select(sa.func.count()).select_from(players_table)
    ).scalar_one()
    return Totals(everybody, begun, finished, answers, right)


def by_kind(connection: sa.Connection) -> Sequence[Row]:
    """Return kind, answers and right answers, the hardest kind first; for the admin side."""
    q = round_questions.c
    right = sa.func.count(sa.case((q.chosen == q.answer, 1)))
    answers = sa.func.count()
    return connection.execute(
        sa.select(q.kind, answers.label("answers"), right.label("right"))
        .where(q.chosen.is_not(None))
        .group_by(q.kind)
        .order_by(sa.cast(right, sa.Float) / answers, q.kind)
    ).all()


def recent(connection: sa.Connection, limit: int = 10) -> Sequence[Row]:
    """Return the latest rounds with the name of who played, newest first."""
    return connection.execute(
        sa.select(
            rounds.c.id,
            rounds.c.started_at,
            rounds.c.finished_at,
            rounds.c.score,
            rounds.c.player_id,
            players_table.c.name,
        )
        .join(players_table, players_table.c.id == rounds.c.player_id)
        .order_by(rounds.c.started_at.desc(), rounds.c.id.desc())
        .limit(limit)
    ).all()
