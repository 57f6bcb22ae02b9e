"""One player's data leaves an installation as a file, and enters another whole or not at all."""

from __future__ import annotations

import copy
import json
import re
import shutil
import threading
from random import Random

import pytest
import sqlalchemy as sa

from aroundtheworld import player_file, world
from aroundtheworld.db import journeys, player_data, players, rounds, schema
from aroundtheworld.db.engine import Database
from aroundtheworld.db.schema import metadata, questions, round_questions
from aroundtheworld.simulate import Simulation, simulate

PASSWORD = "correct horse battery"
PARIS, LONDON = 2988507, 2643743
NOW = 1_800_000_000_000


@pytest.fixture
def ada(site, browser, database_url):
    """Ada has played, flown and signed up; the URL of the database that knows her."""
    address = browser.post("/quiz").headers["Location"]
    round_id = int(address.rpartition("/")[2])
    asked = site.app.database.read(
        lambda c: (
            c.execute(sa.select(round_questions.c.answer).order_by("position")).scalars().all()
        )
    )
    for position in range(10):
        browser.post(address, position=position, choice=asked[position])
    assert site.app.database.read(rounds.load, round_id, 1).score == 10
    browser.post("/quiz")  # a round that is not over
    here = site.app.database.read(journeys.by_player, 1).city_id
    to = re.search(r'<li><a href="/cities/(\d+)', browser.page("/travel"))[1]
    assert browser.post("/travel", **{"from": here, "to": to}).code == 303
    assert browser.post("/signup", name="ada", password=PASSWORD, again=PASSWORD).code == 303
    return database_url


def exported(run, url):
    done = run("export", "ada", DATABASE_URL=url)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def counts(url):
    """How many rows each table has."""
    database = Database(url)
    try:
        return {
            table.name: database.read(
                lambda c, table=table: c.execute(
                    sa.select(sa.func.count()).select_from(table)
                ).scalar_one()
            )
            for table in metadata.sorted_tables
        }
    finally:
        database.close()


@pytest.fixture
def elsewhere(migrated_file, tmp_path):
    """The URL of another installation's database."""
    return f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'elsewhere.db')}"


def test_a_player_moves_to_another_installation_with_everything(ada, run, make_site, elsewhere):
    text = run("export", "Ada", DATABASE_URL=ada).stdout
    data = json.loads(text)
    assert [len(each["questions"]) for each in data["rounds"]] == [10, 10]
    assert data["journey"]["earned"] >= 100
    done = run("import", stdin=text, DATABASE_URL=elsewhere)
    assert done.stdout == "The player ada was added, with 2 rounds.\n"
    assert exported(run, elsewhere) == data
    assert counts(elsewhere)["flights"] == len(data["flights"]) == 1
    there = make_site(url=elsewhere).browser()
    assert there.log_in("ada", PASSWORD).code == 303
    assert "10" in there.page("/you")
    there.play(lambda _: 0)  # goes on with the round that was not over
    assert "ada" in there.page("/leaderboard")


def test_a_second_import_is_refused_and_says_what_to_do(ada, run):
    before, text = counts(ada), run("export", "ada", DATABASE_URL=ada).stdout
    done = run("import", stdin=text, DATABASE_URL=ada)
    assert done.returncode == 1
    assert "There is a player ada already, so nothing was imported." in done.stderr
    assert "import --name" in done.stderr
    assert counts(ada) == before
    assert run("import", "--name", "Ada-2", stdin=text, DATABASE_URL=ada).returncode == 0
    again = json.loads(run("export", "ada-2", DATABASE_URL=ada).stdout)
    assert again == {**(data := json.loads(text)), "player": {**data["player"], "name": "ada-2"}}


def test_an_import_that_fails_in_the_middle_leaves_nothing(ada, run, elsewhere, monkeypatch):
    before, text = counts(elsewhere), run("export", "ada", DATABASE_URL=ada).stdout

    def fail(*_):
        raise sa.exc.OperationalError("INSERT", {}, Exception("database or disk is full"))

    monkeypatch.setattr(player_data, "_add_rounds", fail)
    done = run("import", stdin=text, DATABASE_URL=elsewhere)
    assert (done.returncode, "disk is full" in done.stderr) == (1, True)
    assert counts(elsewhere) == before


def test_of_two_imports_at_once_one_is_refused(ada, run, elsewhere):
    data = player_file.read(run("export", "ada", DATABASE_URL=ada).stdout.encode(), NOW)
    outcomes = []

    def add():
        database = Database(ada)
        try:
            outcomes.append(database.write(player_data.add, copy.deepcopy(data)))
        except (player_data.CannotAddError, sa.exc.IntegrityError):
            outcomes.append("refused")
        finally:
            database.close()

    data["player"]["name"] = "eve"
    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == ["2", "refused"]


