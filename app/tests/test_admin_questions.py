from __future__ import annotations

import csv
import io
from random import Random
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from tornado.log import access_log
from tornado.testing import ExpectLog

from aroundtheworld.db import questions
from aroundtheworld.db.schema import round_questions

QUESTION = {
    "category": "history",
    "country": "FR",
    "difficulty": "hard",
    "published": "no",
    "prompt": "Which wall fell in 1789?",
    "right": "The Bastille",
    "wrong_1": "Hadrian's",
    "wrong_2": "The Louvre",
    "wrong_3": "None",
    "fact": "It was stormed on 14 July.",
}


def add(site, **fields):
    """Add a question past the form, and return its id."""
    values = {**QUESTION, "published": False, **fields}
    return site.app.database.write(questions.add, values)


def send_file(browser, content, name="questions.csv"):
    browser.get("/login")
    body = (
        "--limit\r\n"
        'Content-Disposition: form-data; name="_xsrf"\r\n\r\n'
        f"{browser.cookies['_xsrf']}\r\n"
        "--limit\r\n"
        f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    ).encode() + content + b"\r\n--limit--\r\n"  # fmt: skip
    headers = {"Content-Type": "multipart/form-data; boundary=limit"}
    return browser.request("POST", "/admin/questions/import", body, headers)


def stored(site):
    return site.app.database.read(questions.everything)


def test_a_question_is_written_changed_published_and_taken_back(site, admin):
    response = admin.post("/admin/questions/new", **QUESTION)
    assert response.headers["Location"] == "/admin/questions/1?done=created"
    assert "The question was added." in admin.page("/admin/questions/1?done=created")
    changed = {**QUESTION, "prompt": "What was stormed in 1789?", "difficulty": "easy"}
    assert admin.post("/admin/questions/1", **changed).code == 303
    assert 'value="What was stormed in 1789?"' in admin.page("/admin/questions/1")
    admin.post("/admin/questions/1/publish", published="yes")
    assert stored(site)[0]["published"]
    admin.post("/admin/questions/1/publish", published="no")
    assert not stored(site)[0]["published"]
    assert stored(site)[0]["difficulty"] == "easy"


def test_a_bad_question_is_not_saved_and_what_was_typed_stays(site, admin):
    with ExpectLog(access_log, "400"):
        response = admin.post("/admin/questions/new", **{**QUESTION, "country": "XX", "fact": ""})
    page = response.body.decode()
    assert response.code == 400
    assert "<strong>Country</strong> must be the two letters" in page
    assert "<strong>Fact, told afterwards</strong> must not be empty" in page
    assert "Which wall fell" in page
    assert stored(site) == []


def test_two_questions_cannot_ask_the_same(site, admin):
    add(site)
    other = add(site, prompt="Another?")
    for path in ("/admin/questions/new", f"/admin/questions/{other}"):
        with ExpectLog(access_log, "400"):
            response = admin.post(path, **QUESTION)
        assert b"is asked by another question" in response.body
    assert admin.post(f"/admin/questions/{other}", **{**QUESTION, "prompt": "Another?"}).code == 303


def test_what_is_typed_is_harmless_when_shown(site, admin):
    add(site, prompt='"><script>alert(1)</script>')
    for path in ("/admin/questions", "/admin/questions/1"):
        assert "<script>alert" not in admin.page(path)


@pytest.mark.parametrize("path", ["", "/publish", "/delete"])
def test_a_question_that_is_not_there(admin, path):
    with ExpectLog(access_log, "404"):
        assert admin.post(f"/admin/questions/99{path}", published="yes").code == 404


def test_publishing_anything_but_yes_or_no_is_refused(site, admin):
    add(site)
    assert admin.post("/admin/questions/1/publish", published="x").code == 400
    assert admin.post("/admin/questions/1/publish").code == 400


def test_only_what_is_not_in_use_can_be_deleted(site, admin):
    unused, published, in_round = (add(site, prompt=f"Number {i}?") for i in range(3))
    site.app.database.write(questions.publish, published, True)
    site.browser().post("/quiz")
    site.app.database.write(
        lambda c: c.execute(
            sa.update(round_questions)
            .where(round_questions.c.position == 4)
            .values(question_id=in_round)
        )
    )
    assert "Asked in 1 round," in admin.page(f"/admin/questions/{in_round}")
    assert "/delete" not in admin.page(f"/admin/questions/{in_round}")
    for question_id in (published, in_round):
        with ExpectLog(access_log, "409"):
            response = admin.post(f"/admin/questions/{question_id}/delete")
        assert response.code == 409
        assert b"cannot be deleted" in response.body
    assert admin.post(f"/admin/questions/{unused}/delete").code == 303
    assert [row["id"] for row in stored(site)] == [published, in_round]


