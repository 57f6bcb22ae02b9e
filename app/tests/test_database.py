from __future__ import annotations

import asyncio
import threading
import time
from random import Random

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from aroundtheworld import world
from aroundtheworld.db import journeys, players, rounds
from aroundtheworld.db.engine import Database, create_engine
from aroundtheworld.db.migrate import alembic_config, current_revision, migrate, newest_revision
from aroundtheworld.db.schema import metadata
from aroundtheworld.quiz import make_round
from tests.waiting import until

PARIS, LONDON = 2988507, 2643743


@pytest.fixture
def sqlite_database(sqlite_url):
    database = Database(sqlite_url)
    yield database
    database.close()


def begin(database, player_id=None):
    questions = make_round(world.load(), Random(1))
    return database.write(rounds.start, player_id, questions, PARIS)


def test_the_migrations_make_the_schema_that_the_queries_use(database):
    differences = database.read(lambda c: compare_metadata(MigrationContext.configure(c), metadata))
    assert differences == []


def test_migrations_go_down_to_nothing_and_up_again(own_url):
    engine = create_engine(own_url)
    with engine.begin() as connection:
        command.downgrade(alembic_config(connection), "base")
        assert set(sa.inspect(connection).get_table_names()) == {"alembic_version"}
    engine.dispose()
    assert "673" not in migrate(own_url).split(";")[0]
    engine = create_engine(own_url)
    with engine.begin() as connection:
        assert current_revision(connection) == newest_revision()
    engine.dispose()


def test_a_pooler_between_the_game_and_postgresql_is_not_noticed(postgres):
    """A pooler gives each transaction another connection, and refuses options of one."""
    with postgres.database("migrated") as url:
        engine = create_engine(url.replace("postgresql:", "postgres:"))
        with engine.connect() as connection:
            for number in range(20):
                connection.execute(sa.text("SELECT :number"), {"number": number})
            assert connection.exec_driver_sql("SELECT * FROM pg_prepared_statements").all() == []
            assert connection.exec_driver_sql("SHOW lock_timeout").scalar_one() == "5s"
        driver = engine.raw_connection()
        with driver.cursor() as cursor:
            assert cursor.execute("SHOW lock_timeout").fetchone() == ("0",)
        driver.close()
        engine.dispose()


def test_migrating_again_changes_nothing(own_url):
    assert "0 rows of the world" in migrate(own_url)


