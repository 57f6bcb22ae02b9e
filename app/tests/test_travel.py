from __future__ import annotations

import asyncio
import json
import re

import pytest
import sqlalchemy as sa

from aroundtheworld import world
from aroundtheworld.db import journeys, schema
from aroundtheworld.travel import coins_for, fare, flights_from

WORLD = world.load()
CITY = {city.name: city for _, city in WORLD.cities()}
PARIS, LONDON, TOKYO = CITY["Paris"], CITY["London"], CITY["Tokyo"]


@pytest.mark.parametrize(
    ("right", "milliseconds", "coins"),
    [(True, 0, 20), (True, 999, 20), (True, 1000, 19), (True, 9_999, 11), (True, 10_000, 10),
     (True, 3_600_000, 10), (True, -5, 20), (False, 0, 0)],
)  # fmt: skip
def test_what_an_answer_earns(right, milliseconds, coins):
    assert coins_for(right, milliseconds) == coins


def test_fares_grow_with_distance():
    assert fare(0) == 5
    assert fare(344) == 12
    assert [fare(km) for km in range(0, 20_000, 50)] == sorted(
        fare(km) for km in range(0, 20_000, 50)
    )


def test_every_city_can_be_left_with_half_a_rounds_coins():
    """Five slow right answers must be enough, even in Perth."""
    for _, city in WORLD.cities():
        assert flights_from(WORLD, city)[0].fare <= 5 * 10, city.name


def test_flights_go_to_every_other_city_the_nearest_first():
    flights = flights_from(WORLD, PARIS)
    assert len(flights) == len(CITY_IDS) - 1
    assert PARIS.id not in {f.city.id for f in flights}
    assert [f.km for f in flights] == sorted(f.km for f in flights)


CITY_IDS = {city.id for _, city in WORLD.cities()}


@pytest.fixture
def traveller(site, browser):
    """A browser whose player is in Paris with 50 coins."""
    browser.post("/quiz")
    site.app.database.write(
        lambda c: c.execute(
            sa.update(schema.journeys).values(city_id=PARIS.id, coins=50, earned=50)
        )
    )
    return browser


def journey(site):
    return site.app.database.read(journeys.by_player, 1)


def test_before_the_first_round_one_is_nowhere(browser):
    assert "A new round" in browser.page("/travel")
    assert "Your journey has not begun." in browser.page(f"/cities/{PARIS.id}")


def test_the_first_round_puts_one_into_a_city_and_asks_about_it(site, browser):
    browser.post("/quiz")
    here = journey(site).city_id
    country, city = site.app.world.by_city_id[here]
    assert city.capital
    assert f"You are in {city.name}" in browser.page("/travel").replace("&#x27;", "'")
    query = "SELECT country FROM round_questions"
    countries = site.app.database.read(lambda c: c.exec_driver_sql(query).scalars().all())
    assert country.code in countries


def test_the_map_offers_what_one_can_pay(traveller):
    page = traveller.page("/travel")
    offered = set(map(int, re.findall(r'href="/cities/(\d+)" tabindex', page)))
    payable = {f.city.id for f in flights_from(WORLD, PARIS) if f.fare <= 50}
    assert offered == payable
    assert LONDON.id in offered
    assert TOKYO.id not in offered
    assert f"<dd>{len(payable)}</dd>" in page


def test_flying_pays_and_arrives(site, traveller):
    page = traveller.page(f"/cities/{LONDON.id}")
    assert "Fly there for 12 of your 50 coins" in page
    form = dict(re.findall(r'name="(from|to)" value="(\d+)"', page))
    assert traveller.post("/travel", **form).headers["Location"] == "/travel"
    assert (journey(site).city_id, journey(site).coins) == (LONDON.id, 38)
    page = traveller.page("/travel")
    assert "You are in London, United Kingdom" in page
    assert 'class="tour" d="M' in page
    assert "You are here." in traveller.page(f"/cities/{LONDON.id}")


def test_a_form_sent_twice_flies_once(site, traveller):
    for _ in range(3):
        form = {"from": PARIS.id, "to": LONDON.id}
        assert traveller.post("/travel", **form).headers["Location"] == "/travel"
    assert journey(site).coins == 38


