"""Queries about all that belongs to one player, to take it elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from aroundtheworld.db.schema import (
    cities,
    countries,
    flights,
    journeys,
    players,
    questions,
    round_questions,
    rounds,
)

ASKED = ("kind", "country", "prompt", "choices", "answer", "fact")
ANSWERED = ("asked_at", "answered_at", "chosen")


class CannotAddError(Exception):
    """A player's data do not fit into this database; the text says why."""


def collect(connection: sa.Connection, name: str) -> dict[str, Any] | None:
    """Return all that belongs to the player of a name, as `player_file` has it; None without one.

    The connection sees everything as it is at one moment.
    """
    p, j, f = players.c, journeys.c, flights.c
    player = connection.execute(sa.select(players).where(p.name == name)).one_or_none()
    if player is None:
        return None
    here = sa.select(j.city_id.label("city"), j.coins, j.earned, j.km)
    journey = connection.execute(here.where(j.player_id == player.id)).mappings().one_or_none()
    flown = connection.execute(
        sa.select(
            f.from_city_id.label("from_city"),
            f.to_city_id.label("to_city"),
            f.km,
            f.fare,
            f.flown_at,
        )
        .where(f.player_id == player.id)
        .order_by(f.id)
    ).mappings()
    return {
        "player": {key: getattr(player, key) for key in ("name", "password_hash", "created_at")},
        "journey": journey and dict(journey),
        "rounds": list(_rounds(connection, player.id)),
        "flights": [dict(flight) for flight in flown],
    }


def _rounds(connection: sa.Connection, player_id: int) -> Iterable[dict[str, Any]]:
    q = round_questions.c
    rows = connection.execute(
        sa.select(rounds.c.id, rounds.c.started_at, round_questions)
        .join(round_questions, q.round_id == rounds.c.id)
        .where(rounds.c.player_id == player_id)
        .order_by(rounds.c.id, q.position)
    ).mappings()
    for (_, started_at), asked in groupby(rows, lambda row: (row["id"], row["started_at"])):
        yield {
            "started_at": started_at,
            "questions": [
                {key: row[key] for key in (*ASKED, *ANSWERED)}
                | {"written": row["question_id"] is not None}
                for row in asked
            ],
        }


def add(connection: sa.Connection, data: Mapping[str, Any]) -> int:
    """Add a player with all that `player_file.read` returned; return how many rounds that were.

    The player is no administrator, whatever they were elsewhere.

    Args:
        connection: in a write transaction, which has to be rolled back if this fails.
        data: of the player.

    Raises:
        CannotAddError: the name is taken, or this world lacks a city or a country.
    """
    name = data["player"]["name"]
    taken = sa.select(players.c.created_at).where(players.c.name == name)
    if connection.execute(taken).one_or_none() is not None:
        raise CannotAddError(
            f"There is a player {name} already, so nothing was imported. If it is the same player,"
            " that is done; for one beside the other: import --name ANOTHER-NAME"
        )
    _check_world(connection, data)
    player_id = connection.execute(
        sa.insert(players).values(**data["player"]).returning(players.c.id)
    ).scalar_one()
    if journey := data["journey"]:
        values = {**journey, "city_id": journey["city"], "player_id": player_id}
        del values["city"]
        connection.execute(sa.insert(journeys).values(values))
    _add_rounds(connection, player_id, data["rounds"])
    if data["flights"]:
        connection.execute(
            sa.insert(flights),
            [
                {
                    "player_id": player_id,
                    "from_city_id": flight["from_city"],
                    "to_city_id": flight["to_city"],
                    **{key: flight[key] for key in ("km", "fare", "flown_at")},
                }
                for flight in data["flights"]
            ],
        )
    return len(data["rounds"])


def _check_world(connection: sa.Connection, data: Mapping[str, Any]) -> None:
    """Raise `CannotAddError` if the data name a place that is not in the database."""
    wanted = {flight[key] for flight in data["flights"] for key in ("from_city", "to_city")}
    if data["journey"]:
        wanted.add(data["journey"]["city"])
    asked = {question["country"] for each in data["rounds"] for question in each["questions"]}
    for what, column, places in (
        ("city", cities.c.id, wanted),
        ("country", countries.c.code, asked),
    ):
        if missing := places - {*connection.execute(sa.select(column)).scalars()}:
            raise CannotAddError(
                f"There is no {what} {min(missing)!r} in this world, so nothing was imported."
                " Import with the release that the file was exported by, or a later one"
            )


def _add_rounds(
    connection: sa.Connection, player_id: int, data: Iterable[Mapping[str, Any]]
) -> None:
    rows, asked = [], []
    for each in data:
        answered = [question for question in each["questions"] if question["chosen"] is not None]
        is_finished = len(answered) == len(each["questions"])
        rows.append(
            {
                "player_id": player_id,
                "started_at": each["started_at"],
                "finished_at": answered[-1]["answered_at"] if is_finished else None,
                "score": sum(question["chosen"] == question["answer"] for question in answered),
            }
        )
        asked.append(each["questions"])
    if not rows:
        return
    ids = connection.execute(
        sa.insert(rounds).returning(rounds.c.id, sort_by_parameter_order=True), rows
    ).scalars()
    # Of another installation's questions, the same prompt makes the same one.
    known = connection.execute(sa.select(questions.c.prompt, questions.c.id))
    written = {row.prompt: row.id for row in known}
    connection.execute(
        sa.insert(round_questions),
        [
            {
                "round_id": round_id,
                "position": position,
                **{key: question[key] for key in (*ASKED, *ANSWERED)},
                "question_id": written.get(question["prompt"]) if question["written"] else None,
            }
            for round_id, group in zip(ids, asked, strict=True)
            for position, question in enumerate(group)
        ],
    )
