"""Each line of a worker's log names its request, and visitors' addresses as far as they may be."""

import asyncio
import logging
import re
import sys
from unittest.mock import Mock

import harness
import pytest
from tornado.httpclient import HTTPRequest
from tornado.web import Application
from tornado.websocket import websocket_connect

from aroundtheworld_runner import logs
from tests.waiting import until

APP = "logged:make_app"
FIRST, SECOND = "a1" * 16, "b2" * 16


def fetch(client, path, request_id=None, method="GET", body=None, **headers):
    """Send a request as nginx does; return the status and the headers of the response."""
    if request_id is not None:
        headers["X-Request-ID"] = request_id
    client.request(method, path, body=body, headers=headers)
    response = client.getresponse()
    response.read()
    return response.status, response.headers


def ids(worker, message, count=1):
    """Return the ids with which the log has a message, when it has that so often."""
    line = re.compile(rf"^\w+ [\w.]+(?: \[(.*?)\])?: {message}", re.MULTILINE)

    def found():  # a line may come after the response
        lines = [line[1] for line in line.finditer(worker.stderr())]
        return lines if len(lines) >= count else None

    return until(found)


def test_every_line_of_a_request_has_its_id(start, listening):
    worker = start(APP, "--block-warn", "0.2", "--drain-timeout", "0").ready()
    with harness.client(listening) as client, harness.client(listening) as other:
        for request_id in (FIRST, SECOND):  # on one connection
            fetch(client, "/logs", request_id)
            fetch(client, "/streams", request_id, "POST", b"abc")
        for message in ("in the handler", "in a task", "in a thread", "at the end",
                        "after the response", "received 3 bytes", "received all"):  # fmt: skip
            assert ids(worker, message, 2) == [FIRST, SECOND], message
        fetch(client, "/fails", FIRST)
        assert ids(worker, "Uncaught exception GET /fails") == [FIRST]
        assert ids(worker, "500 GET /fails") == [FIRST]
        # A response that another request ends.
        other.request("GET", "/waits", headers={"X-Request-ID": SECOND})
        until(lambda: worker.health()[1]["requests_total"] == 6)
        fetch(client, "/ends", FIRST)
        other.getresponse().read()
        assert ids(worker, "404 GET /waits") == [SECOND]
        assert ids(worker, "403 GET /ends") == [FIRST]
        # What blocks the loop, while it lasts and afterwards.
        fetch(client, "/blocks", SECOND)
        assert ids(worker, "the event loop has been blocked") == [SECOND]
        assert ids(worker, "the event loop was blocked") == [SECOND]
        # What comes next on a connection and is no request.
        client.sock.sendall(b"GET\r\n\r\n")
        assert client.sock.recv(100).startswith(b"HTTP/1.1 400")
        client.close()
        assert ids(worker, "Malformed HTTP message") == [None]
        # What is cut at the end of a drain.
        client.request("GET", "/slow", headers={"X-Request-ID": FIRST})
        until(lambda: worker.health()[1]["requests_in_flight"])
        worker.drain()
        worker.wait()
        assert ids(worker, "cut at the end of the drain timeout") == [FIRST]
        assert ids(worker, "draining") == [None]


def test_what_fails_after_its_request_has_its_id_and_never_anothers(start, listening):
    worker = start(APP).ready()
    with harness.client(listening) as client:
        fetch(client, "/outlived", FIRST)
        assert ids(worker, "Exception in callback") == [FIRST]
        fetch(client, "/collects", SECOND)
    # Before 3.12, Python does not say in which context a task ran.
    own = FIRST if sys.version_info >= (3, 12) else None
    assert ids(worker, "Task exception was never retrieved") == [own]


def test_the_messages_of_a_websocket_have_the_id_of_its_request(start, listening):
    worker = start(APP).ready()

    async def talk() -> None:
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}/talks"
        connection = await websocket_connect(HTTPRequest(url, headers={"X-Request-ID": FIRST}))
        await connection.write_message("1")
        assert await connection.read_message() == "heard"
        await harness.hang_up(connection)

    asyncio.run(talk())
    assert ids(worker, "a message") == [FIRST]


def test_only_what_can_be_in_a_line_is_an_id(start, listening):
    worker = start(APP).ready()
    with harness.client(listening) as client:
        fetch(client, "/logs", FIRST)
        for request_id in (None, "", "x" * 65, "\xe4", "a\tb"):
            fetch(client, "/logs", request_id)
    assert ids(worker, "in the handler", 6) == [FIRST, None, None, None, None, None]


def test_an_app_prints_the_id_in_its_own_format(start, listening):
    worker = start("logged:make_app_with_its_own_format").ready()
    with harness.client(listening) as client:
        fetch(client, "/logs", FIRST)
        fetch(client, "/logs")
    until(lambda: worker.stderr().count("after the response") == 2)
    assert f"own: {FIRST} in the handler\n" in worker.stderr()
    assert "own: - in the handler\n" in worker.stderr()


def test_every_response_names_the_release_for_nginxs_log(start, listening):
    start(APP, AROUNDTHEWORLD_RELEASE="0123456789ab").ready()
    with harness.client(listening) as client:
        for path in ("/logs", "/fails", "/nothing"):
            _, headers = fetch(client, path)
            assert headers.get_all("X-Aroundtheworld-Release") == ["0123456789ab"], path


def test_without_a_release_no_response_names_one(start, listening):
    start(APP).ready()
    with harness.client(listening) as client:
        assert "X-Aroundtheworld-Release" not in fetch(client, "/logs")[1]


@pytest.mark.parametrize(
    ("how", "ipv4", "ipv6"),
    [
        ("full", "203.0.113.7", "2001:db8:1:2::7"),
        ("truncated", "203.0.113.0", "2001:db8:1::"),
        ("none", "-", "-"),
    ],
)
def test_what_tornado_logs_has_as_much_of_an_address_as_it_may(start, listening, how, ipv4, ipv6):
    worker = start(APP, "--log-addresses", how).ready()
    with harness.client(listening) as client:
        for address, shown in (("203.0.113.7", ipv4), ("2001:db8:1:2::7", ipv6)):
            fetch(client, "/fails", **{"X-Real-Ip": address})
            worker.wait_logged(f"500 GET /fails ({shown}) ")
            log = worker.stderr()
            assert f"Uncaught exception GET /fails ({shown})\n" in log
            assert f"remote_ip='{shown}')\n" in log
            assert how == "full" or address not in log
        client.request("GET", "/logs", headers={"X-Real-Ip": "203.0.113.7", "Content-Length": "x"})
        assert client.getresponse().status == 400
    worker.wait_logged("Malformed HTTP message from ")
    address = re.search("Malformed HTTP message from (.*?): ", worker.stderr())[1]
    assert how == "full" or address in ("127.0.0.0", "-", ipv4)


@pytest.mark.parametrize(
    ("status", "level", "settings", "written"),
    [
        (200, logging.WARNING, {}, 0),
        (404, logging.WARNING, {}, 1),
        (500, logging.WARNING, {}, 1),
        (200, logging.INFO, {}, 1),
        (200, logging.WARNING, {"log_function": lambda handler: handler._request_summary()}, 1),
    ],
)
def test_tornados_line_about_a_response_is_written_for_who_gets_it(
    status, level, settings, written, monkeypatch, caplog
):
    monkeypatch.setattr(Application, "log_request", Application.log_request)
    logs._write_no_line_that_is_not_kept()
    caplog.set_level(level, "tornado.access")
    handler = Mock(get_status=lambda: status, request=Mock(request_time=lambda: 0.1))
    Application(**settings).log_request(handler)
    assert handler._request_summary.call_count == written
