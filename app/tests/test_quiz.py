from __future__ import annotations

from random import Random

import pytest

from aroundtheworld import world
from aroundtheworld.quiz import CHOICES, QUESTIONS_PER_ROUND, Kind, make_round, rounded

WORLD = world.load()
BY_NAME = {country.name: country for country in WORLD.countries}
BY_CAPITAL = {city.name: country for country in WORLD.countries for city in country.capitals}

MANY = [q for seed in range(60) for q in make_round(WORLD, Random(seed))]


def questions(kind):
    found = [q for q in MANY if q.kind is kind]
    assert len(found) > 20
    return found


@pytest.mark.parametrize("seed", range(20))
def test_a_round_asks_ten_questions_of_every_kind_about_different_countries(seed):
    drawn = make_round(WORLD, Random(seed))
    assert len(drawn) == QUESTIONS_PER_ROUND
    assert {q.kind for q in drawn} == set(Kind)
    assert len({q.country for q in drawn}) == QUESTIONS_PER_ROUND


@pytest.mark.parametrize("code", sorted(WORLD.by_code))
def test_wherever_one_is_a_round_can_be_asked_about_that_place(code):
    here = WORLD.by_code[code]
    for seed in range(3):
        drawn = make_round(WORLD, Random(seed), near=here)
        assert len({q.country for q in drawn}) == QUESTIONS_PER_ROUND
        assert {q.kind for q in drawn} == set(Kind) - {Kind.CONTINENT}
        nearby = [q for q in drawn if here.continents[0] in WORLD.by_code[q.country].continents]
        assert len(nearby) >= 8
        assert code in {q.country for q in drawn}


def test_the_same_chance_asks_the_same_and_another_asks_something_else():
    assert make_round(WORLD, Random(1)) == make_round(WORLD, Random(1))
    assert make_round(WORLD, Random(1)) != make_round(WORLD, Random(2))


def test_every_question_can_be_shown_and_answered():
    for q in MANY:
        assert len(q.choices) == len(set(q.choices)) == CHOICES
        assert 0 <= q.answer < CHOICES
        assert q.country in WORLD.by_code
        assert len(q.prompt) <= 200
        assert len(q.fact) <= 200, "the column holds no more"
        assert "None" not in q.prompt + q.fact


def test_the_right_answer_is_in_every_place_about_as_often():
    places = [q.answer for q in MANY]
    assert all(places.count(place) > len(MANY) / CHOICES / 2 for place in range(CHOICES))


def test_capital_questions_are_right_and_have_one_answer():
    for q in questions(Kind.CAPITAL):
        country = WORLD.by_code[q.country]
        assert len(country.capitals) == 1
        assert q.choices[q.answer] == country.capital.name
        assert {q.country} == {c for c in [q.country] if BY_CAPITAL[q.choices[q.answer]].code == c}


def test_country_questions_do_not_give_the_answer_away():
    for q in questions(Kind.COUNTRY):
        right = q.choices[q.answer]
        assert right == WORLD.by_code[q.country].name
        assert right not in q.prompt


def test_continent_questions_leave_out_countries_on_two():
    for q in questions(Kind.CONTINENT):
        assert WORLD.by_code[q.country].continents == (
            next(code for code, name in world.CONTINENTS.items() if name == q.choices[q.answer]),
        )


@pytest.mark.parametrize(
    ("kind", "measure"),
    [(Kind.POPULATION, lambda c: c.population), (Kind.AREA, lambda c: c.area_km2)],
)
def test_the_largest_is_clearly_the_largest(kind, measure):
    for q in questions(kind):
        sizes = sorted(measure(BY_NAME[name]) for name in q.choices)
        assert measure(BY_NAME[q.choices[q.answer]]) == sizes[-1]
        assert sizes[-1] >= 1.5 * sizes[-2]


def test_exactly_one_choice_is_a_neighbour():
    for q in questions(Kind.NEIGHBOUR):
        neighbours = {WORLD.by_code[code].name for code in WORLD.by_code[q.country].neighbours}
        assert neighbours & set(q.choices) == {q.choices[q.answer]}
        assert WORLD.by_code[q.country].name not in q.choices


def test_the_nearest_city_is_clearly_the_nearest():
    from aroundtheworld.geo import great_circle_km

    for q in questions(Kind.NEAREST):
        here = WORLD.by_code[q.country].capital.position
        far = {name: great_circle_km(here, BY_CAPITAL[name].capital.position) for name in q.choices}
        nearest, second = sorted(far.values())[:2]
        assert far[q.choices[q.answer]] == nearest
        assert second >= 1.5 * nearest


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (1_411_778_724, "1.4 billion"),
        (66_987_244, "67 million"),
        (1_000_000, "1 million"),
        (999_999, "1,000,000"),
        (547_030, "550,000"),
        (468, "470"),
        (21, "20"),
        (1, "1"),
    ],
)
def test_figures_are_rounded_to_what_does_not_age(number, words):
    assert rounded(number) == words
