"""Facts about countries, from a service that answers, is slow, is down, or talks nonsense."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest
import sqlalchemy as sa
from site_conftest import SECRET, Site
from tornado import web
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from aroundtheworld import facts as facts_module
from aroundtheworld.app import make_app
from aroundtheworld.config import Config
from aroundtheworld.facts import CountryFacts

FRANCE = {
    "languages": {"fra": "French"},
    "currencies": {"EUR": {"name": "euro", "symbol": "€"}},
    "timezones": ["UTC+01:00", "UTC+02:00"],
    "tld": [".fr"],
    "idd": {"root": "+3", "suffixes": ["3"]},
    "car": {"side": "right"},
}
JSON = "application/json; charset=utf-8"


class Service:
    """A service of facts; `answers` is called for every request."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.answers = answer(json.dumps(FRANCE))
        service = self

        class Handler(web.RequestHandler):
            async def get(self) -> None:
                service.requests.append(self.request.uri)
                await service.answers(self)

        listener, port = bind_unused_port()
        self.url = f"http://127.0.0.1:{port}/v3.1"
        self.server = HTTPServer(web.Application([(".*", Handler)]))
        self.server.add_sockets([listener])


def answer(body, content_type=JSON, status=200, seconds=0.0, **headers):
    async def respond(handler):
        await asyncio.sleep(seconds)
        handler.set_status(status)
        handler.set_header("Content-Type", content_type)
        for name, value in headers.items():
            handler.set_header(name, value)
        with contextlib.suppress(Exception):
            await handler.finish(body)

    return respond


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Wait for the service however busy the machine is, where a test does not say otherwise."""
    monkeypatch.setattr(facts_module, "PATIENCE_SECONDS", 20)


@pytest.fixture
def service(loop):
    service = Service()
    yield service
    service.server.stop()
    loop.run_until_complete(service.server.close_all_connections())


@pytest.fixture
def make(loop, database_url):
    """Makes another worker of the site, with the same database."""
    with contextlib.ExitStack() as stack:

        def make(facts_url):
            site = Site(loop, make_app(Config(database_url, SECRET, facts_url=facts_url)))
            stack.callback(site.close)
            return site

        yield make


@pytest.fixture
def site(make, service):
    return make(service.url)


def settle(site):
    """Waits until no worker's fetch is under way."""

    async def wait():
        while tasks := list(site.app.facts._fetches.values()):
            await asyncio.wait(tasks)

    site.loop.run_until_complete(wait())


def age(site, **columns):
    """Sets the age of what is known about France, in milliseconds."""
    values = {name: sa.text(f"{name} - {value}") for name, value in columns.items()}
    table = facts_module.facts.country_facts
    site.app.database.write(lambda c: c.execute(sa.update(table).values(values)))


def test_facts_are_fetched_once_and_shown(site, service):
    page = site.browser().page("/countries/france")
    for text in ("Good to know", "French", "euro (€)", "UTC+01:00, UTC+02:00", ".fr", "+33"):
        assert text in page
    assert "As 127.0.0.1 said on" in page
    site.browser().page("/countries/france")
    assert service.requests == [f"/v3.1/alpha/FR?fields={facts_module.FIELDS}"]


def test_another_worker_finds_them_in_the_database(site, service, make):
    site.browser().page("/countries/france")
    assert "French" in make(service.url).browser().page("/countries/france")
    assert len(service.requests) == 1


def test_of_many_visitors_at_once_one_asks(site, service, make, loop):
    service.answers = answer(json.dumps(FRANCE), seconds=0.2)
    browsers = [worker.browser() for worker in (site, make(service.url)) for _ in range(4)]

    async def visit():
        visits = [b.client.fetch(f"{b.base}/countries/france") for b in browsers]
        return [response.code for response in await asyncio.gather(*visits)]

    assert loop.run_until_complete(visit()) == [200] * 8
    assert len(service.requests) == 1


def test_without_a_service_nothing_is_asked(make):
    assert "Good to know" not in make(None).browser().page("/countries/france")