def test_the_list_filters_and_pages(site, admin):
    for i in range(60):
        add(
            site,
            prompt=f"Number {i}_{'%' if i == 7 else ''}?",
            country="DE" if i % 2 else "FR",
            category="nature" if i % 3 else "culture",
            published=i < 10,
        )

    def listed(**query):
        page = admin.page("/admin/questions?" + urlencode(query))
        return page.count('<th scope="row">')

    assert listed() == 25
    assert listed(page=3) == 10
    assert listed(page=99) == listed(page="3") == 10
    assert listed(page="-1") == listed(page="x") == 25
    assert listed(country="DE", page=2) == 5
    assert listed(published="yes") == 10
    assert listed(text="number 1") == 11
    assert listed(text="%") == 1
    assert listed(text="_") == 25
    assert listed(category="culture", country="DE", published="yes") == 2
    assert listed(text="nothing like it") == 0
    page = admin.page("/admin/questions?country=DE&text=Number")
    assert 'href="/admin/questions?text=Number&amp;country=DE&amp;page=2" rel="next"' in page


def test_written_questions_are_asked_beside_the_generated_ones(site, browser):
    for country in site.app.world.by_code:
        add(site, country=country, prompt=f"What about {country}?", published=True)
    browser.post("/quiz")
    rows = site.app.database.read(
        lambda c: c.execute(sa.select(round_questions).order_by(round_questions.c.position)).all()
    )
    written = [row for row in rows if row.question_id is not None]
    assert len(written) == 5
    for row in written:
        assert row.prompt == f"What about {row.country}?"
        assert row.kind == "history"
        assert row.choices[row.answer] == "The Bastille"
    assert len({row.country for row in rows}) == 10
    address = browser.get("/quiz").headers["Location"]
    for position in range(10):
        browser.post(address, position=position, choice=0)
    assert "What about" in browser.page(address)


def test_what_is_not_published_is_never_asked(site):
    for country in site.app.world.by_code:
        add(site, country=country, prompt=f"What about {country}?")
    codes = list(site.app.world.by_code)
    assert site.app.database.read(questions.draw, codes, 5, Random(1)) == []


def test_drawing_takes_each_in_its_turn(site):
    ids = {add(site, prompt=f"Number {i}?", published=True) for i in range(4)}
    drawn = {
        row["id"]
        for seed in range(60)
        for row in site.app.database.read(questions.draw, ["DE", "FR"], 5, Random(seed))
    }
    assert drawn == ids


def test_export_and_import_go_round(site, admin):
    add(site, prompt='With ", and é?')
    add(site, prompt="Another?", published=True)
    response = admin.get("/admin/questions.csv")
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    before = stored(site)
    assert b"0 questions were added and 0 changed" in send_file(admin, response.body).body
    assert stored(site) == before
    rows = list(csv.DictReader(io.StringIO(response.body.decode())))
    # They exchange their prompts, and a third comes.
    rows[0]["prompt"], rows[1]["prompt"] = rows[1]["prompt"], rows[0]["prompt"]
    rows.append({**rows[0], "id": "", "prompt": "A third?", "published": "no"})
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    assert (
        b"1 questions were added and 2 changed" in send_file(admin, text.getvalue().encode()).body
    )
    assert [row["prompt"] for row in stored(site)] == ["Another?", 'With ", and é?', "A third?"]


def test_an_import_is_all_or_nothing(site, admin):
    add(site)
    header = "category,country,difficulty,published,prompt,right,wrong_1,wrong_2,wrong_3,fact,id\n"
    good = "history,FR,easy,no,A new one?,a,b,c,d,Fact.,\n"
    for line, sentence in [
        ("history,XX,easy,no,Another?,a,b,c,d,Fact.,\n", "Line 3, column country: must be the two"),
        ("history,FR,easy,no,Another?,a,b,c,d,Fact.,9\n", "Line 3, column id: there is no"),
        (f"history,FR,easy,no,{QUESTION['prompt']},a,b,c,d,Fact.,\n",
         "Line 3, column prompt: question 1 asks that"),
    ]:  # fmt: skip
        with ExpectLog(access_log, "400"):
            response = send_file(admin, (header + good + line).encode())
        assert response.code == 400
        assert sentence in response.body.decode()
        assert len(stored(site)) == 1
    assert b"1 questions were added" in send_file(admin, (header + good).encode()).body


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"x" * (2 * 1024 * 1024 + 1)])
def test_a_file_that_is_none(site, admin, content):
    with ExpectLog(access_log, "400"):
        assert send_file(admin, content, name="../../etc/passwd").code == 400
    assert stored(site) == []
