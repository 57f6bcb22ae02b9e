from __future__ import annotations

import re
import time

import pytest
from tornado.log import access_log
from tornado.testing import ExpectLog
from tornado.web import create_signed_value

from aroundtheworld.db import players
from aroundtheworld.passwords import Passwords

ADMIN_PAGES = ["/admin", "/admin/", "/admin/reports/grand-tour"]
PASSWORD = "correct horse battery"


@pytest.mark.parametrize(
    "path", [*ADMIN_PAGES, "/admin/nope", "/admin/login", "/admin/static/style.css"]
)
@pytest.mark.parametrize("pool", ["public", "something"])
def test_other_pools_know_nothing_of_admin(make_site, pool, path):
    site = make_site(pool=pool)
    site.add_admin()
    browser = site.browser()
    browser.log_in("ada", PASSWORD)
    assert browser.get(path).code == 404


def test_the_admin_pool_serves_both_sides(make_site):
    site = make_site(pool="admin")
    site.add_admin()
    browser = site.browser()
    browser.log_in("ada", PASSWORD)
    assert "worker of the pool admin" in browser.page("/admin")
    assert browser.get("/").code == 200


@pytest.mark.parametrize("path", ADMIN_PAGES)
def test_without_a_login_there_is_only_the_login(site, browser, path):
    browser.post("/quiz")
    for visitor in (site.browser(), browser):
        response = visitor.get(path)
        assert response.code == 303
        assert response.headers["Location"].startswith("/admin/login?next=%2Fadmin")
        assert response.body == b""


def test_an_admin_comes_back_to_where_they_wanted_to_go(site, browser):
    site.add_admin()
    address = "/admin/reports/grand-tour?cities=20&starts=1"
    page = browser.page(browser.get(address).headers["Location"])
    hidden = re.search(r'name="next" value="([^"]+)"', page)[1].replace("&amp;", "&")
    assert hidden == address
    assert browser.log_in("Ada", PASSWORD, next=hidden).headers["Location"] == address


@pytest.mark.parametrize(
    ("name", "password"),
    [("ada", "wrong password"), ("ada", ""), ("ada", "x" * 5000), ("nobody", PASSWORD),
     ("", PASSWORD), ("a' OR 1=1 --", PASSWORD)],
)  # fmt: skip
def test_a_wrong_login_says_neither_what_was_wrong_nor_lets_in(site, browser, name, password):
    site.add_admin()
    response = browser.log_in(name, password)
    assert response.code == 403
    assert b"do not belong together" in response.body
    assert password.encode() not in response.body or not password
    assert browser.get("/admin").code == 303


def test_the_name_is_shown_again_and_harmless(browser):
    page = browser.log_in('"><script>', "x").body.decode()
    assert "<script>" not in page.replace("<script src", "")
    assert "&quot;&gt;&lt;script&gt;" in page


def test_a_guest_cannot_log_in(browser):
    browser.post("/quiz")
    assert browser.log_in("", "").code == 403


def test_the_admin_side_has_a_login_of_its_own(site, browser):
    site.add_admin()
    page = browser.page("/admin/login?next=%2Fadmin%2Fworkers")
    # While the public side is closed, none of its addresses would answer.
    needed = re.findall(r'(?:action|src)="([^"]+)"|<link [^>]*href="([^"]+)"', page)
    for address in map("".join, needed):
        assert address.startswith("/admin/")
        if "static" in address:
            assert browser.get(address).code == 200
    wrong = browser.post("/admin/login", name="ada", password="wrong password")
    assert wrong.code == 403
    assert b'action="/admin/login"' in wrong.body
    form = {"name": "ada", "password": PASSWORD, "next": "/admin/workers"}
    assert browser.post("/admin/login", **form).headers["Location"] == "/admin/workers"
    assert browser.get("/admin/workers").code == 200
    assert browser.get("/admin/logout").code == 405
    assert browser.post("/admin/logout").headers["Location"] == "/admin/login"
    assert browser.get("/admin/workers").code == 303


def test_players_do_not_log_in_there(site, browser):
    browser.post("/signup", name="eve", password=PASSWORD)
    browser.post("/logout")
    response = browser.post("/admin/login", name="eve", password=PASSWORD)
    assert response.code == 403
    assert b"Only administrators" in response.body
    assert "A new round" in browser.page("/you"), "they are logged in"


def test_admin_pages_need_nothing_of_the_public_side(admin):
    for path in [
        *ADMIN_PAGES,
        "/admin/questions",
        "/admin/photos",
        "/admin/players",
        "/admin/none",
    ]:
        page = admin.get(path).body.decode()
        needed = re.findall(r'(?:src|srcset)="([^"]+)"|<link [^>]*href="([^"]+)"', page)
        assert needed
        for address in map("".join, needed):
            assert address.startswith("/admin/static/")
            assert admin.get(address).code == 200


