"""What systemd passes to a worker, and what the worker notifies it of."""

import json
import socket
import time

import harness
import pytest
from waits import wait_blocked

from aroundtheworld_runner import systemd


def test_ready_is_notified_when_the_application_is_there_and_served(start, listening):
    worker = start("sample:make_app_slowly")
    began = time.monotonic()
    ready = worker.wait_notified("READY=1")
    assert ready - began > 0.5
    with harness.client(listening) as client:
        assert harness.get(client)["pid"] == worker.process.pid
    assert "STATUS=serving on 127.0.0.1:" in worker.notified[0][1]


def test_a_worker_that_cannot_start_is_never_ready(start):
    worker = start("sample:make_trouble")
    assert worker.wait() == 1
    worker.read_notified(0)
    assert worker.notified == []
    assert worker.stderr().splitlines()[-1] == (
        "CRITICAL aroundtheworld_runner: cannot start: "
        "make_trouble() failed: ValueError: COOKIE_SECRET_FILE is not set"
    )


def test_a_factory_that_returns_no_application_is_named(start):
    worker = start("sample:make_nothing")
    assert worker.wait() == 1
    assert (
        "make_nothing() must return a tornado.web.Application, "
        "but returned an object of type NoneType" in worker.stderr()
    )


def test_programs_that_the_application_starts_get_no_sockets(start, listening):
    start().ready()
    with harness.client(listening) as client:
        assert harness.get(client, "/environment") == {"announced": [], "inheritable": False}


def test_every_passed_socket_is_served(start, directory, listening):
    path = directory / "http.sock"
    sockets = [listening, harness.listener(socket.AF_UNIX, str(path))]
    if socket.has_ipv6:
        sockets.append(harness.listener(socket.AF_INET6, ("::1", 0)))
    start(sockets=sockets).ready()
    for sock in sockets:
        with socket.socket(sock.family) as connection:
            connection.settimeout(5)
            connection.connect(sock.getsockname())
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 OK")
    for sock in sockets[1:]:
        sock.close()


def test_sockets_for_another_process_are_not_taken(start):
    worker = start(LISTEN_PID="1")
    assert worker.wait() == 2
    assert "there is no socket to serve" in worker.stderr()


def test_a_socket_that_does_not_listen_is_refused(start):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        worker = start(sockets=[datagram])
        assert worker.wait() == 2
    assert "file descriptor 3 from systemd is not a listening stream socket" in worker.stderr()


def test_the_proxys_headers_about_the_client_are_believed(start, listening):
    start().ready()
    with harness.client(listening) as client:
        content = harness.get(client, X_Real_Ip="192.0.2.7", X_Forwarded_Proto="https")
    assert (content["remote_ip"], content["protocol"]) == ("192.0.2.7", "https")


def test_only_the_loop_gives_the_watchdog_signs_of_life(start, listening):
    worker = start(WATCHDOG_USEC="600000").ready()
    while [message for _, message in worker.notified].count("WATCHDOG=1") < 2:
        assert worker.read_notified(5)
    with harness.client(listening) as client:
        client.request("GET", "/blocking?seconds=2")
        wait_blocked(worker)
        while worker.read_notified(0):
            pass
        assert not worker.read_notified(0.5)
        assert harness.read(client) == "done"
    assert worker.read_notified(5)


def test_a_block_that_ends_long_before_the_watchdog_is_not_logged_as_the_end(start, listening):
    worker = start("sample:make_app", "--block-warn", "0.6", WATCHDOG_USEC="4000000").ready()
    while [message for _, message in worker.notified].count("WATCHDOG=1") < 3:
        assert worker.read_notified(10)  # the last sign of life counts, not the first
    with harness.client(listening) as client:
        harness.get(client, "/blocking?seconds=1.2")
    worker.wait_logged("the event loop was blocked for")
    assert "systemd ends this worker" not in worker.stderr()


def test_every_line_for_the_journal_has_its_level(start):
    worker = start("sample:make_trouble", JOURNAL_STREAM="stderr")
    assert worker.wait() == 1
    lines = worker.stderr().splitlines()
    assert "<3>Traceback (most recent call last):" in lines
    assert all(line.startswith("<3>") for line in lines[:-1])
    assert lines[-1].startswith("<2>aroundtheworld_runner: cannot start: ")


def test_levels_are_for_the_journal_only(start):
    worker = start("sample:make_trouble", JOURNAL_STREAM="1:1")
    assert worker.wait() == 1
    assert "<3>" not in worker.stderr()


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_notify_reaches_both_kinds_of_address(kind, directory, monkeypatch):
    address = f"{directory}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address if kind == "path" else f"\0{address}")
        monkeypatch.setenv("NOTIFY_SOCKET", address if kind == "path" else f"@{address}")
        assert systemd.notify("READY=1", "STATUS=here")
        assert manager.recv(100) == b"READY=1\nSTATUS=here"


def test_notify_without_a_service_manager_does_nothing(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not systemd.notify("READY=1")


def test_notify_that_cannot_be_delivered_is_logged(directory, monkeypatch, caplog):
    monkeypatch.setenv("NOTIFY_SOCKET", str(directory / "nobody"))
    assert not systemd.notify("READY=1")
    assert "cannot notify the service manager of READY=1" in caplog.text


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "2500000"}, 2.5),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_watchdog_seconds(variables, seconds, monkeypatch):
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert systemd.watchdog_seconds() == seconds


def test_health_describes_the_worker(start):
    worker = start(
        AROUNDTHEWORLD_POOL="public",
        AROUNDTHEWORLD_PORT="10001",
        AROUNDTHEWORLD_RELEASE="2f6c",
        AROUNDTHEWORLD_CONFIG="91ab",
    ).ready()
    status, health = worker.health()
    assert status == 200
    assert health.pop("uptime_seconds") > 0
    assert health.pop("loop_lag_seconds").keys() == {"max", "p99"}
    assert json.loads(json.dumps(health)) == {
        "state": "ready",
        "pid": worker.process.pid,
        "pool": "public",
        "port": 10001,
        "release": "2f6c",
        "config": "91ab",
        "connections": 0,
        "requests_in_flight": 0,
        "requests_total": 0,
        "responses": {"1xx": 0, "2xx": 0, "3xx": 0, "4xx": 0, "5xx": 0, "aborted": 0},
        "latency_seconds": {"count": 0, "sum": 0.0, "p50": None, "p99": None, "buckets": []},
        "busy_seconds": 0.0,
        "busy_in": None,
    }
