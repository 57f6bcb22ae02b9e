from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from functools import cache
from math import exp
from random import Random

import pytest
import sqlalchemy as sa
from tornado.log import access_log
from tornado.testing import ExpectLog

from aroundtheworld import analysis, charts, world
from aroundtheworld.db import questions, rounds
from aroundtheworld.db.schema import flights, journeys, round_questions
from aroundtheworld.simulate import Simulation, simulate

NOW = 1_800_000_000_000
WORLD = world.load()


@cache
def history():
    """An invented history that is invented once: for the same numbers it has the same players."""
    simulation = Simulation(WORLD, Random(3), NOW)
    simulation.player = cache(simulation.player)
    return simulation


@pytest.fixture
def played(database):
    """A database with that history."""
    simulate(database, history(), 60)
    return database


def run(database, kind):
    return database.read(analysis.KINDS[kind][1], WORLD)


def table(report, number=0):
    return {row[0]: row[1:] for row in report["tables"][number]["rows"]}


def test_difficulty_is_told_apart_from_weak_players():
    """Everybody answers the easy questions; only the strong get the hard question."""
    rng, answers = Random(1), []
    skills = [rng.gauss(0, 1.5) for _ in range(300)]
    true = [-1.0, -0.5, 0.0, 0.5, 1.0]
    for player, skill in enumerate(skills):
        for question, difficulty in enumerate(true):
            if question == 4 and skill < 0.5:
                continue
            for _ in range(3):
                right = rng.random() < 1 / (1 + exp(difficulty - skill))
                answers.append((player, question, right))
    fitted_skills, fitted = analysis.rasch(answers)
    assert sorted(range(5), key=fitted.__getitem__) == [0, 1, 2, 3, 4]
    assert fitted == pytest.approx(true, abs=0.35)
    shares = [
        sum(r for _, q, r in answers if q == i) / sum(q == i for _, q, r in answers)
        for i in range(5)
    ]
    assert shares[4] > shares[2], "by the share of right answers alone the hardest looks easy"
    assert fitted_skills[skills.index(max(skills))] > fitted_skills[skills.index(min(skills))] + 1


def test_those_who_are_always_right_or_never_stay_finite():
    skills, difficulties = analysis.rasch([(0, 0, True), (0, 1, True), (1, 0, False)] * 50, 200)
    assert all(abs(value) < 10 for value in (*skills, *difficulties))
    assert analysis.rasch([]) == ([], [])


def test_the_difficulty_report_counts_every_answer(played):
    report = run(played, "difficulty")
    rows = table(report)
    totals = played.read(rounds.totals)
    assert sum(row[0] for row in rows.values()) == totals.answers
    right = sum(row[0] * row[1] / 100 for row in rows.values())
    assert right == pytest.approx(totals.right, rel=0.01)
    # As the simulation has it.
    assert rows["Area"][2] > rows["Distances"][2]


def test_what_authors_expected_is_set_against_answers(played):
    values = {"category": "history", "country": "FR", "published": True, "right": "a",
              "wrong_1": "b", "wrong_2": "c", "wrong_3": "d", "fact": "F."}  # fmt: skip
    for number, (difficulty, position) in enumerate([("easy", 1), ("hard", 2)], 1):
        played.write(questions.add, {**values, "prompt": f"{number}?", "difficulty": difficulty})
        q = round_questions.c
        played.write(
            lambda c, n=number, p=position, q=q: c.execute(
                sa.update(round_questions)
                .where(q.position == p, q.chosen.is_not(None))
                .values(question_id=n, country="FR", kind="history",
                        chosen=q.answer if n == 1 else (q.answer + 1) % 4)
            )
        )  # fmt: skip
    rows = table(run(played, "difficulty"), 1)
    assert list(rows) == ["easy", "hard"]
    assert rows["easy"][1] == 100
    assert rows["hard"][1] == 0
    assert rows["hard"][2] > rows["easy"][2] + 2


def test_growth_counts_everybody_once_and_every_round(played):
    report = run(played, "growth")
    rows = table(report)
    totals = played.read(rounds.totals)
    assert sum(row[0] for row in rows.values()) == totals.players == 60
    assert sum(row[3] for row in rows.values()) == totals.rounds
    assert sum(row[1] - row[2] for row in rows.values()) == 60, "each is new in one week"
    weeks = list(rows)
    assert weeks == sorted(weeks)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", week) for week in weeks)