def test_a_slow_service_holds_nobody_up_for_long(site, service, monkeypatch):
    monkeypatch.setattr(facts_module, "PATIENCE_SECONDS", 0.05)
    service.answers = answer(json.dumps(FRANCE), seconds=0.5)
    browser = site.browser()
    assert "Good to know" not in browser.page("/countries/france")
    settle(site)
    assert "Good to know" in browser.page("/countries/france")


def test_what_is_old_is_shown_while_it_is_fetched_anew(site, service):
    browser = site.browser()
    browser.page("/countries/france")
    age(site, fetched_at=facts_module.FRESH_MS, tried_at=facts_module.PAUSE_MS)
    service.answers = answer(json.dumps({**FRANCE, "tld": [".new"]}))
    assert ".fr" in browser.page("/countries/france")
    settle(site)
    assert ".new" in browser.page("/countries/france")
    assert len(service.requests) == 2


def test_what_is_old_is_better_than_nothing(site, service):
    browser = site.browser()
    browser.page("/countries/france")
    age(site, fetched_at=facts_module.FRESH_MS, tried_at=facts_module.PAUSE_MS)
    service.answers = answer("gone", status=500)
    browser.page("/countries/france")
    settle(site)
    assert ".fr" in browser.page("/countries/france")
    assert len(service.requests) == 2


FAILURES = {
    "an error": answer("{}", status=500),
    "a redirect": answer("", status=302, Location="/v3.1/elsewhere"),
    "no JSON": answer("<html>", content_type="text/html"),
    "broken JSON": answer('{"languages": '),
    "a number": answer("7"),
    "no facts": answer('{"status": 404, "message": "Not Found"}'),
    "facts of other types": answer('{"languages": ["x"], "tld": {"a": ".b"}, "car": [1]}'),
    "too much": answer(json.dumps({**FRANCE, "more": "x" * 100_000})),
    "packed": answer(b"\x1f\x8b" + b"0" * 50, **{"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_service_that_fails_is_left_alone_for_a_while(site, service, failure):
    service.answers = failure
    browser = site.browser()
    for _ in range(2):
        assert "Good to know" not in browser.page("/countries/france")
        settle(site)
    assert len(service.requests) == 1
    service.answers = answer(json.dumps([FRANCE]))
    age(site, tried_at=facts_module.PAUSE_MS)
    assert "French" in browser.page("/countries/france")


def test_a_service_that_is_down_is_none(make):
    listener, port = bind_unused_port()
    listener.close()
    site = make(f"http://127.0.0.1:{port}")
    assert "Good to know" not in site.browser().page("/countries/france")


def test_a_service_that_never_answers_is_given_up(site, service, monkeypatch):
    monkeypatch.setattr(facts_module, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(facts_module, "REQUEST_SECONDS", 0.1)
    service.answers = answer(json.dumps(FRANCE), seconds=1)
    site.browser().page("/countries/france")
    settle(site)
    assert "Good to know" not in site.browser().page("/countries/france")


def test_texts_are_escaped_and_limited(site, service):
    service.answers = answer(
        json.dumps({"tld": ["<b>", "x" * 61, "a\nb", ".ok", 5, None, *map(str, range(50))]})
    )
    page = site.browser().page("/countries/france")
    assert "&lt;b&gt;, .ok, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9<" in page


def test_what_another_release_kept_is_fetched_anew(site, service):
    browser = site.browser()
    browser.page("/countries/france")
    table = facts_module.facts.country_facts
    content = sa.update(table).values(content={"rivers": ["Seine"]})
    site.app.database.write(lambda c: c.execute(content))
    age(site, tried_at=facts_module.PAUSE_MS)
    assert "French" in browser.page("/countries/france")


def test_facts_have_labels_in_the_right_number():
    known = CountryFacts(languages=("French",), domains=(".fr", ".eu"))
    assert known.labelled() == [("Language", "French"), ("Internet domains", ".fr, .eu")]
