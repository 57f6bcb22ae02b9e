"""A worker knows for how long each route holds its loop, and logs a block while it lasts.

On a busy machine everything takes longer, and nothing takes less: what is measured is at least
what was slept, and at most what went by for the test or what would be measured wrongly.
"""

import asyncio
import contextlib
import json
import re
import signal
import threading
import time

import harness
import pytest
from tornado.websocket import websocket_connect

from tests.waiting import until

APP = "routed:make_app"


@contextlib.contextmanager
def requested(listening, path):
    """Send a request, and read the response only at the end."""
    with harness.client(listening) as client:
        client.request("GET", path)
        yield client
        client.getresponse().read()


def get(listening, *paths):
    with harness.client(listening) as client:
        for path in paths:
            client.request("GET", path)
            client.getresponse().read()


def holds(worker, route, count=1):
    """Return for how long a route held the loop, when it has had this many requests."""

    def read():
        found = worker.routes().get(route, {"holds": {"count": 0}})["holds"]
        return found if found["count"] >= count else None

    found = until(read)  # a response arrives before its handler has finished
    assert found["count"] == count
    return found


def blocks(worker):
    """Return for how many seconds it says that its loop was blocked, each time."""
    return [float(found) for found in re.findall(r"was blocked for ([0-9.]+) s", worker.stderr())]


# --- what is measured -----------------------------------------------------------------------------


def test_requests_are_grouped_by_the_rule_that_they_matched(start, listening):
    worker = start(APP).ready()
    get(listening, "/items/1", "/items/2?seconds=0.05", "/things/a/1", "/nothing", "/awaits")
    holds(worker, "/awaits")
    assert {
        (route["route"], route["handler"]): route["holds"]["count"]
        for route in worker.routes().values()
    } == {
        ("/items/([0-9]+)", "routed.Item"): 2,
        ("/things/([a-z]+)/([0-9]+)", "routed.Item"): 1,
        ("", "tornado.web.ErrorHandler"): 1,
        ("/awaits", "routed.Awaits"): 1,
    }


def test_an_application_below_a_router_has_routes_too(start, listening):
    worker = start("routed:make_router").ready()
    get(listening, "/inner/1", "/inner/2")
    holds(worker, "/inner/([0-9]+)", 2)
    with harness.client(listening) as client:
        harness.get(client, "/named/1", Host="example.org")
    holds(worker, "/named/([0-9]+)")


@pytest.mark.parametrize("path", ["/items/1?seconds=0.3", "/prepares?seconds=0.3"])
def test_a_request_is_measured_for_as_long_as_it_holds_the_loop(start, listening, path):
    worker = start(APP).ready()
    began = time.monotonic()
    get(listening, path)
    (route,) = until(lambda: worker.routes().values())
    assert 0.3 <= route["holds"]["max"] <= time.monotonic() - began
    assert 0.3 <= route["blocked_seconds"] <= time.monotonic() - began


def test_waiting_does_not_hold_the_loop(start, listening):
    worker = start(APP).ready()
    get(listening, "/awaits?wait=0.7&before=0.3&after=0.4")
    measured = holds(worker, "/awaits")
    assert 0.4 <= measured["max"] < 0.7  # the longest step, because so long others had to wait
    assert 0.7 <= worker.routes()["/awaits"]["blocked_seconds"] < 1.4  # both


def test_what_a_handler_does_after_its_response_is_its_own(start, listening):
    worker = start(APP).ready()
    with harness.client(listening) as client:
        client.request("POST", "/uploads?seconds=0.3", body=b"x")
        client.getresponse().read()
    assert 0.3 <= holds(worker, "/uploads")["max"] < 0.5


def test_a_client_that_leaves_does_not_spoil_it(start, listening):
    worker = start(APP).ready()
    with harness.client(listening) as client:
        client.request("GET", "/awaits?before=0.1&wait=0.3&after=0.1")
        time.sleep(0.15)
    assert 0.1 <= holds(worker, "/awaits")["max"] < 0.4