def test_the_travel_report_counts_every_flight(played):
    report = run(played, "travel")
    flown, km = played.read(
        lambda c: c.execute(sa.select(sa.func.count(), sa.func.sum(flights.c.km))).one()
    )
    summary = dict(report["summary"])
    assert summary["Flights"] == f"{flown:,}"
    assert summary["Kilometres"] == f"{km:,}"
    assert sum(report["charts"][0]["series"][0][1]) == flown
    assert sum(count for _, _, count in report["legs"]) == flown
    assert all(a in WORLD.by_city_id and b in WORLD.by_city_id for a, b, _ in report["legs"])


def test_coverage_counts_every_question_by_country(played):
    report = run(played, "coverage")
    rows = report["tables"][0]["rows"]
    assert len(rows) == len(WORLD.countries)
    total = played.read(
        lambda c: c.execute(sa.select(sa.func.count()).select_from(round_questions)).scalar_one()
    )
    assert sum(sum(row[1:-1]) for row in rows) == total
    assert dict(report["summary"])["Questions asked"] == f"{total:,}"
    sums = [sum(row[1:-1]) for row in rows]
    assert sums == sorted(sums)


def test_the_books_of_the_economy_balance(played):
    report = run(played, "economy")
    rows = table(report)
    earned, held = played.read(
        lambda c: c.execute(
            sa.select(sa.func.sum(journeys.c.earned), sa.func.sum(journeys.c.coins))
        ).one()
    )
    assert sum(row[0] for row in rows.values()) == earned
    assert sum(row[2] for row in rows.values()) == held
    assert sum(report["charts"][1]["series"][0][1]) == 60


@pytest.mark.parametrize(
    ("held", "expected"),
    [([], 0), ([0, 0], 0), ([5, 5, 5], 0), ([0, 0, 0, 8], 0.75), ([1, 3], 0.25)],
)
def test_inequality(held, expected):
    assert analysis.gini(held) == pytest.approx(expected)


@pytest.mark.parametrize("kind", analysis.KINDS)
def test_an_empty_database_makes_an_empty_report(database, kind):
    report = run(database, kind)
    for chart in report["charts"]:
        assert ET.fromstring(charts.svg(chart)).tag.endswith("svg")


def test_a_chart_shows_its_labels_and_values_and_asks_nothing_of_the_net():
    drawn = charts.svg(
        {"title": "", "kind": "bars", "labels": ["<One>", "Two"], "series": [("", [41.5, 7.0])]}
    )
    root = ET.fromstring(drawn)
    text = " ".join("".join(element.itertext()) for element in root.iter())
    assert "<One>" in text
    assert "41.5" in text
    assert not re.findall(r"(?:href|src)=\"http", drawn)
    assert "@import" not in drawn


@pytest.mark.parametrize("kind", analysis.KINDS)
def test_a_report_is_run_kept_and_shown_with_its_charts(site, admin, kind):
    simulate(site.app.database, history(), 15)
    response = admin.post("/admin/reports", kind=kind)
    assert response.code == 303
    address = response.headers["Location"]
    page = admin.page(address)
    title = analysis.KINDS[kind][0]
    assert f"<h1>{title}</h1>" in page
    images = re.findall(rf'src="({address}/\d\.svg)"', page)
    assert images
    for image in images:
        drawn = admin.get(image)
        assert drawn.headers["Content-Type"] == "image/svg+xml"
        assert "script-src" not in drawn.headers["Content-Security-Policy"]
        ET.fromstring(drawn.body)
    assert ('class="leg"' in page) == (kind == "travel")
    assert title in admin.page("/admin/reports")
    # What is played later changes a report that was kept as little as what it shows.
    simulate(site.app.database, Simulation(WORLD, Random(4), NOW), 5)
    assert admin.page(address).split("<main")[1] == page.split("<main")[1]


@pytest.mark.parametrize("path", ["/admin/reports/9", "/admin/reports/9/0.svg"])
def test_a_report_that_is_not_there(admin, path):
    assert admin.get(path).code == 404


def test_a_report_that_does_not_exist_cannot_be_run(site, admin):
    with ExpectLog(access_log, "400"):
        assert admin.post("/admin/reports", kind="gossip").code == 400
    admin.post("/admin/reports", kind="growth")
    assert admin.get("/admin/reports/1/9.svg").code == 404
