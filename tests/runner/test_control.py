"""The private sockets: who may open them, and what the control socket answers."""

import select
import socket
import stat
import time

import harness
import pytest
from waits import wait_blocked, wait_health, wait_in_flight

from aroundtheworld_runner import heartbeat


def test_a_blocked_worker_reports_what_blocks_it(start, listening):
    worker = start().ready()
    with harness.client(listening) as client:
        client.request("GET", "/blocking?seconds=2")
        wait_blocked(worker)
        status, health = worker.health()
        assert select.select([client.sock], [], [], 0)[0] == [], "it blocks no longer"
        assert harness.read(client) == "done"
        assert (status, health["busy_in"]) == (200, "Blocking.get")
        assert 0.5 <= health["busy_seconds"] <= 2
        assert health["loop_lag_seconds"]["max"] < 1
        assert (health["requests_in_flight"], health["requests_total"]) == (1, 1)
        wait_in_flight(worker, 0)
        health = wait_health(worker, lambda health: health["loop_lag_seconds"]["max"] > 1)
        assert (health["busy_seconds"], health["busy_in"]) == (0.0, None)
        assert (health["connections"], health["requests_in_flight"]) == (1, 0)
        # The pause until the next beat had begun some time before the block.
        assert health["loop_lag_seconds"]["max"] >= 2 - heartbeat.INTERVAL
        assert health["loop_lag_seconds"]["p99"] > 1  # of the few beats until now


def test_a_block_outside_any_handler_has_a_name_too(start, listening):
    worker = start().ready()
    with harness.client(listening) as client:
        harness.get(client, "/blocks-afterwards?seconds=2")
        assert wait_blocked(worker)["busy_in"] == "sample.pause"


def test_no_search_for_garbage_looks_at_what_was_there_before_the_first_request(start, listening):
    start().ready()
    with harness.client(listening) as client:
        assert int(harness.get(client, "/collected")) < 5_000  # else five times as many


def test_it_answers_while_the_application_is_still_being_imported(start):
    worker = start("slow_import:make_app")
    worker.wait_state("starting")
    wait_blocked(worker)
    status, health = worker.health()
    assert (status, health["state"], health["busy_in"]) == (503, "starting", "slow_import.<module>")
    worker.ready()
    time.sleep(2 * heartbeat.INTERVAL)
    status, health = worker.health()
    assert status == 200
    assert health["loop_lag_seconds"]["max"] < 1  # nobody had to wait because of the import


def test_a_draining_worker_is_not_healthy(start, listening):
    worker = start().ready()
    with harness.client(listening) as client:
        client.request("GET", "/slow?seconds=2")
        wait_in_flight(worker)
        worker.drain()
        status, health = worker.health()
        assert (status, health["state"], health["requests_in_flight"]) == (503, "draining", 1)
        harness.read(client)


def test_a_silent_client_does_not_delay_others_nor_the_end(start):
    worker = start().ready()
    with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as half:
        silent.connect(str(worker.control))
        half.connect(str(worker.control))
        half.sendall(b"GET /hea")
        assert worker.health()[0] == 200
        worker.terminate()
        assert worker.wait(4) == 0  # the socket gives up a silent client after five seconds


def test_an_unknown_path_is_answered_with_the_known_ones(start):
    worker = start().ready()
    assert harness.request(worker.control, "/nothing") == (
        404,
        {
            "error": "no GET /nothing",
            "known": [
                "GET /health",
                "GET /metrics",
                "GET /routes",
                "POST /accept",
                "POST /end-streams",
            ],
        },
    )


def test_a_get_does_not_end_the_hold(start):
    assert harness.request(start("sample:make_app", "--hold").ready().control, "/accept")[0] == 404


def test_only_the_owner_may_connect_and_the_sockets_go_with_the_worker(start):
    worker = start().ready()
    for path in (worker.control, worker.private_app):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    worker.terminate()
    assert worker.wait() == 0
    assert not worker.control.exists()
    assert not worker.private_app.exists()


def test_sockets_left_by_a_killed_worker_are_replaced(start, directory):
    for name in ("w1.control", "w1.app"):
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(directory / name))
    worker = start().ready()
    assert worker.health()[0] == 200
    with harness.private_client(worker.private_app) as client:
        assert harness.get(client)["pid"] == worker.process.pid


def test_sockets_that_a_later_worker_has_put_there_stay(start, directory):
    worker = start().ready()
    for path in (worker.control, worker.private_app):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as later:
            later.bind(str(path))
    worker.terminate()
    assert worker.wait() == 0
    assert worker.control.exists()
    assert worker.private_app.exists()


@pytest.mark.parametrize("name", ["w1.control", "w1.app"])
def test_a_file_in_their_place_is_not_removed(start, directory, name):
    (directory / name).write_text("precious")
    worker = start()
    assert worker.wait() == 1
    assert (directory / name).read_text() == "precious"
    assert worker.stderr() == (
        f"CRITICAL aroundtheworld_runner: cannot start: the socket {directory / name} "
        "cannot be made: something else is there, which is not removed\n"
    )
