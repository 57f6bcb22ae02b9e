from __future__ import annotations

import json
import re
import time

import pytest
import sqlalchemy as sa
from tornado.log import access_log, app_log
from tornado.testing import ExpectLog
from tornado.web import create_signed_value

from aroundtheworld.db.engine import Database
from aroundtheworld.handlers.auth import local_path

PAGES = [
    "/",
    "/quiz",
    "/travel",
    "/cities/2988507",
    "/countries",
    "/countries/france",
    "/login",
    "/signup",
    "/leaderboard",
    "/you",
    "/api",
]


def answers(site, address):
    """The right answers of a round, from the database."""
    from aroundtheworld.db.schema import round_questions as q

    query = q.select().where(q.c.round_id == int(address.split("/")[-1])).order_by(q.c.position)
    return [row.answer for row in site.app.database.read(lambda c: c.execute(query).all())]


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_there_whole_and_self_contained(browser, path):
    page = browser.page(path)
    assert page.rstrip().endswith("</html>")
    for address in re.findall(r'(?:href|src)="(/[^"#]*)', page):
        assert browser.get(address).code == 200, address
    assert not re.search(r'<script>|<style>| style="| on[a-z]+="', page), "the CSP forbids it"
    assert not re.search(r'(?:src|action)="https?:', page)


@pytest.mark.parametrize("path", [*PAGES, "/nope", "/api/ping", "/static/style.css"])
def test_every_answer_carries_the_security_headers(browser, path):
    headers = browser.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "Server" not in headers


@pytest.mark.parametrize("path", [*PAGES, "/api/ping", "/static/style.css"])
def test_head_answers_as_get_without_the_body(browser, path):
    response = browser.request("HEAD", path)
    assert response.code == 200
    assert response.body == b""
    assert int(response.headers["Content-Length"]) > 0


def test_ping_costs_no_cookie_and_no_database(make_site):
    response = make_site(url="sqlite:////nowhere/game.db").browser().get("/api/ping")
    assert json.loads(response.body) == {"ping": "pong"}
    assert "Set-Cookie" not in response.headers


def test_every_country_has_a_page(browser, site):
    for country in site.app.world.countries:
        page = browser.page(f"/countries/{country.slug}")
        assert country.capital.name.split(",")[0] in page


def test_a_country_with_several_capitals_names_them(browser):
    assert "Pretoria, Cape Town, Bloemfontein" in browser.page("/countries")
    page = browser.page("/countries/south-africa")
    assert "<dt>Capitals</dt>" in page
    for name in ("Pretoria", "Cape Town", "Bloemfontein"):
        assert f">{name}</a>" in page


@pytest.mark.parametrize("path", ["/nope", "/countries/atlantis", "/quiz/1", "/static/nope.css"])
def test_what_is_not_there_says_so_in_the_sites_own_style(browser, path):
    response = browser.get(path)
    assert response.code == 404
    assert b"There is nothing at this address." in response.body
    assert b"Around The World" in response.body


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_an_unknown_address_is_404_for_every_method(browser, method):
    body = "" if method in ("POST", "PUT") else None
    assert browser.request(method, "/api/nope", body).code == 404


def test_the_api_says_errors_in_json(browser):
    response = browser.get("/api/nope")
    assert response.headers["Content-Type"].startswith("application/json")
    assert json.loads(response.body)["error"]["status"] == 404


def test_a_round_from_beginning_to_end(site, browser):
    address = browser.post("/quiz").headers["Location"]
    right = answers(site, address)
    for position in range(10):
        page = browser.page(address)
        assert f"Question {position + 1} of 10" in page
        assert f"{min(position, 8)} right so far" in page
        choice = right[position] if position < 8 else (right[position] + 1) % 4
        assert browser.post(address, position=position, choice=choice).code == 303
    page = browser.page(address)
    assert "<strong>8</strong> of 10" in page
    assert page.count('<li class="right">') == 8
    assert page.count('<li class="wrong">') == 2


def test_the_page_does_not_tell_the_answer(site, browser):
    address = browser.post("/quiz").headers["Location"]
    page = browser.page(address)
    fact = site.app.database.read(
        lambda c: c.exec_driver_sql("SELECT fact FROM round_questions WHERE position = 0").scalar()
    )
    assert fact not in page
    assert 'name="answer"' not in page


