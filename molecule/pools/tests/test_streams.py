"""Responses without an end, in a pool of their own."""

import contextlib
import http.client
import shutil
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.waiting import until

pytestmark = pytest.mark.once

APP = Path(__file__).resolve().parents[1] / "streams"
LOCK = Path(__file__).resolve().parents[3] / "examples" / "guestbook" / "requirements.txt"
READERS = 12
STREAM_TIMEOUT = 6  # seconds
SETTINGS = {
    "app_dir": str(APP),
    "requirements": str(LOCK),
    "make_app": "web:make_app",
    "migrate_command": "",
    "canary_seconds": 0,
    "pools": [
        {"name": "public", "ports": [10001, 10002], "paths": ["/"]},
        {
            "name": "log",
            "ports": [10003],
            "paths": ["/log"],
            "stream": True,
            "stream_timeout": STREAM_TIMEOUT,
        },
    ],
}


class Reader:
    """Somebody who reads a stream until it ends."""

    def __init__(self, url):
        self.lines, self.ended, self.is_whole = 0, 0.0, False
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        with contextlib.closing(self.connection):
            self.connection.request("GET", "/log")
            with self.connection.getresponse() as response:
                try:
                    while response.read1(4096):  # fails where the end is missing, unlike readline
                        self.lines += 1
                    self.is_whole = True
                except http.client.IncompleteRead:
                    pass
        self.ended = time.monotonic()


def asked(url, path):
    """The text at a path."""
    response = httpx.get(f"{url}{path}", timeout=60)
    assert response.status_code == 200
    return response.text


@pytest.fixture
def next_release(tmp_path):
    copy = tmp_path / "streams"
    shutil.copytree(APP, copy)
    (copy / "edition.txt").write_text(str(time.time()))
    return {**SETTINGS, "app_dir": str(copy)}


def test_streams_end_one_after_the_other_while_the_new_worker_is_there(
    http, have, deploy, visited, next_release
):
    have("websocket", **SETTINGS)
    former = asked(http, "/log/release")
    readers = [Reader(http) for _ in range(READERS)]
    until(lambda: all(reader.lines > 3 for reader in readers), seconds=60)

    seen, is_over = [], threading.Event()

    def look():
        while not is_over.is_set():
            release = asked(http, "/log/release")
            seen.append((time.monotonic(), release))
            time.sleep(0.05)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        with visited(http, "/", "/log/release") as outcomes:
            run = deploy("websocket", **next_release)
        assert run.returncode == 0, run.output
    finally:
        is_over.set()
        looking.join(60)
    for reader in readers:
        reader.thread.join(60)

    assert outcomes.keys() == {"200"}
    assert all(reader.is_whole for reader in readers)
    ends = sorted(reader.ended for reader in readers)
    assert STREAM_TIMEOUT / 2 < ends[-1] - ends[0] < STREAM_TIMEOUT + 5
    first_of_the_next = next(at for at, release in seen if release != former)
    assert first_of_the_next < ends[-1]