def test_below_admin_visitors_learn_nothing(site, browser, admin):
    paths = [*ADMIN_PAGES, "/admin/nope", "/admin/photos/" + "0" * 32 + "-320.jpg"]
    for path in paths:
        assert browser.get(path).headers["Location"].startswith("/admin/login?"), path
    assert browser.get("/admin/static/nope").code == 404
    assert browser.post("/admin/nope").code == 303
    assert admin.get("/admin/nope").code == 404
    assert admin.post("/admin/nope").code == 404


def test_logging_out_ends_it(admin):
    assert admin.get("/logout").code == 405
    assert admin.get("/admin").code == 200
    assert admin.post("/logout").code == 303
    assert admin.get("/admin").code == 303


def test_who_is_no_administrator_any_more_is_out_at_once(site, admin):
    site.app.database.write(lambda c: c.exec_driver_sql("UPDATE players SET is_admin = false"))
    assert admin.get("/admin").code == 303


def test_who_becomes_an_administrator_has_to_log_in_as_one(site, browser):
    browser.post("/quiz")
    site.app.database.write(players.sign_up, 1, "eve", Passwords().hashed(PASSWORD))
    site.app.database.write(lambda c: c.exec_driver_sql("UPDATE players SET is_admin = true"))
    assert browser.get("/admin").code == 303
    browser.log_in("eve", PASSWORD)
    assert browser.get("/admin").code == 200


def test_after_half_a_day_an_admin_logs_in_again(site, admin):
    def session(hours):
        return create_signed_value(
            site.app.config.cookie_secret,
            "session",
            '{"player_id": 1, "name": "ada", "is_admin": true}',
            clock=lambda: time.time() - hours * 3600,
        ).decode()

    admin.cookies["session"] = session(hours=11)
    assert admin.get("/admin").code == 200
    admin.cookies["session"] = session(hours=13)
    assert admin.get("/admin").code == 303


def test_admin_pages_are_kept_nowhere(admin):
    for path in ADMIN_PAGES:
        assert admin.get(path).headers["Cache-Control"] == "no-store"


def test_the_dashboard_counts_what_was_played(site, admin):
    assert "Nobody has played yet." in admin.page("/admin")
    site.browser().play(lambda _: 0)
    site.browser().post("/quiz")
    page = admin.page("/admin")
    figures = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", page))
    assert figures["Players"] == "3"
    assert figures["Rounds"] == "2"
    assert figures["Finished"] == "1"
    assert figures["Answers"] == "10"
    assert figures["Right"].endswith("%")
    assert "guest 2" in page
    assert "playing" in page
    assert "Neighbours" in page


def test_the_tour_is_computed_from_the_rows_of_the_database(site, admin):
    page = admin.page("/admin/reports/grand-tour?cities=30&starts=2")
    assert page.count("<li>") == 30
    assert 'class="tour" d="M' in page
    length = int(re.search(r"<dt>Length</dt><dd>([\d,]+) km", page)[1].replace(",", ""))
    # Everything moved to a single place: the trip must shrink to nothing, or it was not computed.
    site.app.database.write(
        lambda c: c.exec_driver_sql("UPDATE cities SET latitude = 10, longitude = 10")
    )
    page = admin.page("/admin/reports/grand-tour?cities=30&starts=2")
    assert length > 50_000
    assert "<dd>0 km</dd>" in page


def test_the_tour_shows_the_form_before_it_computes(admin):
    page = admin.page("/admin/reports/grand-tour")
    assert "Computed in" not in page
    assert 'max="481"' in page


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("cities=9", "cities must be a whole number from 10 to 481, not &#x27;9&#x27;."),
        ("cities=482", "from 10 to 481"),
        ("cities=x", "from 10 to 481"),
        ("cities=20&starts=21", "starts must be a whole number from 1 to 20"),
        ("starts=101", "starts must be a whole number from 1 to 100"),
        ("starts=0", "starts must be"),
        ("cities=%3Cscript%3E", "not &#x27;&lt;script&gt;&#x27;"),
        ("cities=" + "9" * 5000, "from 10 to 481"),
    ],
)
def test_a_tour_out_of_bounds_is_refused_with_a_sentence(admin, query, sentence):
    with ExpectLog(access_log, "400"):
        response = admin.get(f"/admin/reports/grand-tour?{query}")
    assert response.code == 400
    page = response.body.decode().replace("&#39;", "&#x27;")
    assert sentence in page
    assert "Computed in" not in page