def test_answering_again_or_ahead_changes_nothing(site, browser):
    address = browser.post("/quiz").headers["Location"]
    right = answers(site, address)
    browser.post(address, position=0, choice=(right[0] + 1) % 4)
    before = browser.page(address)
    for position, choice in ((0, right[0]), (5, right[5]), (10, 0), (999, 0)):
        assert browser.post(address, position=position, choice=choice).code == 303
    without_tokens = lambda page: re.sub(r'name="_xsrf" value="[^"]+"', "", page)  # noqa: E731
    assert without_tokens(browser.page(address)) == without_tokens(before)


def test_nobody_else_can_see_or_answer_a_round(site, browser):
    address = browser.post("/quiz").headers["Location"]
    other = site.browser()
    assert other.get(address).code == 404
    assert other.post(address, position=0, choice=0).code == 404
    other.post("/quiz")
    assert other.get(address).code == 404
    assert other.post(address, position=0, choice=0).code == 404


def test_play_goes_on_with_the_open_round(browser):
    address = browser.post("/quiz").headers["Location"]
    assert browser.get("/quiz").headers["Location"] == address
    for position in range(10):
        browser.post(address, position=position, choice=0)
    assert browser.get("/quiz").code == 200


def test_a_guest_stays_the_same_guest(site, browser):
    browser.play(lambda _: 0)
    browser.play(lambda _: 0)
    count = "SELECT count(*) FROM players"
    assert site.app.database.read(lambda c: c.exec_driver_sql(count).scalar()) == 1


@pytest.mark.parametrize(
    "form",
    [{}, {"position": 0}, {"position": "x", "choice": 0}, {"position": 0, "choice": 4},
     {"position": -1, "choice": 0}, {"position": "1" * 400, "choice": 0},
     {"position": "\u0661", "choice": 0}],
)  # fmt: skip
def test_a_malformed_answer_is_400_and_changes_nothing(browser, form):
    address = browser.post("/quiz").headers["Location"]
    assert browser.post(address, **form).code == 400
    assert "Question 1 of 10" in browser.page(address)


@pytest.mark.parametrize("path", ["/quiz", "/quiz/1", "/travel", "/login", "/signup", "/logout"])
def test_a_form_without_the_token_is_refused(site, browser, path):
    browser.get("/login")
    response = browser.request("POST", path, "name=x")
    assert response.code == 403
    assert b"go back, reload the page" in response.body
    count = "SELECT count(*) FROM rounds"
    assert site.app.database.read(lambda c: c.exec_driver_sql(count).scalar()) == 0


def test_a_form_from_another_site_is_refused(browser):
    browser.get("/login")
    body = f"_xsrf={browser.cookies['_xsrf']}"
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    assert browser.request("POST", "/quiz", body, headers).code == 403


@pytest.mark.parametrize(
    "cookie", ["", "nonsense", "2|1:0|10:1700000000|7:session|4:Mjo=|" + "0" * 64]
)
def test_a_forged_session_is_no_session(browser, cookie):
    browser.post("/quiz")
    browser.cookies["session"] = cookie
    assert browser.get("/quiz/1").code == 404
    assert browser.get("/quiz").code == 200


@pytest.mark.parametrize(("days", "code"), [(29, 200), (31, 404)])
def test_a_session_ends_after_thirty_days(site, browser, days, code):
    address = browser.post("/quiz").headers["Location"]
    secret, then = site.app.config.cookie_secret, time.time() - days * 86400
    value = create_signed_value(secret, "session", '{"player_id": 1}', clock=lambda: then)
    browser.cookies["session"] = value.decode()
    assert browser.get(address).code == code
    assert browser.get(f"/api/rounds/{address.split('/')[-1]}").code == code
    assert browser.get("/quiz").code == (302 if code == 200 else 200)


def test_a_session_signed_with_another_secret_or_for_another_name_is_none(site, browser):
    address = browser.post("/quiz").headers["Location"]
    content, secret = '{"player_id": 1}', site.app.config.cookie_secret
    for forged in (
        create_signed_value(secret + "x", "session", content),
        create_signed_value(secret, "_xsrf", content),
        create_signed_value(secret, "session", content)[:-1] + b"0x",
    ):
        browser.cookies["session"] = forged.decode()
        assert browser.get(address).code == 404
    browser.cookies["session"] = create_signed_value(secret, "session", content).decode()
    assert browser.get(address).code == 200, "else this test shows nothing"


def test_a_session_that_another_release_wrote_is_no_session(site, browser):
    for content in ("7:ada", "{}", "[]", '{"player_id": 1, "unknown": 2}'):
        secret = site.app.config.cookie_secret
        browser.cookies["session"] = create_signed_value(secret, "session", content).decode()
        assert browser.get("/quiz").code == 200