@pytest.mark.parametrize("path", ["/old-style", "/starts"])
def test_what_goes_on_outside_the_handlers_coroutine_is_seen_too(start, listening, path):
    # Where it began is known from the last beat only, so up to 0.25 s of it are not seen.
    worker = start(APP, "--block-warn", "0.4").ready()
    began = time.monotonic()
    get(listening, f"{path}?seconds=1.2")
    worker.wait_logged("the event loop was blocked for")
    assert 0.9 < worker.routes()[path]["holds"]["max"] < time.monotonic() - began
    assert 0.9 < worker.routes()[path]["blocked_seconds"] < time.monotonic() - began


def test_every_message_of_a_websocket_counts(start, listening):
    worker = start(APP).ready()

    async def talk() -> None:
        connection = await websocket_connect(f"ws://127.0.0.1:{listening.getsockname()[1]}/talks")
        for seconds in ("0.3", "0.4"):
            await connection.write_message(seconds)
            assert await connection.read_message() == "done"
            await asyncio.sleep(0.1)  # or the next message is there before the loop turns
        await asyncio.sleep(0.6)  # not closed, and yet known
        route = worker.routes()["/talks"]
        assert route["websocket"]
        assert 0.4 <= route["holds"]["max"] < 0.7
        assert 0.7 <= route["blocked_seconds"] < 1.4
        assert "aroundtheworld_worker_websockets 1" in metrics(worker)
        await harness.hang_up(connection)

    asyncio.run(talk())
    until(lambda: "aroundtheworld_worker_websockets 0" in metrics(worker))


def test_who_checks_the_process_is_not_counted(start):
    worker = start(APP).ready()
    with harness.private_client(worker.private_app) as client:
        harness.get(client, "/items/1")
    assert worker.routes() == {}


# --- a block is logged while it lasts -------------------------------------------------------------


def test_a_block_is_logged_while_it_lasts_and_when_it_ends(start, listening):
    worker = start(APP, "--block-warn", "1").ready()
    with requested(listening, "/items/7?seconds=2.5&token=secret"):
        worker.wait_logged("has been blocked for")
        worker.wait_logged("in pause")
        log = worker.stderr()
        assert blocks(worker) == []  # it lasts still
        assert re.search(
            r"WARNING aroundtheworld_runner.blocking: the event loop has been blocked for "
            r"[12]\.\d s by Item\.get, route /items/\(\[0-9\]\+\) \(GET /items/7\), still in:",
            log,
        )
        # The stack: the handler's own frames, the innermost last, and nothing of the loop's.
        frames = re.findall(r'File ".*/(\w+)\.py", line \d+, in (\w+)', log)
        assert frames == [("web", "_execute"), ("routed", "get"), ("routed", "pause")]
        assert "secret" not in log
    (seconds,) = until(lambda: blocks(worker))
    assert seconds >= 2.5
    assert worker.stderr().count("has been blocked for") == 1


def test_a_block_that_lasts_is_logged_again_when_it_has_become_ten_times_as_long(start, listening):
    worker = start(APP, "--block-warn", "0.1").ready()
    get(listening, "/items/1?seconds=3")
    worker.wait_logged("was blocked for")
    assert worker.stderr().count("has been blocked for") == 2


def test_every_block_is_logged(start, listening):
    worker = start(APP, "--block-warn", "0.3").ready()
    with requested(listening, "/items/1?seconds=0.8"), requested(listening, "/awaits?before=0.9"):
        pass
    until(lambda: len(blocks(worker)) == 2)
    log = worker.stderr()
    assert log.index("by Item.get") < log.index("by Awaits.get")
    assert log.count("has been blocked for") == 2
    first, second = blocks(worker)
    assert (first >= 0.8, second >= 0.9) == (True, True)


def test_blocks_that_nobody_minds_are_not_logged(start, listening):
    worker = start(APP, "--block-warn", "0").ready()
    get(listening, "/items/1?seconds=1.5")
    assert holds(worker, "/items/([0-9]+)")["max"] >= 1.5
    time.sleep(0.5)
    assert "blocked" not in worker.stderr()


