"""The game in the role's runner: what a visitor with an open page sees of several workers."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import sys
import tempfile
from pathlib import Path

import pytest
from site_conftest import SECRET
from tornado.websocket import websocket_connect

from aroundtheworld.db import events, journeys, players
from aroundtheworld.db.engine import Database
from aroundtheworld.handlers.base import BaseHandler

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "runner"))

import harness

APP = Path(__file__).parents[1]
PARIS = 2988507


@pytest.fixture
def start(sqlite_url):
    """Starts workers, each on a socket that is kept open as systemd keeps it."""
    with contextlib.ExitStack() as stack:
        # A UNIX socket's path must be shorter than pytest's own are.
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="worker-")))
        names = iter("abcdefgh")

        def start(listener):
            environment = {
                "PYTHONPATH": f"{APP}:{harness.RUNNER}",
                "DATABASE_URL": sqlite_url,
                "COOKIE_SECRET": SECRET,
                "AROUNDTHEWORLD_POOL": "public",
            }
            arguments = ("aroundtheworld.app:make_app", "--linger", "0.2")
            worker = harness.Worker(directory, next(names), [listener], arguments, environment)
            stack.callback(worker.close)
            worker.wait_notified("READY=1", 60)
            return worker

        yield start


async def listen(listener):
    return await websocket_connect(f"ws://127.0.0.1:{listener.getsockname()[1]}/feed")


async def end(connection):
    """The code with which the connection closes."""
    while await asyncio.wait_for(connection.read_message(), 20) is not None:
        pass
    connection.close()
    return connection.close_code


async def heard(connection, happen):
    """The next sentence; something happens until it comes: a listener hears only what is new."""
    message = asyncio.ensure_future(connection.read_message())
    for _ in range(60):
        await asyncio.get_running_loop().run_in_executor(None, happen)
        done, _ = await asyncio.wait([message], timeout=0.5)
        if done:
            return json.loads(message.result())["text"]
    raise TimeoutError


def post_form(listener, size):
    """Send a login whose body comes in chunks, which does not say how long it will be."""
    chunk = b"x" * 1024
    connection = http.client.HTTPConnection("127.0.0.1", listener.getsockname()[1], timeout=20)
    with contextlib.closing(connection):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = iter([chunk] * (size // len(chunk)))
        connection.request("POST", "/login", body, headers, encode_chunked=True)
        return connection.getresponse().status


def test_a_body_in_chunks_is_limited_as_any_other(start):
    with harness.listener() as listener:
        start(listener)
        # It has no token against forgery, which is looked for when all of it is there.
        assert post_form(listener, BaseHandler.largest_body) == 403
        assert post_form(listener, BaseHandler.largest_body + 1024) == 400


def test_the_feed_of_every_worker_is_closed_when_it_drains_and_goes_on_elsewhere(start, sqlite_url):
    database = Database(sqlite_url)
    player_id = database.write(players.sign_up, None, "ada", "hash")
    database.write(journeys.begin, player_id, PARIS)

    def tell():
        database.write(events.add, events.ARRIVED, player_id)

    async def visit(left, right, first):
        here, there = await listen(left), await listen(right)
        for connection in (here, there):
            assert await heard(connection, tell) == "ada arrived in Paris"
        first.terminate()
        assert await end(here) == 1001
        assert await asyncio.to_thread(first.wait) == 0
        # As the page does: it connects again, to the worker that takes the place.
        again = asyncio.ensure_future(listen(left))
        await asyncio.to_thread(start, left)
        here = await again
        for connection in (here, there):
            assert await heard(connection, tell) == "ada arrived in Paris"
            connection.close()
            await end(connection)
        assert "Traceback" not in first.stderr()

    with harness.listener() as left, harness.listener() as right:
        workers = [start(left), start(right)]
        asyncio.run(visit(left, right, workers[0]))
    database.close()
