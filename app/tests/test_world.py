from __future__ import annotations

import re

import pytest

from aroundtheworld import world
from aroundtheworld.geo import great_circle_km

WORLD = world.load()
CITIES = [city for _, city in WORLD.cities()]


def test_it_is_the_whole_world():
    assert len(WORLD.countries) == 192
    assert {code for country in WORLD.countries for code in country.continents} == set(
        world.CONTINENTS
    )


def test_every_country_has_what_the_game_asks_about():
    for country in WORLD.countries:
        assert country.capitals, country.name
        assert country.population > 0, country.name
        assert country.area_km2 > 0, country.name
        assert re.fullmatch("[A-Z]{2}", country.code), country.name


def test_names_slugs_codes_and_cities_are_unique():
    for values in (
        [country.code for country in WORLD.countries],
        [country.name for country in WORLD.countries],
        [country.slug for country in WORLD.countries],
        [city.id for city in CITIES],
    ):
        assert len(values) == len(set(values))
    assert all(re.fullmatch("[a-z-]+", country.slug) for country in WORLD.countries)


def test_cities_lie_on_the_globe_and_in_the_vicinity_of_their_capital():
    for country, city in WORLD.cities():
        assert -90 <= city.latitude <= 90
        assert -180 <= city.longitude <= 180
        assert great_circle_km(city.position, country.capital.position) < 7000, city.name


def test_neighbours_are_mutual():
    for country in WORLD.countries:
        for code in country.neighbours:
            assert country.code in WORLD.by_code[code].neighbours, (country.code, code)


@pytest.mark.parametrize("code", ["EH", "IL", "PS", "TW", "XK", "HK", "GL"])
def test_contested_entries_and_territories_are_left_out(code):
    assert code not in WORLD.by_code


@pytest.mark.parametrize("name", ["Srinagar", "Sevastopol", "Simferopol", "Donetsk", "Tiraspol"])
def test_contested_cities_are_left_out(name):
    assert name not in {city.name for city in CITIES}


@pytest.mark.parametrize(
    ("code", "capital"),
    [("FR", "Paris"), ("AU", "Canberra"), ("KZ", "Astana"), ("MN", "Ulaanbaatar"), ("NR", "Yaren")],
)
def test_capitals_that_everybody_knows(code, capital):
    assert [city.name for city in WORLD.by_code[code].capitals] == [capital]


def test_countries_with_several_capitals_have_them_all():
    assert len(WORLD.by_code["ZA"].capitals) == 3
    assert len(WORLD.by_code["BO"].capitals) == 2