def test_an_administrator_comes_as_a_player(run, sqlite_url, elsewhere):
    database = Database(sqlite_url)
    database.write(players.add_admin, "root", "!")
    database.close()
    text = run("export", "root", DATABASE_URL=sqlite_url).stdout
    run("import", stdin=text, DATABASE_URL=elsewhere)
    database = Database(elsewhere)
    assert database.read(players.by_name, "root").is_admin is False
    database.close()


def test_a_question_that_somebody_wrote_counts_there_too(ada, run, elsewhere):
    data = exported(run, ada)
    asked = data["rounds"][0]["questions"]
    for question in asked:
        question["written"] = False
    asked[0] |= {"written": True, "prompt": "Who wrote it?"}
    asked[1] |= {"written": True, "prompt": "Who knows it?"}
    database = Database(elsewhere)
    values = {"category": "history", "country": "FR", "difficulty": "easy", "published": True}
    values |= {"prompt": "Who wrote it?", "right": "a", "wrong_1": "b", "wrong_2": "c"}
    database.write(
        lambda c: c.execute(
            sa.insert(questions).values(**values, wrong_3="d", fact="e", created_at=1, changed_at=1)
        )
    )
    run("import", stdin=json.dumps(data), DATABASE_URL=elsewhere)
    found = database.read(
        lambda c: c.execute(
            sa.select(round_questions.c.question_id).where(round_questions.c.round_id == 1)
        ).scalars()
    )
    assert [*found] == [1, *[None] * 9]
    database.close()


def test_whatever_was_played_can_be_moved(sqlite_url, elsewhere):
    here, there = Database(sqlite_url), Database(elsewhere)
    simulate(here, Simulation(world.load(), Random(1), NOW), 20)
    names = here.read(lambda c: c.execute(sa.select(schema.players.c.name)).scalars().all())
    for name in filter(None, names):
        data = here.snapshot(player_data.collect, name)
        there.write(player_data.add, player_file.read(player_file.to_text(data).encode(), NOW))
        assert there.snapshot(player_data.collect, name) == data
    outcome = sa.select(schema.players.c.name, schema.rounds.c.score, schema.rounds.c.finished_at)
    outcome = outcome.join(schema.rounds).where(schema.players.c.name.is_not(None))
    outcome = outcome.order_by("name", schema.rounds.c.started_at)
    played = here.read(lambda c: c.execute(outcome).all())
    assert there.read(lambda c: c.execute(outcome).all()) == played != []
    here.close()
    there.close()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("nobody", "There is no player nobody"), ("a b", "'a b' cannot be a name")],
)
def test_an_export_of_nobody_is_refused(run, sqlite_url, name, sentence):
    done = run("export", name, DATABASE_URL=sqlite_url)
    assert (done.returncode, done.stdout) == (1, "")
    assert sentence in done.stderr


# --- Files that cannot be ------------------------------------------------------------------------


def question(**more):
    return {
        "kind": "capital", "country": "FR", "prompt": "What?", "choices": ["a", "b"], "answer": 0,
        "fact": "So.", "written": False, "asked_at": 1, "answered_at": 2, "chosen": 1, **more,
    }  # fmt: skip


def file(**more):
    return {
        "format": player_file.FORMAT,
        "version": 1,
        "player": {"name": "eve", "password_hash": "!", "created_at": 1},
        "journey": {"city": PARIS, "coins": 5, "earned": 5, "km": 1},
        "rounds": [{"started_at": 1, "questions": [question()]}],
        "flights": [{"from_city": PARIS, "to_city": LONDON, "km": 1, "fare": 1, "flown_at": 1}],
        **more,
    }


def asked(*questions):
    return {"rounds": [{"started_at": 1, "questions": list(questions)}]}


OPEN = {"answered_at": None, "chosen": None}
COSTLY = "$argon2id$v=19$m={},t={},p={}$c29tZXNhbHQ$c29tZWhhc2hzb21laGFzaA"


def with_hash(text):
    return {"player": {"name": "eve", "password_hash": text, "created_at": 1}}