def test_coins_never_go_negative_however_many_requests_come_at_once(make_site):
    """There and back, from many windows, on two workers that share nothing but the database."""
    here, other = make_site(), make_site()
    browser = here.browser()
    browser.post("/quiz")
    here.app.database.write(
        lambda c: c.execute(sa.update(schema.journeys).values(city_id=PARIS.id, coins=50))
    )
    headers = {"Cookie": f"session={browser.cookies['session']}"}
    headers["Content-Type"] = "application/json"

    async def fly(number):
        start, end = (PARIS, LONDON) if number % 2 else (LONDON, PARIS)
        response = await browser.client.fetch(
            f"http://127.0.0.1:{(here, other)[number // 2 % 2].port}/api/journey/flights",
            method="POST",
            body=json.dumps({"from": start.id, "to": end.id}),
            headers=headers,
            raise_error=False,
        )
        return response.code

    async def fly_often():
        return await asyncio.gather(*map(fly, range(40)))

    codes = here.loop.run_until_complete(fly_often())
    assert set(codes) <= {200, 409}
    flown = here.app.database.read(journeys.latest_flights, 1)
    assert 1 <= len(flown) <= 4
    assert journey(here).coins == 50 - 12 * len(flown)


def test_without_the_coins_one_stays(site, traveller):
    assert "lack" in traveller.page(f"/cities/{TOKYO.id}")
    response = traveller.post("/travel", **{"from": PARIS.id, "to": TOKYO.id})
    assert response.code == 409
    assert b"could not be booked" in response.body
    assert (journey(site).city_id, journey(site).coins) == (PARIS.id, 50)


def test_one_cannot_fly_from_where_one_is_not(site, traveller):
    response = traveller.post("/travel", **{"from": CITY["Brussels"].id, "to": LONDON.id})
    assert response.code == 409
    assert journey(site).city_id == PARIS.id


@pytest.mark.parametrize(
    ("form", "code"),
    [({}, 400), ({"from": "x", "to": "y"}, 404), ({"from": PARIS.id, "to": 1}, 404),
     ({"from": PARIS.id, "to": "9" * 50}, 404)],
)  # fmt: skip
def test_a_flight_to_nowhere_is_refused(site, traveller, form, code):
    assert traveller.post("/travel", **form).code == code
    assert journey(site).coins == 50


def test_who_never_played_cannot_fly(browser):
    assert browser.post("/travel", **{"from": PARIS.id, "to": LONDON.id}).code == 404


def test_a_place_that_this_release_does_not_know_is_no_error(site, traveller):
    def move_there(connection):
        connection.exec_driver_sql("INSERT INTO cities VALUES (77, 'FR', 'New', 1, 1, 1, false)")
        connection.exec_driver_sql("UPDATE journeys SET city_id = 77")

    site.app.database.write(move_there)
    assert "A new round" in traveller.page("/travel")
    assert traveller.post("/quiz").code == 303


def test_every_city_has_a_page(browser):
    for city_id in sorted(CITY_IDS)[::10]:
        assert browser.get(f"/cities/{city_id}").code == 200
    assert browser.get("/cities/1").code == 404


def test_ones_own_page_tells_where_one_has_been(traveller):
    page = traveller.page("/you")
    assert "You, a guest" in page
    assert "None yet." in page
    traveller.post("/travel", **{"from": PARIS.id, "to": LONDON.id})
    traveller.play(lambda _: 0)
    page = traveller.page("/you")
    assert f'You are in <a href="/cities/{LONDON.id}">London</a>' in page
    assert f'<td>Paris</td><th scope="row"><a href="/cities/{LONDON.id}">London</a>' in page
    assert re.search(r"<dt>Flown</dt><dd>34\d km</dd>", page)
    assert re.search(r"<dt>Best round</dt><dd>\d+ of 10</dd>", page)
    rounds = re.findall(r'href="(/quiz/\d+)"', page)
    assert len(rounds) == 2
    for address in rounds:
        assert traveller.get(address).code == 200


def test_ones_own_page_is_nobody_elses(traveller, site):
    assert "A new round" in site.browser().page("/you")
    other = site.browser()
    other.post("/quiz")
    assert len(re.findall(r'href="(/quiz/\d+)"', other.page("/you"))) == 1
