from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from tornado.httpclient import AsyncHTTPClient

from aroundtheworld.db import journeys, logins, players
from aroundtheworld.db.engine import Database

PASSWORD = "correct horse battery"


def sign_up(browser, name="Grace", password=PASSWORD):
    return browser.post("/signup", name=name, password=password)


def earn(site, player_id, coins):
    site.app.database.write(journeys.earn, player_id, coins)


def test_signing_up_keeps_what_the_guest_did(site, browser):
    address = browser.play(lambda _: 0)
    earn(site, 1, 33)
    earned = site.app.database.read(journeys.by_player, 1).earned
    assert sign_up(browser).headers["Location"] == "/travel"
    assert "Log out" in browser.page("/travel")
    assert "<h1>grace</h1>" in browser.page("/you")
    assert browser.get(address).code == 200
    elsewhere = site.browser()
    assert elsewhere.log_in("grace", PASSWORD).headers["Location"] == "/you"
    assert f"<dd>{earned}</dd>" in elsewhere.page("/travel")


def test_signing_up_first_and_playing_then_works_too(site, browser):
    assert sign_up(browser).code == 303
    browser.play(lambda _: 0)
    assert site.app.database.read(players.by_name, "grace").id == 1
    assert site.app.database.read(journeys.by_player, 1) is not None


def test_an_account_is_no_administrator(browser):
    sign_up(browser)
    assert browser.get("/admin").code == 303


def test_a_name_is_taken_once(site, browser):
    sign_up(browser)
    other = site.browser()
    other.post("/quiz")
    response = sign_up(other, name=" GRACE ")
    assert response.code == 409
    assert b"The name grace is taken." in response.body
    assert other.log_in("grace", "another password").code == 403
    assert site.app.database.read(players.by_id, 2).name is None


def test_who_has_an_account_can_make_another_but_not_rename_the_first(site, browser):
    sign_up(browser, "grace")
    sign_up(browser, "hopper")
    assert site.app.database.read(players.by_name, "grace").id == 1
    assert site.app.database.read(players.by_name, "hopper").id == 2


def test_the_database_itself_refuses_a_second_player_of_a_name(site, browser, monkeypatch):
    sign_up(browser)
    monkeypatch.setattr(players, "by_name", lambda *_: None)
    with pytest.raises(sa.exc.IntegrityError):
        site.app.database.write(players.sign_up, None, "grace", "hash")
    assert sign_up(site.browser()).code == 409


@pytest.mark.parametrize(
    ("name", "password", "sentence"),
    [
        ("a b", PASSWORD, "A name is 2 to 30 of the letters"),
        ("", PASSWORD, "A name is"),
        ("grace", "short", "A password has 12 to 200 characters."),
        ("grace", "x" * 201, "A password has 12 to 200 characters."),
    ],
)
def test_what_will_not_do_is_said(site, browser, name, password, sentence):
    response = sign_up(browser, name, password)
    assert response.code == 400
    assert sentence in response.body.decode()
    assert password not in response.body.decode()
    count = "SELECT count(*) FROM players"
    assert site.app.database.read(lambda c: c.exec_driver_sql(count).scalar()) == 0


def test_the_leaderboard_is_in_order_and_shows_oneself(site, browser):
    assert "Be the first" in browser.page("/leaderboard")
    for coins in (30, 90, 60):
        visitor = site.browser()
        visitor.post("/quiz")
        (player_id,) = re.findall(r'"player_id": (\d+)', session_of(site, visitor))
        earn(site, int(player_id), coins)
    sign_up(visitor)
    site.browser().post("/quiz")
    page = visitor.page("/leaderboard")
    assert re.findall(r'class="coins">(\d+)<', page) == ["90", "60", "30"]
    assert re.findall(r'scope="row">([a-z ]+?) ?<', page) == ["a guest", "grace", "a guest"]
    assert page.count('class="own"') == 1
    assert "(you)" in page


def session_of(site, browser):
    from tornado.web import decode_signed_value

    secret = site.app.config.cookie_secret
    return decode_signed_value(secret, "session", browser.cookies["session"].strip('"')).decode()


def test_a_password_cannot_be_guessed_for_long(site, browser):
    site.add_admin()
    for _ in range(5):
        assert browser.log_in("ada", "wrong").code == 403
    response = browser.log_in("ada", PASSWORD)
    assert response.code == 429
    assert int(response.headers["Retry-After"]) == 600
    assert b"Please wait" in response.body
    # Others can go on, at this address as elsewhere.
    sign_up(site.browser())
    assert site.browser().log_in("grace", PASSWORD).code == 303
    elsewhere = site.browser()
    elsewhere.get("/login")
    body = f"_xsrf={elsewhere.cookies['_xsrf']}&name=ada&password={PASSWORD.replace(' ', '+')}"
    headers = {"X-Real-Ip": "192.0.2.7"}
    assert elsewhere.request("POST", "/login", body, headers).code == 303


def test_guesses_that_are_sent_at_once_are_counted_too(site, browser, loop):
    site.add_admin()
    browser.get("/login")
    tried = []
    match = site.app.passwords.match

    async def counted(password_hash, password):
        tried.append(password)
        return await match(password_hash, password)

    site.app.passwords.match = counted

    def guess(number):
        form = {"_xsrf": browser.cookies["_xsrf"], "name": "ada", "password": f"guess {number}"}
        return client.fetch(
            browser.base + "/login",
            method="POST",
            body=urlencode(form),
            headers={"Cookie": f"_xsrf={browser.cookies['_xsrf']}"},
            raise_error=False,
        )

    async def all_at_once():
        return await asyncio.gather(*map(guess, range(60)))

    client = AsyncHTTPClient(force_instance=True, max_clients=60)
    codes = [response.code for response in loop.run_until_complete(all_at_once())]
    client.close()
    assert len(tried) == 5
    assert sorted(codes) == [403] * 5 + [429] * 55


def test_workers_that_share_a_database_count_together(database_url):
    databases = [Database(database_url) for _ in range(4)]

    def attempt(number):
        return databases[number % 4].write(logins.begin, "192.0.2.7", "ada")

    with ThreadPoolExecutor(20) as threads:
        begun = [number for number in threads.map(attempt, range(60)) if number is not None]
    assert len(set(begun)) == len(begun) == 5
    # The right password is nobody's guess.
    databases[0].write(logins.succeeded, begun[0])
    assert databases[1].write(logins.begin, "192.0.2.7", "ada") is not None
    assert databases[1].write(logins.begin, "192.0.2.7", "ada") is None
    for database in databases:
        database.close()


def test_who_knows_the_password_may_log_in_any_number_of_times(site, browser):
    sign_up(browser)
    for _ in range(7):
        assert site.browser().log_in("grace", PASSWORD).code == 303


def test_after_ten_minutes_one_may_try_again_and_nothing_is_kept(site, browser):
    site.add_admin()
    for _ in range(5):
        browser.log_in("ada", "wrong")
    site.app.database.write(
        lambda c: c.exec_driver_sql("UPDATE failed_logins SET failed_at = failed_at - 600000")
    )
    assert browser.log_in("ada", "wrong").code == 403
    count = "SELECT count(*) FROM failed_logins"
    assert site.app.database.read(lambda c: c.exec_driver_sql(count).scalar()) == 1
    assert browser.log_in("ada", PASSWORD).code == 303


def test_trying_many_names_does_not_help(site, browser):
    def fail(connection):
        for i in range(30):
            assert logins.begin(connection, "127.0.0.1", f"name{i}") is not None

    site.add_admin()
    site.app.database.write(fail)
    assert browser.log_in("ada", PASSWORD).code == 429
