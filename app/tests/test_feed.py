from __future__ import annotations

import asyncio
import json

import pytest
from tornado.log import app_log
from tornado.testing import ExpectLog
from tornado.websocket import websocket_connect

from aroundtheworld import feed as feed_module
from aroundtheworld.db import events, journeys, players, rounds
from aroundtheworld.handlers import feed as handlers

PARIS = 2988507


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(feed_module, "POLL_SECONDS", 0.05)


def connect(site):
    async def connect():
        return await websocket_connect(f"ws://127.0.0.1:{site.port}/feed")

    return site.loop.run_until_complete(connect())


def listen(site):
    """A connection to the feed; what happens afterwards comes on it."""
    read_async, read = site.app.database.read_async, []

    async def counted(*args):
        rows = await read_async(*args)
        read.append(rows)
        return rows

    site.app.database.read_async = counted
    connection = connect(site)
    # What it finds first is no news, whatever it was.
    until(site, lambda: read)
    return connection


def hang_up(site, connection):
    connection.close()
    closed(site, connection)
    until(site, lambda: not site.app.feed.is_reading)


def closed(site, connection):
    """The code with which the connection closes; what comes before is ignored."""

    async def wait():
        while await asyncio.wait_for(connection.read_message(), 10) is not None:
            pass
        connection.close()
        return connection.close_code

    return site.loop.run_until_complete(wait())


def heard(site, connection):
    message = site.loop.run_until_complete(asyncio.wait_for(connection.read_message(), 10))
    return None if message is None else json.loads(message)["text"]


def until(site, condition):
    async def wait():
        for _ in range(500):
            if condition():
                return
            await asyncio.sleep(0.02)
        raise TimeoutError

    site.loop.run_until_complete(wait())


def add_player(site, name="ada"):
    database = site.app.database
    player_id = database.write(players.sign_up, None, name, "hash")
    database.write(journeys.begin, player_id, PARIS)
    return player_id


def test_what_happens_on_one_worker_is_told_on_another(make_site):
    here, other = make_site(), make_site()
    player_id = add_player(here)
    here.app.database.write(events.add, events.ARRIVED, player_id)
    connection = listen(other)
    here.app.database.write(events.add, events.WON, player_id, 8)
    here.app.database.write(events.add, events.ARRIVED, player_id)
    assert heard(other, connection) == "ada answered 8 of 10 in Paris"
    assert heard(other, connection) == "ada arrived in Paris"
    hang_up(other, connection)
    assert not here.app.feed.is_reading, "nobody listens there"


def test_a_page_shows_what_happened_without_a_script(site, browser):
    browser.post("/quiz")
    site.app.database.write(events.add, events.ARRIVED, 1)
    assert ">A guest arrived in " in browser.page("/leaderboard")


def test_a_flight_and_a_round_that_is_won_are_told(site, browser):
    browser.post("/quiz")
    database = site.app.database
    right = [q.answer for q in database.read(rounds.load, 1, 1).questions]
    for position, answer in enumerate(right):
        chosen = answer if position < 6 else (answer + 1) % 4
        browser.post("/quiz/1", position=position, choice=chosen)
    here = database.read(journeys.by_player, 1).city_id
    assert database.write(journeys.fly, 1, here, PARIS, 1, 1)
    latest = database.read(events.latest, 10)
    assert [(e.kind, e.score, e.city_id) for e in latest] == [
        ("won", 6, here), ("arrived", None, PARIS),
    ]  # fmt: skip


def test_only_the_newest_events_are_kept(site, monkeypatch):
    monkeypatch.setattr(events, "KEPT", 3)
    player_id = add_player(site)
    for _ in range(5):
        site.app.database.write(events.add, events.ARRIVED, player_id)
    assert [e.id for e in site.app.database.read(events.after, 0)] == [3, 4, 5]


def test_an_event_that_comes_late_with_a_lower_id_is_told_once(site):
    player_id = add_player(site)
    connection = listen(site)
    for event_id in (7, 5):
        site.app.database.write(
            lambda c, event_id=event_id: c.execute(
                events.events.insert().values(
                    id=event_id, kind="won", player_name=f"p{event_id}", city_id=PARIS,
                    score=event_id, happened_at=player_id,
                )
            )
        )  # fmt: skip
        assert heard(site, connection) == f"p{event_id} answered {event_id} of 10 in Paris"
    site.app.database.write(events.add, events.ARRIVED, player_id)
    assert heard(site, connection) == "ada arrived in Paris"
    hang_up(site, connection)


def test_another_sites_page_may_not_listen(browser):
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Origin": "https://evil.example"}
    assert browser.get("/feed", **upgrade).code == 403


def test_a_plain_request_is_no_listener(browser):
    assert browser.get("/feed").code == 400


def test_a_client_that_does_not_keep_up_is_let_go(site, monkeypatch):
    monkeypatch.setattr(handlers, "MOST_WAITING", 3)
    connection = listen(site)
    (listener,) = site.app.feed._listeners
    for number in range(10):
        listener.tell(number, "news")
    assert site.app.feed.listeners == 0
    assert closed(site, connection) == handlers.TOO_SLOW


async def handshake(site):
    """A connection to the feed of a client that says no more than that."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(
        b"GET /feed HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


def test_who_answers_no_ping_is_gone(site):
    site.app.settings.update(websocket_ping_interval=0.2, websocket_ping_timeout=0.1)

    async def fall_silent():
        reader, writer = await handshake(site)
        received = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        return received

    received = site.loop.run_until_complete(fall_silent())
    assert received.startswith(b"\x89"), "a ping"
    until(site, lambda: site.app.feed.listeners == 0)


def test_a_client_that_reads_nothing_costs_no_more_than_what_may_wait(site):
    connection = listen(site)
    (listening,) = site.app.feed._listeners
    _, writer = site.loop.run_until_complete(handshake(site))
    until(site, lambda: site.app.feed.listeners == 2)
    (silent,) = site.app.feed._listeners - {listening}

    async def tell():
        # More than all buffers on the way take.
        for number in range(1000):
            silent.tell(number, "x" * 100_000)
            await asyncio.sleep(0)
            if silent not in site.app.feed._listeners:
                return number
        raise AssertionError("everything was kept for it")

    assert site.loop.run_until_complete(tell()) < 500
    writer.transport.abort()
    site.app.database.write(events.add, events.ARRIVED, add_player(site))
    assert heard(site, connection) == "ada arrived in Paris", "the others go on"
    hang_up(site, connection)


def test_there_is_room_for_so_many_only(site, monkeypatch):
    monkeypatch.setattr(handlers, "MOST_LISTENERS", 0)
    assert closed(site, connect(site)) == handlers.TRY_AGAIN_LATER
    assert not site.app.feed.is_reading


def test_a_database_that_is_gone_for_a_while_stops_nothing(site, monkeypatch):
    player_id = add_player(site)
    connection = listen(site)
    failures = []
    with ExpectLog(app_log, "feed: database: .*"), monkeypatch.context() as patch:

        def fail(*_):
            failures.append("gone")
            if len(failures) == 2:  # the first is in the log by now
                site.loop.call_soon_threadsafe(asked_again.set)
            raise feed_module.OperationalError("", None, OSError("gone"))

        asked_again = asyncio.Event()
        patch.setattr(events, "after", fail)
        site.loop.run_until_complete(asyncio.wait_for(asked_again.wait(), 20))
    site.app.database.write(events.add, events.ARRIVED, player_id)
    assert heard(site, connection) == "ada arrived in Paris"
    hang_up(site, connection)
