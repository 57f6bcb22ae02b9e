"""A visitor of the Socket.IO app, who says a word whenever the one before is answered.

    client.py URL SECONDS TRANSPORT...

It prints what came of it, as JSON, when the seconds are over or stdin ends: how many `answers`
there were, in how many `sessions`, how many words the site has `remembered` of the last session,
and the last `transport`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import threading
import time

import requests
import socketio
from socketio.exceptions import SocketIOError

PATIENCE = 90  # seconds until somebody who is not let in gives up
PAUSE = 0.1  # seconds


def visit(url: str, seconds: float, transports: list[str]) -> dict[str, object]:
    """Talk, and return what is printed.

    Raises:
        ConnectionError: the site lets nobody in.
    """
    browser = requests.Session()  # has the cookies, which this client forgets when it comes again
    browser.get(url, timeout=PATIENCE)
    client = socketio.Client(
        http_session=browser, reconnection_delay=PAUSE, reconnection_delay_max=1
    )
    sessions: list[str] = []
    heard: list[int] = []
    is_free = threading.Event()

    def connected() -> None:
        sessions.append(client.sid)
        is_free.set()

    def answered(said: list[str]) -> None:
        heard.append(len(said))
        is_free.set()

    client.on("connect", connected)
    client.connect(url, transports=transports, wait_timeout=PATIENCE)
    over = time.monotonic() + seconds
    while time.monotonic() < over and not select.select([sys.stdin], [], [], PAUSE)[0]:
        if is_free.is_set():
            is_free.clear()
            with contextlib.suppress(SocketIOError):  # between two sessions nobody listens
                client.emit("say", "x", callback=answered)
    transport = client.transport()
    return {
        "answers": len(heard),
        "sessions": len(sessions),
        "remembered": heard[-1],
        "transport": transport,
    }


if __name__ == "__main__":
    print(json.dumps(visit(sys.argv[1], float(sys.argv[2]), sys.argv[3:])), flush=True)
    os._exit(0)  # as a tab is closed; to say goodbye, a long poll would have to end first