def test_short_blocks_are_not_logged(start, listening):
    worker = start(APP, "--block-warn", "2").ready()
    get(listening, "/items/1?seconds=0.8", "/awaits?before=0.8", "/awaits?before=0.8")
    time.sleep(0.5)
    assert "blocked" not in worker.stderr()


def test_a_block_outside_any_request_has_a_name_too(start, listening):
    worker = start("sample:make_app", "--block-warn", "0.3").ready()
    with harness.client(listening) as client:
        harness.get(client, "/blocks-afterwards")
    worker.wait_logged("was blocked for")
    assert re.search(r"blocked for 0\.\d s by sample\.pause, still in:", worker.stderr())
    assert 0.7 < worker.routes()["sample.pause"]["holds"]["max"] < 1.1


# --- the watchdog ---------------------------------------------------------------------------------


def test_the_stack_is_saved_before_the_watchdog_ends_the_worker(start, listening):
    worker = start(APP, "--block-warn", "0", WATCHDOG_USEC="1500000").ready()
    with contextlib.suppress(OSError), requested(listening, "/items/1?seconds=5"):
        worker.wait_logged("systemd ends this worker in 0.")
        assert "by Item.get, route /items/" in worker.stderr()
        assert ", in pause" in worker.stderr()
        # As systemd does, whose last sign of life was a third of the time before the block at most.
        worker.process.send_signal(signal.SIGABRT)
        assert worker.wait() == -signal.SIGABRT
    assert worker.stderr().count("systemd ends this worker") == 1
    # And what it was that ended it is not forgotten.
    saved = json.loads(worker.control.with_suffix(".routes").read_text())["routes"]
    (item,) = (route for route in saved if route["route"] == "/items/([0-9]+)")
    assert 0.5 < item["holds"]["max"] < 5
    assert item["holds"]["count"] == 1


def test_code_that_lets_no_thread_look_leaves_its_stack_to_the_watchdog(start, listening):
    worker = start(APP, WATCHDOG_USEC="1500000").ready()
    with contextlib.suppress(OSError), requested(listening, "/spins"):
        time.sleep(0.5)
        worker.process.send_signal(signal.SIGABRT)
        assert worker.wait() == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in worker.stderr()
    assert re.search(r'routed\.py", line \d+ in get', worker.stderr())


def test_a_worker_that_turns_again_in_time_is_logged_and_lives(start, listening):
    worker = start(APP, "--block-warn", "0", WATCHDOG_USEC="1500000").ready()
    get(listening, "/items/1?seconds=1.3")
    assert holds(worker, "/items/([0-9]+)")["max"] >= 1.3
    assert worker.wait_notified("WATCHDOG=1")


# --- what outlives a restart ----------------------------------------------------------------------


def test_a_worker_goes_on_counting_where_the_one_before_it_stopped(start, listening, directory):
    worker = start(APP, AROUNDTHEWORLD_RELEASE="first").ready()
    get(listening, "/items/1?seconds=0.2", "/items/2")
    before = holds(worker, "/items/([0-9]+)", 2)
    worker.terminate()
    assert worker.wait() == 0
    (directory / "w1.routes").rename(directory / "w2.routes")
    worker = start(APP, AROUNDTHEWORLD_RELEASE="first").ready()
    assert holds(worker, "/items/([0-9]+)", 2) == before
    get(listening, "/items/3")
    assert holds(worker, "/items/([0-9]+)", 3)["max"] == before["max"]


@pytest.mark.parametrize(
    "content",
    [
        '{"release": "another", "since": 1, "routes": []}',
        "not JSON",
        "[]",
        '{"release": "first"}',
        '{"release": "first", "since": 1, "routes": [{"route": "/", "handler": "x", '
        '"websocket": false, "blocked_seconds": 1, '
        '"holds": {"buckets": [[7, 7]], "sum": 1, "max": 1}}]}',
    ],
)
def test_what_is_of_another_release_or_makes_no_sense_is_forgotten(start, directory, content):
    (directory / "w1.routes").write_text(content)
    worker = start(APP, AROUNDTHEWORLD_RELEASE="first").ready()
    assert worker.routes() == {}
    assert worker.stderr().count("\n") == 1


