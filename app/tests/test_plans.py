"""No public address makes the database read a whole table."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from aroundtheworld.app import PUBLIC_ROUTES
from aroundtheworld.db import events, facts, journeys, photos, questions
from aroundtheworld.quiz import KIND_NAMES

PARIS = 2988507


def fill_in(pattern, round_id):
    """An address that a route answers."""
    path = pattern.replace("([a-z-]+)", "france").replace(
        "/cities/([0-9]{1,9})", f"/cities/{PARIS}"
    )
    path = path.replace("([0-9]{1,9})", str(round_id))
    return re.sub(r"/photos/.*", f"/photos/{'0' * 32}-320.jpg", path)


def visit_everything(site):
    """Does all that visitors do, and sees every public address."""
    database, browser = site.app.database, site.browser()
    with database.engine.begin() as connection:
        for country in site.app.world.countries:  # so that any round draws some
            question = {
                "category": next(iter(KIND_NAMES)), "country": country.code, "difficulty": "easy",
                "published": True, "prompt": f"{country.code}?", "right": "a", "wrong_1": "b",
                "wrong_2": "c", "wrong_3": "d", "fact": "a",
            }  # fmt: skip
            questions.add(connection, question)
    database.write(photos.add, PARIS, "0" * 32, "caption", "credit", (1, 1))
    recorded = []

    def record(connection, cursor, text, values, context, many):
        recorded.append((text, values[0] if many else values))

    sa.event.listen(database.engine, "before_cursor_execute", record)
    browser.play(lambda _: 0)
    database.write(journeys.earn, 1, 10_000)
    here = database.read(journeys.by_player, 1).city_id
    away = next(city for city in site.app.world.by_city_id if city != here)
    assert browser.post("/travel", **{"from": here, "to": away}).code == 303
    round_id = int(browser.post("/quiz").headers["Location"].split("/")[-1])
    browser.log_in("nobody", "a password of nobody")
    assert browser.post("/signup", name="ada", password="a password of ada").code == 303
    assert browser.log_in("ada", "a password of ada").code == 303
    for pattern, _ in PUBLIC_ROUTES:
        assert browser.get(fill_in(pattern, round_id)).code < 500, pattern
    database.read(events.after, 0)
    database.write(events.add, events.WON, 1, 9)
    for query in (facts.about, facts.keep):
        database.write(query, "FR", *([{}] if query is facts.keep else []))
    database.write(facts.begin_fetch, "FR", 0)
    sa.event.remove(database.engine, "before_cursor_execute", record)
    return recorded


@pytest.fixture
def statements(site):
    """The statements of a visit to everything, once each, with values."""
    recorded = visit_everything(site)
    found = {
        text: values
        for text, values in recorded
        if text.startswith(("SELECT", "INSERT", "UPDATE", "DELETE"))
    }
    assert len(found) > 30, "else this test shows nothing"
    return found


def test_every_statement_of_a_public_address_looks_up_an_index(site, statements):
    with site.app.database.engine.begin() as connection:
        is_postgres = connection.dialect.name == "postgresql"
        if is_postgres:
            # The tables of a test are so small that reading them whole costs less. Not where
            # nothing else is possible: that is what this looks for.
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        for text, values in statements.items():
            explain = "EXPLAIN" if is_postgres else "EXPLAIN QUERY PLAN"
            plan = [str(row[-1]) for row in connection.exec_driver_sql(f"{explain} {text}", values)]
            for line in plan:
                # The leaderboard reads its index from the top, and stops at the limit.
                from_the_top = "journeys USING INDEX ix_journeys_earned" in line
                reads_all = "Seq Scan" in line or (
                    re.match(r"SCAN (?!CONSTANT)", line) and not from_the_top
                )
                assert not reads_all, (text, plan)
                assert "TEMP B-TREE" not in line, (text, plan)
