from __future__ import annotations

from random import Random

import sqlalchemy as sa

from aroundtheworld import world
from aroundtheworld.db import journeys, players, rounds
from aroundtheworld.db.schema import flights, round_questions
from aroundtheworld.db.schema import journeys as journeys_table
from aroundtheworld.simulate import DAY_MS, HISTORY_DAYS, Simulation, simulate

NOW = 1_800_000_000_000


def test_a_simulated_history_leaves_room_for_real_players(database):
    simulate(database, Simulation(world.load(), Random(1), NOW), 1)
    simulated = database.read(rounds.totals)
    assert database.write(players.add_guest) == simulated.players + 1


def test_the_history_is_plausible(database):
    seen = []
    played = simulate(database, Simulation(world.load(), Random(1), NOW), 120, seen.append)
    assert seen == [50, 100, 120]
    totals = database.read(rounds.totals)
    assert (totals.players, totals.rounds) == (120, played)
    assert 240 < totals.rounds < 1200
    assert 0.8 < totals.finished / totals.rounds < 1
    assert 0.5 < totals.right / totals.answers < 0.75
    shares = {row.kind: row.right / row.answers for row in database.read(rounds.by_kind)}
    assert shares["nearest"] > shares["area"] + 0.1
    first, last = database.read(
        lambda c: c.exec_driver_sql("SELECT min(started_at), max(finished_at) FROM rounds").one()
    )
    assert NOW - HISTORY_DAYS * DAY_MS <= first < last <= NOW


def test_the_books_balance(database):
    """Coins earned are those of the answers, and those left are what flying left."""
    simulate(database, Simulation(world.load(), Random(2), NOW), 40)
    q, f, j = round_questions.c, flights.c, journeys_table.c
    answered = database.read(
        lambda c: c.execute(sa.select(round_questions).where(q.chosen.is_not(None))).all()
    )
    everyone = database.read(lambda c: c.execute(sa.select(journeys_table)).all())
    fares, km = database.read(
        lambda c: c.execute(sa.select(sa.func.sum(f.fare), sa.func.sum(f.km))).one()
    )
    earned = sum(journey.earned for journey in everyone)
    assert earned == sum(map(rounds.coins_of, answered))
    assert sum(journey.coins for journey in everyone) == earned - fares
    assert sum(journey.km for journey in everyone) == km
    for journey in everyone:
        flown = database.read(journeys.latest_flights, journey.player_id)
        assert not flown or flown[0].to_city_id == journey.city_id
    assert database.read(lambda c: c.execute(sa.select(sa.func.min(j.coins))).scalar_one()) >= 0


def test_the_same_seed_invents_the_same_and_adds_to_what_is_there(database):
    assert Simulation(world.load(), Random(3), NOW).player(1, 1) == Simulation(
        world.load(), Random(3), NOW
    ).player(1, 1)
    simulate(database, Simulation(world.load(), Random(3), NOW), 3)
    simulate(database, Simulation(world.load(), Random(3), NOW), 3)
    assert database.read(rounds.totals).players == 6