def test_routes_that_cannot_be_saved_do_not_keep_a_worker(start, directory):
    (directory / "w1.routes.new").mkdir()
    worker = start(APP).ready()
    worker.terminate()
    assert worker.wait() == 0
    assert f"cannot write {directory}/w1.routes: Is a directory" in worker.stderr()


# --- metrics --------------------------------------------------------------------------------------


def metrics(worker):
    response = harness.request_raw(worker.control, "/metrics")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return response.text


def samples(text):
    """Return names with labels to values, having checked the format."""
    found = {}
    family = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
        elif line.startswith("# TYPE "):
            assert line.split()[2] == family
            assert line.split()[3] in {"gauge", "counter", "histogram"}
        else:
            match = re.fullmatch(
                r'(\w+)(\{\w+="(?:[^"\\]|\\.)*"(?:,\w+="(?:[^"\\]|\\.)*")*\})? (\S+)', line
            )
            assert match, line
            assert match[1].removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") in {
                family,
                match[1],
            }
            found[match[1].removeprefix("aroundtheworld_worker_") + (match[2] or "")] = float(
                match[3]
            )
    return found


def test_metrics_say_what_happened(start, listening):
    begun = time.time()
    worker = start(APP, AROUNDTHEWORLD_RELEASE="2f6c", AROUNDTHEWORLD_CONFIG='9"1\\a\nb').ready()
    get(listening, "/items/1?seconds=0.3", "/nothing", "/awaits?wait=0.2")
    holds(worker, "/awaits")
    with requested(listening, "/awaits?wait=1"):
        time.sleep(0.3)
        found = samples(metrics(worker))
    info = next(name for name in found if name.startswith("info"))
    assert r'release="2f6c",config="9\"1\\a\nb",python="3.' in info
    assert found["ready"] == 1
    assert begun - 1 < found["start_time_seconds"] < begun + 5
    assert found['requests_total{code="200"}'] == 2
    assert found['requests_total{code="404"}'] == 1
    assert found["requests_aborted_total"] == 0
    assert found["requests_in_flight"] == 1
    assert found["connections"] == 1
    assert found['request_duration_seconds_bucket{le="0.1"}'] <= 1
    assert found['request_duration_seconds_bucket{le="1"}'] == 3
    assert found['request_duration_seconds_bucket{le="+Inf"}'] == 3
    assert found["request_duration_seconds_count"] == 3
    assert 0.5 <= found["request_duration_seconds_sum"] < time.time() - begun
    assert found["loop_lag_seconds_count"] >= 2
    assert found['loop_blocked_seconds_total{handler="routed.Item"}'] >= 0.3
    assert found["loop_busy_seconds"] == 0
    assert 0.05 < found["cpu_seconds_total"] < 5
    assert 10e6 < found["resident_memory_bytes"] < 200e6


def test_metrics_come_while_the_loop_is_blocked(start, listening):
    worker = start(APP).ready()
    with requested(listening, "/items/1?seconds=2"):
        busy = until(lambda: samples(metrics(worker))["loop_busy_seconds"])
        assert 0.5 <= busy < 2
    until(lambda: samples(metrics(worker))["loop_busy_seconds"] == 0)
    found = samples(metrics(worker))
    assert (
        found['loop_lag_seconds_bucket{le="+Inf"}'] - found['loop_lag_seconds_bucket{le="1"}'] == 1
    )


def test_a_worker_that_starts_has_metrics_too(start):
    worker = start("slow_import:make_app")
    worker.wait_state("starting")
    assert samples(metrics(worker))["ready"] == 0


def test_many_may_ask_at_once(start, listening):
    worker = start(APP).ready()
    answers = []
    askers = [
        threading.Thread(target=lambda: answers.append(samples(metrics(worker)))) for _ in range(8)
    ]
    for asker in askers:
        asker.start()
    get(listening, *(f"/items/{n}" for n in range(200)))
    for asker in askers:
        asker.join()
    assert len(answers) == 8
