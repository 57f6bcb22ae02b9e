"""WebSockets in a pool of their own."""

import asyncio
import json
import threading
import time

import pytest
from tornado.websocket import websocket_connect

from tests.waiting import until

pytestmark = pytest.mark.once

PATIENCE = 40  # seconds of silence; other pools have nginx wait 30


class Listener:
    """Somebody who listens until the connection is closed."""

    def __init__(self, url):
        self.heard, self.code, self.connected = [], None, threading.Event()
        self.url = url.replace("http", "ws") + "/live"
        self.thread = threading.Thread(target=lambda: asyncio.run(self._listen()), daemon=True)
        self.thread.start()
        assert self.connected.wait(10)

    async def _listen(self):
        self.loop = asyncio.get_running_loop()
        self.connection = await websocket_connect(self.url)
        while (message := await self.connection.read_message()) is not None:
            self.heard.append(message)
            self.connected.set()
        self.code = self.connection.close_code
        # Also after the server has closed it; else Tornado warns of it whenever it is collected.
        self.connection.close()

    def hang_up(self):
        self.loop.call_soon_threadsafe(self.connection.close)
        self.thread.join(10)


@pytest.fixture
def websocket(have):
    """Have the example on the host."""
    have("websocket", health_path="/", canary_seconds=0)


@pytest.mark.usefixtures("websocket")
def test_a_connection_that_is_quiet_for_long_stays_open_and_a_handover_closes_it_with_1001(
    http, deploy, visitor, visited
):
    listener = Listener(http)
    time.sleep(PATIENCE)
    assert listener.thread.is_alive()
    visitor.ask("/sign-in", "POST", {"name": "ada"})
    visitor.ask("/", "POST", {"words": "Are you still there?"})
    until(lambda: len(listener.heard), lambda count: count == 2)
    assert json.loads(listener.heard[1])["entries"] == json.loads(listener.heard[0])["entries"] + 1

    with visited(http, "/") as outcomes:
        run = deploy("websocket", canary_seconds=0, release="fourth")
    assert run.returncode == 0, run.output
    listener.thread.join(10)
    assert listener.code == 1001
    assert outcomes.keys() == {"200"}
    again = Listener(http)
    assert again.thread.is_alive()
    again.hang_up()
    assert not again.thread.is_alive()