BAD = [
    ({"format": "x"}, "is no player's"),
    ({"version": 2}, "has the version '2'; this release reads 1"),
    ({"version": True}, "has the version"),
    ({"more": 1}, "unknown part 'more'"),
    ({"player": None}, "player must be an object"),
    ({"player": {"name": "eve", "password_hash": "!"}}, "player.created_at is missing"),
    ({"player": {"name": "../x", "password_hash": "!", "created_at": 1}}, "player.name must be"),
    ({"player": {"name": "EVE", "password_hash": "!", "created_at": 1}}, "player.name must be"),
    ({"player": {"name": "eve", "password_hash": "!", "created_at": 1, "is_admin": True}}, "admin"),
    (with_hash(""), "player.password_hash must be a text"),
    (with_hash("secret-hash"), "player.password_hash must be a hash of argon2id"),
    (with_hash(COSTLY.format(2**22, 2, 1)), "a login can afford"),
    (with_hash(COSTLY.format(8, 10**6, 1)), "a login can afford"),
    (with_hash(COSTLY.format(8, 1, 99)), "a login can afford"),
    (with_hash(COSTLY.format(8, 1, 1).replace("2id", "2i")), "a login can afford"),
    ({"journey": []}, "journey must be an object"),
    ({"journey": {"city": True, "coins": 0, "earned": 0, "km": 0}}, "journey.city must be a whole"),
    ({"journey": {"city": 1, "coins": 2**31, "earned": 2**31, "km": 0}}, "journey.coins must be"),
    ({"journey": {"city": 1, "coins": 1.0, "earned": 1, "km": 0}}, "journey.coins must be a whole"),
    ({"journey": {"city": 1, "coins": 2, "earned": 1, "km": 0}}, "not be more than were earned"),
    ({"rounds": {}}, "rounds must be a list"),
    ({"rounds": [{"started_at": 1, "questions": []}]}, "rounds[0].questions must be a list of 1"),
    (asked(*[question()] * 101), "a list of 1 to 100"),
    (asked(question(kind="x")), "rounds[0].questions[0].kind must be one of capital"),
    (asked(question(kind=["capital"])), "questions[0].kind must be one of"),
    (asked(question(prompt="a\x1b[2J")), "questions[0].prompt must be a text"),
    (asked(question(prompt="a\x00")), "questions[0].prompt must be a text"),
    (asked(question(prompt="\ud800")), "questions[0].prompt must be a text"),
    (asked(question(prompt="x" * 201)), "questions[0].prompt must be a text"),
    (asked(question(choices=["a"])), "questions[0].choices must be a list"),
    (asked(question(answer=2)), "questions[0].answer must be one of the 2 choices"),
    (asked(question(chosen=-1)), "questions[0].chosen must be a whole number"),
    (asked(question(chosen=None)), "must have both chosen and answered_at"),
    (asked(question(asked_at=None)), "asked_at is missing, and the question was answered"),
    (asked(question(**OPEN), question()), "were not answered in their order"),
    (asked(question(**OPEN, asked_at=None)), "questions[0].asked_at is missing"),
    (asked(question(answered_at=10**15)), "answered_at must be a whole number from 0 to"),
    ({"flights": [{}]}, "flights[0].from_city is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "sentence"), BAD)
def test_what_cannot_be_is_refused_with_its_place(more, sentence):
    with pytest.raises(player_file.FileRefused) as refused:
        player_file.read(json.dumps(file(**more)).encode(), NOW)
    assert sentence in str(refused.value)
    assert "secret-hash" not in str(refused.value)
    assert str(refused.value).isprintable()


def test_the_file_that_the_others_differ_from_is_taken(run, sqlite_url):
    assert run("import", stdin=json.dumps(file()), DATABASE_URL=sqlite_url).returncode == 0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "The file is empty; perhaps its export failed"),
        (b"\xff\xfe", "The file is not UTF-8"),
        (b"PK\x03\x04 an archive", "The file is no JSON"),
        (b"[" * 100_000, "The file is nested too deeply"),
        (b'{"a": 1, "a": 2}', "'a' is there twice"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "The file is no JSON"),
        (b"[]", "is no player's"),
        (b" " * (player_file.LARGEST_FILE + 1), "larger than 16.0 MiB"),
    ],
)
def test_what_is_no_such_file_is_refused(run, sqlite_url, content, sentence):
    before = counts(sqlite_url)
    done = run("import", stdin=content, DATABASE_URL=sqlite_url)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert counts(sqlite_url) == before


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"journey": {"city": 7, "coins": 0, "earned": 0, "km": 0}}, "There is no city 7 in this"),
        (asked(question(country="ZZ")), "There is no country 'ZZ' in this world"),
    ],
)
def test_a_place_that_this_world_lacks_is_named(run, sqlite_url, more, sentence):
    before = counts(sqlite_url)
    done = run("import", stdin=json.dumps(file(**more)), DATABASE_URL=sqlite_url)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert counts(sqlite_url) == before


def test_what_could_not_be_taken_back_is_not_exported(monkeypatch):
    monkeypatch.setattr(player_file, "LARGEST_FILE", 200)
    with pytest.raises(player_file.FileRefused, match="The player's data have"):
        player_file.to_text(file())
