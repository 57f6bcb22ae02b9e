"""The JSON API, by hand and by machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from openapi_spec_validator import validate
from tornado.log import access_log
from tornado.testing import ExpectLog

from aroundtheworld import openapi
from aroundtheworld.db.schema import round_questions

APP = Path(__file__).parent.parent
PASSWORD = "correct horse battery"


def call(browser, method, path, content=None, status=200):
    body = json.dumps(content) if content is not None else "" if method == "POST" else None
    response = browser.request(method, path, body, {"Content-Type": "application/json"})
    assert response.code == status, response.body
    return json.loads(response.body) if response.body else None


def test_the_description_is_valid_and_has_a_page(browser):
    document = call(browser, "GET", "/api/openapi.json")
    validate(document)
    page = browser.page("/api")
    for path in document["paths"]:
        assert path in page
    for name in document["components"]["schemas"]:
        assert f'id="{name}"' in page


def test_the_description_names_every_address_of_the_api(site):
    from aroundtheworld.app import PUBLIC_ROUTES

    described = {
        path.replace("{id}", "([0-9]{1,9})").replace("{slug}", "([a-z-]+)")
        for path in openapi.document(None)["paths"]
    }
    routes = {pattern for pattern, _ in PUBLIC_ROUTES if pattern.startswith("/api/")}
    assert routes - {"/api/openapi.json"} == described


def test_a_round_and_a_flight(site, browser):
    state = call(browser, "POST", "/api/rounds", status=201)
    address = f"/api/rounds/{state['id']}"
    assert (state["score"], state["answered"]) == (0, [])
    query = round_questions.select().order_by(round_questions.c.position)
    right = [q.answer for q in site.app.database.read(lambda c: c.execute(query).all())]
    for position in range(10):
        assert state["question"]["position"] == position
        assert set(state["question"]) == {"position", "kind", "prompt", "choices"}
        answer = {"position": position, "choice": right[position]}
        state = call(browser, "POST", f"{address}/answers", answer)
    assert (state["score"], state["question"]) == (10, None)
    assert state == call(browser, "GET", address)
    journey = call(browser, "GET", "/api/journey")
    assert journey["coins"] == state["coins"] >= 100
    flight = call(browser, "GET", "/api/journey/flights")[0]
    ticket = {"from": journey["city"]["id"], "to": flight["city"]["id"]}
    arrived = call(browser, "POST", "/api/journey/flights", ticket)
    assert arrived["city"] == flight["city"]
    assert arrived["coins"] == journey["coins"] - flight["fare"]
    assert call(browser, "POST", "/api/journey/flights", ticket) == arrived, (
        "sent twice, flown once"
    )
    assert call(browser, "GET", "/api/leaderboard") == [
        {"name": None, "earned": journey["coins"], "km": arrived["km"]}
    ]


def test_answering_twice_is_a_conflict_and_changes_nothing(browser):
    state = call(browser, "POST", "/api/rounds", status=201)
    address = f"/api/rounds/{state['id']}"
    state = call(browser, "POST", f"{address}/answers", {"position": 0, "choice": 0})
    for position in (0, 5):
        answer = {"position": position, "choice": 1}
        error = call(browser, "POST", f"{address}/answers", answer, status=409)
        assert error["error"]["detail"] == f"Question {position} is not the one that is due."
    assert call(browser, "GET", address) == state


def test_a_round_is_its_players_only(site, browser):
    state = call(browser, "POST", "/api/rounds", status=201)
    other = site.browser()
    call(other, "GET", f"/api/rounds/{state['id']}", status=404)
    call(other, "POST", "/api/rounds", status=201)
    answer = {"position": 0, "choice": 0}
    call(other, "POST", f"/api/rounds/{state['id']}/answers", answer, status=404)


def test_an_account(site, browser):
    call(browser, "GET", "/api/session", status=404)
    call(browser, "POST", "/api/rounds", status=201)
    account = {"name": "ada", "password": PASSWORD}
    assert call(browser, "POST", "/api/players", account, 201) == {"name": "ada", "is_admin": False}
    assert call(browser, "GET", "/api/session")["name"] == "ada"
    assert call(browser, "GET", "/api/journey")["coins"] == 0
    call(browser, "DELETE", "/api/session", status=204)
    call(browser, "GET", "/api/session", status=404)
    with_typo = {"name": "ada", "password": "wrong"}
    error = call(browser, "POST", "/api/session", with_typo, 403)["error"]
    assert error["detail"] == "That name and password do not belong together."
    assert call(browser, "POST", "/api/session", account)["name"] == "ada"
    taken = call(site.browser(), "POST", "/api/players", account, 409)
    assert taken["error"]["detail"] == "The name ada is taken."


@pytest.mark.parametrize(
    ("kind", "body", "status", "sentence"),
    [
        ("application/json", "{", 400, "The body is no JSON."),
        ("application/json", "[" * 9000, 400, "The body is no JSON."),
        ("application/json", b"\xff\xfe", 400, "The body is no JSON."),
        ("application/json", "[]", 400, "must be an object with position and choice"),
        ("application/json", '{"position": 0}', 400, "must be an object with position and choice"),
        (
            "application/json",
            '{"position": 0, "choice": "0"}',
            400,
            "choice must be a whole number",
        ),
        ("application/json", '{"position": 0, "choice": true}', 400, "choice must be a whole"),
        ("application/json", '{"position": 0, "choice": NaN}', 400, "choice must be a whole"),
        ("application/json", '{"position": 1e999, "choice": 0}', 400, "position must be a whole"),
        ("application/json", '{"position": 0, "choice": 4}', 400, "from 0 to 3"),
        ("text/plain", '{"position": 0, "choice": 0}', 415, "must be application/json, not text"),
        ("application/x-www-form-urlencoded", "position=0", 415, "must be application/json"),
        ("application/json", "x" * 17_000, 413, "more than is taken"),
    ],
)
def test_a_body_that_will_not_do_says_why(browser, kind, body, status, sentence):
    state = call(browser, "POST", "/api/rounds", status=201)
    address = f"/api/rounds/{state['id']}"
    response = browser.request("POST", f"{address}/answers", body, {"Content-Type": kind})
    assert response.code == status
    error = json.loads(response.body)["error"]
    assert error["status"] == status
    assert sentence in error["detail"]
    assert call(browser, "GET", address) == state


def test_another_sites_script_is_refused(browser):
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    assert browser.request("POST", "/api/rounds", "", headers).code == 403
    assert browser.request("DELETE", "/api/session", headers=headers).code == 403


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_method_that_is_not_there_names_those_that_are(browser, method):
    body = None if method == "DELETE" else ""
    response = browser.request(method, "/api/journey/flights", body)
    assert response.code == 405
    assert response.headers["Allow"] == "GET, HEAD, POST"


def test_a_page_refuses_a_huge_form(browser):
    with ExpectLog(access_log, "413", required=False):
        response = browser.post("/login", name="x" * 100_000)
    assert response.code == 413
    assert b"more than is taken" in response.body


def test_schemathesis_finds_nothing(site, browser, loop, tmp_path):
    """It sends what the description allows, and what it forbids, and judges the answers."""
    browser.post("/quiz")
    command = [
        sys.executable, "-m", "schemathesis.cli", "run",
        f"http://127.0.0.1:{site.port}/api/openapi.json", "--max-examples=8", "--seed=1",
        "--checks=all", "--no-color", "--generation-database=none",
        "--suppress-health-check=all", f"--header=Cookie: session={browser.cookies['session']}",
    ]  # fmt: skip

    def run():
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        )  # fmt: skip

    done = loop.run_until_complete(loop.run_in_executor(None, run))
    assert done.returncode == 0, "\n" + done.stdout + done.stderr