@pytest.mark.parametrize(("proto", "secure"), [("http", False), ("https", True)])
def test_cookies_are_guarded(browser, proto, secure):
    browser.get("/login")
    response = browser.request(
        "POST", "/quiz", f"_xsrf={browser.cookies['_xsrf']}", {"X-Forwarded-Proto": proto}
    )
    (cookie,) = response.headers.get_list("Set-Cookie")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert ("Secure" in cookie) is secure
    xsrf = browser.request("GET", "/quiz", headers={"Cookie": "", "X-Forwarded-Proto": proto})
    assert ("Secure" in xsrf.headers["Set-Cookie"]) is secure


def test_a_locked_database_is_a_503_that_names_no_details(make_site, monkeypatch):
    monkeypatch.setattr("aroundtheworld.db.engine.BUSY_TIMEOUT_SECONDS", 0.1)
    site = make_site()
    browser = site.browser()
    browser.get("/login")
    other = Database(site.app.config.database_url)
    with other.engine.execution_options(writes=True).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("LOCK TABLE rounds"))
        with (
            ExpectLog(app_log, "POST /quiz.* database: .*lock"),
            ExpectLog(access_log, "503"),
        ):
            response = browser.post("/quiz")
        with (
            ExpectLog(app_log, "POST /api/rounds.* database: .*lock"),
            ExpectLog(access_log, "503"),
        ):
            api_response = browser.request("POST", "/api/rounds", "")
    other.close()
    assert api_response.code == 503
    assert "Nothing was changed" in json.loads(api_response.body)["error"]["detail"]
    assert response.code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert b"Nothing was changed" in response.body
    assert b"sql" not in response.body.lower()
    assert browser.post("/quiz").code == 303


def test_a_database_that_is_gone_is_a_503_that_names_no_details(make_site, tmp_path):
    for url in (f"sqlite:///{tmp_path}/gone/game.db", f"postgresql:///game?host={tmp_path}"):
        browser = make_site(url=url).browser()
        with ExpectLog(app_log, "GET /leaderboard.* database: "), ExpectLog(access_log, "503"):
            response = browser.get("/leaderboard")
        assert response.code == 503
        assert str(tmp_path).encode() not in response.body
        with ExpectLog(app_log, "GET /api/leaderboard.* database: "), ExpectLog(access_log, "503"):
            response = browser.get("/api/leaderboard")
        assert json.loads(response.body)["error"]["status"] == response.code == 503
        assert str(tmp_path).encode() not in response.body
        assert browser.get("/countries").code == 200


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_database_that_goes_away_and_comes_back_loses_nothing(make_site, postgres):
    with postgres.database("migrated") as url:
        name = sa.make_url(url).database
        browser = make_site(url=url).browser()
        address = browser.post("/quiz").headers["Location"]
        browser.post(address, position=0, choice=0)
        assert "Question 2 of 10" in browser.page(address)
        postgres.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        postgres.run(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )
        for path in (address, "/api/leaderboard"):
            with ExpectLog(app_log, ".*database: "), ExpectLog(access_log, "503"):
                response = browser.get(path)
            assert response.code == 503
            assert int(response.headers["Retry-After"]) > 0
            assert b"psycopg" not in response.body
            assert b"Traceback" not in response.body
        with ExpectLog(app_log, ".*database: "), ExpectLog(access_log, "503"):
            assert browser.post(address, position=1, choice=0).code == 503
        assert browser.get("/countries").code == 200
        postgres.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert "Question 2 of 10" in browser.page(address)
        assert browser.post(address, position=1, choice=0).code == 303
        assert "Question 3 of 10" in browser.page(address)


def test_templates_are_compiled_before_anybody_visits(site):
    from aroundtheworld.app import PACKAGE

    there = {
        str(path.relative_to(PACKAGE / "templates"))
        for path in (PACKAGE / "templates").rglob("*.html")
    }
    assert set(site.app.settings["template_loader"].templates) == there


def test_a_mistake_of_ours_shows_no_traceback(site, browser, monkeypatch):
    monkeypatch.setattr(site.app, "world", None)
    with ExpectLog(app_log, "Uncaught exception"), ExpectLog(access_log, "500"):
        response = browser.get("/countries")
    assert response.code == 500
    assert b"Something went wrong on our side" in response.body
    assert b"Traceback" not in response.body
    assert b"NoneType" not in response.body


@pytest.mark.parametrize(
    ("address", "goes_to"),
    [
        ("/admin/reports/grand-tour?cities=20", "/admin/reports/grand-tour?cities=20"),
        ("", "/"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example/", "/"),
        ("/\t/evil.example/", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_after_the_login_players_stay_on_this_site(address, goes_to):
    assert local_path(address, "/") == goes_to
