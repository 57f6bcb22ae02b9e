"""An invented but plausible history, so that reports have real work and benches a full database.

Nobody real is in it: simulated players are guests, or have a name and a password hash that no
password fits.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from random import Random

import sqlalchemy as sa

from aroundtheworld import quiz
from aroundtheworld.db.engine import Database
from aroundtheworld.db.schema import flights, journeys, players, round_questions, rounds
from aroundtheworld.passwords import NO_PASSWORD
from aroundtheworld.travel import Flight, coins_for, flights_from
from aroundtheworld.world import City, Country, World

# Written in batches: a visitor's write never waits for more than a batch.
PLAYERS_PER_BATCH = 50

DAY_MS = 24 * 60 * 60 * 1000
HISTORY_DAYS = 180
MEAN_ROUNDS = 5
# How much harder than the average (0) questions of a kind are, as a share of right answers.
HARDER: dict[str, float] = {
    quiz.Kind.CAPITAL: 0.05,
    quiz.Kind.COUNTRY: 0.0,
    quiz.Kind.POPULATION: 0.1,
    quiz.Kind.AREA: 0.12,
    quiz.Kind.NEIGHBOUR: -0.05,
    quiz.Kind.NEAREST: -0.1,
}

Rows = dict[sa.Table, list[dict[str, object]]]


class Simulation:
    """Invents players and what they did up to `now_ms`."""

    def __init__(self, world: World, rng: Random, now_ms: int) -> None:
        """Prepare; the same `rng` and `now_ms` invent the same."""
        self.world = world
        self.rng = rng
        self.now_ms = now_ms
        # Inventing a round costs more than all the rest, and a few of each country are enough.
        self._rounds: dict[str, list[list[quiz.Question]]] = {}
        self._near: dict[int, tuple[Flight, ...]] = {}

    def player(self, player_id: int, round_id: int) -> Rows:
        """Return the rows of a player with that id, whose rounds are numbered from `round_id`."""
        rng = self.rng
        # The site grows: the root puts more players into the later weeks.
        first_day = HISTORY_DAYS * sqrt(rng.random())
        clock = self.now_ms - int((HISTORY_DAYS - first_day) * DAY_MS)
        skill = min(0.97, max(0.25, rng.gauss(0.62, 0.15)))
        is_named = rng.random() < 0.4
        rows: Rows = {table: [] for table in (players, journeys, rounds, round_questions, flights)}
        rows[players].append(
            {
                "id": player_id,
                "name": f"player-{player_id}" if is_named else None,
                "password_hash": NO_PASSWORD if is_named else None,
                "is_admin": False,
                "created_at": clock,
            }
        )
        here = rng.choice(self.world.starting_places)
        coins = earned = km = 0
        for number in range(1 + int(rng.expovariate(1 / (MEAN_ROUNDS - 0.5)))):
            if clock > self.now_ms - 10 * 60 * 1000:
                break
            clock, income = self._play(rows, player_id, round_id + number, here[0], skill, clock)
            coins, earned = coins + income, earned + income
            reach = [f for f in self._flights(here[1]) if f.fare <= coins]
            if reach and rng.random() < 0.7:
                way = rng.choice(reach)
                rows[flights].append(
                    {
                        "player_id": player_id,
                        "from_city_id": here[1].id,
                        "to_city_id": way.city.id,
                        "km": round(way.km),
                        "fare": way.fare,
                        "flown_at": clock,
                    }
                )
                here, coins, km = (way.country, way.city), coins - way.fare, km + round(way.km)
            clock += int(rng.expovariate(1 / (3 * DAY_MS)))
        rows[journeys].append(
            {
                "player_id": player_id,
                "city_id": here[1].id,
                "coins": coins,
                "earned": earned,
                "km": km,
            }
        )
        return rows

    def _play(
        self, rows: Rows, player_id: int, round_id: int, near: Country, skill: float, clock: int
    ) -> tuple[int, int]:
        """Add a round; return when it ended (or was abandoned) and the coins it earned."""
        rng = self.rng
        started, score, income = clock, 0, 0
        is_finished = rng.random() < 0.9
        answered = quiz.QUESTIONS_PER_ROUND if is_finished else rng.randrange(1, 10)
        for position, question in enumerate(self._round(near)):
            row: dict[str, object] = {
                "round_id": round_id,
                "position": position,
                "kind": str(question.kind),
                "country": question.country,
                "prompt": question.prompt,
                "choices": list(question.choices),
                "answer": question.answer,
                "fact": question.fact,
                "asked_at": clock if position <= answered else None,
                "answered_at": None,
                "chosen": None,
            }
            if position < answered:
                shown_at, clock = clock, clock + int(rng.lognormvariate(1.8, 0.6) * 1000)
                right = rng.random() < skill - HARDER.get(question.kind, 0.0)
                wrong = rng.choice([i for i in range(quiz.CHOICES) if i != question.answer])
                row |= {"answered_at": clock, "chosen": question.answer if right else wrong}
                score += right
                income += coins_for(right, clock - shown_at)
            rows[round_questions].append(row)
        rows[rounds].append(
            {
                "id": round_id,
                "player_id": player_id,
                "started_at": started,
                "finished_at": clock if is_finished else None,
                "score": score,
            }
        )
        return clock, income

    def _flights(self, start: City) -> tuple[Flight, ...]:
        if start.id not in self._near:
            self._near[start.id] = flights_from(self.world, start)[:60]
        return self._near[start.id]

    def _round(self, near: Country) -> list[quiz.Question]:
        known = self._rounds.setdefault(near.code, [])
        if len(known) < 10:
            known.append(quiz.make_round(self.world, self.rng, near))
        return self.rng.choice(known)


def simulate(
    database: Database,
    simulation: Simulation,
    count: int,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Add `count` simulated players to the database and return how many rounds they played.

    Args:
        database: migrated; what is in it stays.
        simulation: invents them.
        count: how many.
        progress: called with the number of players added so far, after each batch.
    """
    played = 0
    for done in range(0, count, PLAYERS_PER_BATCH):
        size = min(PLAYERS_PER_BATCH, count - done)
        played += database.write(_add_batch, simulation, size)
        progress(done + size)
    return played


def _add_batch(connection: sa.Connection, simulation: Simulation, size: int) -> int:
    """Add `size` players; return how many rounds they played."""
    is_postgres = connection.dialect.name == "postgresql"
    if is_postgres:
        # As in SQLite: nobody else adds any until this is done, so the numbers are free.
        connection.execute(sa.text("LOCK TABLE players, rounds IN SHARE ROW EXCLUSIVE MODE"))
    player_id, round_id = (
        connection.execute(sa.select(sa.func.coalesce(sa.func.max(table.c.id), 0))).scalar_one()
        for table in (players, rounds)
    )
    batch: Rows = {table: [] for table in (players, journeys, rounds, round_questions, flights)}
    for i in range(size):
        rows = simulation.player(player_id + 1 + i, round_id + 1 + len(batch[rounds]))
        for table, new in rows.items():
            batch[table] += new
    for table, new in batch.items():
        if new:
            connection.execute(sa.insert(table), new)
    if is_postgres:
        # The ids above are not drawn from the tables' own sequences.
        for table in (players, rounds):
            sequence = sa.func.pg_get_serial_sequence(table.name, "id")
            connection.execute(sa.select(sa.func.setval(sequence, sa.func.max(table.c.id))))
    return len(batch[rounds])