def test_a_changed_country_is_put_right_and_counted(own_url):
    database = Database(own_url)
    database.write(lambda c: c.execute(sa.text("UPDATE countries SET name='x' WHERE code='FR'")))
    database.write(lambda c: c.execute(sa.text("DELETE FROM cities WHERE name='Lyon'")))
    assert "; 2 rows of the world" in migrate(own_url)
    name = database.read(
        lambda c: c.execute(sa.text("SELECT name FROM countries WHERE code='FR'")).scalar_one()
    )
    database.close()
    assert name == "France"


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request, tmp_path):
    """The URL of a database without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        with request.getfixturevalue("postgres").database() as url:
            yield url


def test_a_failing_migration_leaves_nothing_half_done(empty_url, monkeypatch):
    def fail(*_):
        raise RuntimeError("no world today")

    monkeypatch.setattr("aroundtheworld.db.places.update", fail)
    with pytest.raises(RuntimeError, match="no world"):
        migrate(empty_url)
    engine = create_engine(empty_url)
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()


def test_two_that_migrate_at_once_take_turns(empty_url):
    sentences = []
    threads = [
        threading.Thread(target=lambda: sentences.append(migrate(empty_url))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted("now is at" in sentence for sentence in sentences) == [False, False, True]


def test_a_database_of_a_newer_release_is_left_alone(own_url):
    database = Database(own_url)
    database.write(lambda c: c.execute(sa.text("UPDATE alembic_version SET version_num='9999'")))
    database.write(lambda c: c.execute(sa.text("DELETE FROM cities WHERE name='Lyon'")))
    assert "9999, which a newer release made" in migrate(own_url)
    assert database.read(current_revision) == "9999"
    gone = database.read(
        lambda c: c.execute(sa.text("SELECT count(*) FROM cities WHERE name='Lyon'")).scalar_one()
    )
    database.close()
    assert gone == 0


def test_sqlite_is_set_up_for_several_processes(sqlite_database):
    pragma = lambda name: sqlite_database.read(  # noqa: E731
        lambda c: c.exec_driver_sql(f"PRAGMA {name}").scalar_one()
    )
    assert pragma("journal_mode") == "wal"
    assert pragma("foreign_keys") == 1
    assert pragma("busy_timeout") == 5000


async def write_rounds(database, count):
    """Write rounds as visitors of a worker do."""
    questions = make_round(world.load(), Random(1))
    for _ in range(count):
        await database.write_async(rounds.start, None, questions, PARIS)


def test_no_visitor_waits_until_the_log_is_in_the_file(sqlite_database, tmp_path, monkeypatch):
    monkeypatch.setattr("aroundtheworld.db.engine.CHECKPOINT_SECONDS", 3600)
    before = (tmp_path / "game.db").read_bytes()
    asyncio.run(write_rounds(sqlite_database, 200))
    sqlites_own_limit = 1000 * 4096
    assert (tmp_path / "game.db-wal").stat().st_size > sqlites_own_limit
    assert (tmp_path / "game.db").read_bytes() == before


def test_soon_after_each_write_the_log_is_in_the_file(sqlite_database, tmp_path, monkeypatch):
    monkeypatch.setattr("aroundtheworld.db.engine.CHECKPOINT_SECONDS", 0.01)
    states = [(tmp_path / "game.db").read_bytes()]
    with asyncio.Runner() as worker:

        def later():
            worker.run(asyncio.sleep(0.01))
            return (tmp_path / "game.db").read_bytes()

        for _ in range(2):
            worker.run(write_rounds(sqlite_database, 1))
            states.append(until(later, lambda state: state != states[-1], pause=0))


def test_starting_and_reading_writes_nothing(sqlite_url, tmp_path):
    before = (tmp_path / "game.db").read_bytes()
    database = Database(sqlite_url)
    database.read(rounds.totals)
    database.close()
    assert (tmp_path / "game.db").read_bytes() == before


def test_two_writers_take_turns(database_url):
    """Read first, write then: without announcing the write, the second would fail at once."""
    first, second = Database(database_url), Database(database_url)
    errors = []

    def play(database):
        try:
            player_id, round_id = begin(database)
            for position in range(10):
                assert database.write(rounds.answer, round_id, player_id, position, 0)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=play, args=(d,)) for d in (first, second) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    totals = first.read(rounds.totals)
    first.close()
    second.close()
    assert errors == []
    assert (totals.rounds, totals.finished, totals.answers) == (8, 8, 80)


def test_readers_do_not_wait_for_a_writer(database, database_url):
    player_id, _ = begin(database)
    other = Database(database_url)
    with other.engine.execution_options(writes=True).begin() as connection:
        journeys.earn(connection, player_id, 5)
        began = time.perf_counter()
        assert database.read(journeys.by_player, player_id).coins == 0
        assert time.perf_counter() - began < 1
    other.close()


def test_a_round_is_scored_by_what_was_right(database):
    player_id, round_id = begin(database)
    state = database.read(rounds.load, round_id, player_id)
    for q in state.questions:
        chosen = q.answer if q.position < 7 else (q.answer + 1) % 4
        assert database.write(rounds.answer, round_id, player_id, q.position, chosen) is True
    state = database.read(rounds.load, round_id, player_id)
    assert state.score == 7
    assert state.current is None
    assert all(q.asked_at <= q.answered_at for q in state.questions)


def test_answering_twice_or_out_of_order_changes_nothing(database):
    player_id, round_id = begin(database)
    first = database.read(rounds.load, round_id, player_id).questions[0]
    wrong = (first.answer + 1) % 4
    assert database.write(rounds.answer, round_id, player_id, 0, wrong) is True
    before = database.read(rounds.load, round_id, player_id)
    for position, chosen in ((0, first.answer), (2, 0), (9, 0), (10, 0)):
        assert database.write(rounds.answer, round_id, player_id, position, chosen) is False
    assert database.read(rounds.load, round_id, player_id) == before


def test_a_choice_that_is_not_there_is_refused(database):
    player_id, round_id = begin(database)
    with pytest.raises(ValueError, match="no choice 4"):
        database.write(rounds.answer, round_id, player_id, 0, 4)
    assert database.read(rounds.load, round_id, player_id).questions[0].chosen is None


def test_a_round_is_its_players_only(database):
    _, round_id = begin(database)
    other = database.write(players.add_guest)
    assert database.read(rounds.load, round_id, other) is None
    assert database.write(rounds.answer, round_id, other, 0, 0) is None


def test_a_player_who_is_gone_becomes_a_new_guest(database):
    player_id, _ = begin(database, player_id=424242)
    assert player_id != 424242


def test_the_round_to_go_on_with_is_the_latest_unless_finished(database):
    player_id, first = begin(database)
    assert database.read(rounds.latest_open, player_id) == first
    _, second = begin(database, player_id)
    assert database.read(rounds.latest_open, player_id) == second
    for position in range(10):
        database.write(rounds.answer, second, player_id, position, 0)
    assert database.read(rounds.latest_open, player_id) is None


def test_a_journey_begins_once_and_with_nothing(database):
    player_id, _ = begin(database)
    begin(database, player_id)
    journey = database.read(journeys.by_player, player_id)
    assert (journey.city_id, journey.coins, journey.earned, journey.km) == (PARIS, 0, 0, 0)
    database.write(journeys.begin, player_id, LONDON)
    assert database.read(journeys.by_player, player_id).city_id == PARIS


def test_right_answers_earn_by_the_servers_clock(database, monkeypatch):
    clock = iter([0, 3_500, 63_500, 64_000])
    monkeypatch.setattr(rounds, "now_ms", lambda: next(clock))
    player_id, round_id = begin(database)
    right = [q.answer for q in database.read(rounds.load, round_id, player_id).questions]
    database.write(rounds.answer, round_id, player_id, 0, right[0])
    assert database.read(journeys.by_player, player_id).coins == 17
    database.write(rounds.answer, round_id, player_id, 1, right[1])
    assert database.read(journeys.by_player, player_id).coins == 27
    database.write(rounds.answer, round_id, player_id, 2, (right[2] + 1) % 4)
    journey = database.read(journeys.by_player, player_id)
    assert (journey.coins, journey.earned) == (27, 27)
    questions = database.read(rounds.load, round_id, player_id).questions
    assert [rounds.coins_of(q) for q in questions] == [17, 10] + [0] * 8


def test_flying_costs_the_fare_and_is_remembered(database):
    player_id, _ = begin(database)
    database.write(journeys.earn, player_id, 30)
    assert database.write(journeys.fly, player_id, PARIS, LONDON, 343.6, 8) is True
    journey = database.read(journeys.by_player, player_id)
    assert (journey.city_id, journey.coins, journey.earned, journey.km) == (LONDON, 22, 30, 344)
    (flown,) = database.read(journeys.latest_flights, player_id)
    assert (flown.from_city_id, flown.to_city_id, flown.fare) == (PARIS, LONDON, 8)


def test_one_flies_only_from_where_one_is_and_only_with_the_coins(database):
    player_id, _ = begin(database)
    database.write(journeys.earn, player_id, 7)
    assert database.write(journeys.fly, player_id, PARIS, LONDON, 344, 8) is False
    assert database.write(journeys.fly, player_id, LONDON, PARIS, 344, 1) is False
    assert database.read(journeys.by_player, player_id).coins == 7
    assert database.read(journeys.latest_flights, player_id) == []


def test_coins_never_go_negative_however_many_fly_at_once(database, database_url):
    player_id, _ = begin(database)
    database.write(journeys.earn, player_id, 25)
    results = []

    def fly_there_and_back():
        own = Database(database_url)
        for start, end in ((PARIS, LONDON), (LONDON, PARIS)) * 3:
            results.append(own.write(journeys.fly, player_id, start, end, 344, 8))
        own.close()

    threads = [threading.Thread(target=fly_there_and_back) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.count(True) == 3
    assert database.read(journeys.by_player, player_id).coins == 1


def test_the_database_itself_refuses_negative_coins(database):
    player_id, _ = begin(database)
    with pytest.raises(sa.exc.IntegrityError, match="coins_not_negative"):
        database.write(journeys.earn, player_id, -1)


@pytest.mark.parametrize("entered", ["Ada", " ada ", "a-b_1", "1a"])
def test_names_that_can_be(entered):
    assert players.normalised_name(entered) == entered.strip().lower()


@pytest.mark.parametrize("entered", ["", "a", "-ab", "a b", "é" * 3, "a" * 31, "ad\x00a", "а́да"])  # noqa: RUF001
def test_names_that_cannot_be(entered):
    assert players.normalised_name(entered) is None
