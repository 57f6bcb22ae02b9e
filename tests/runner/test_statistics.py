"""What a worker has counted and measured is what happened."""

import asyncio
import math
import random
import time

import harness
import pytest
from tornado.websocket import websocket_connect
from waits import wait_in_flight

from aroundtheworld_runner.percentiles import percentile
from aroundtheworld_runner.statistics import BOUNDS, PUBLISHED, Histogram


def wait_counted(worker, **expected):
    """Wait for these counts and no others; a response is counted after it was sent."""
    deadline = time.monotonic() + 10
    while True:
        health = worker.health()[1]
        counted = {key: n for key, n in health["responses"].items() if n}
        if counted == expected:
            return health
        assert time.monotonic() < deadline, counted
        time.sleep(0.02)


def send(client, path, method="GET"):
    client.request(method, path)
    response = client.getresponse()
    response.read()
    return response.status


def test_responses_are_counted_by_the_class_of_their_status(start, listening):
    worker = start().ready()
    expected = {
        "/": 200,
        "/answers/204": 204,
        "/answers/302": 302,
        "/answers/304": 304,
        "/nowhere": 404,
        "/fails": 500,
        "/answers/503": 503,
    }
    with harness.client(listening) as client:
        assert {path: send(client, path) for path in expected} == expected
        assert send(client, "/", "HEAD") == 405
    health = wait_counted(worker, **{"2xx": 2, "3xx": 2, "4xx": 2, "5xx": 2})
    assert health["requests_total"] == health["latency_seconds"]["count"] == 8


def test_a_status_that_http_does_not_know_is_counted_too(start, listening):
    worker = start().ready()
    with harness.client(listening) as client:
        assert send(client, "/answers/600") == 600
    wait_counted(worker, **{"6xx": 1})


def test_a_client_that_leaves_makes_an_aborted_request(start, listening):
    worker = start().ready()
    with harness.client(listening) as client:
        client.request("GET", "/slow?seconds=2")
        wait_in_flight(worker)
    wait_counted(worker, aborted=1)
    time.sleep(2)  # the handler has written its response, which nobody reads
    assert wait_counted(worker, aborted=1)["requests_in_flight"] == 0


def test_a_body_that_never_arrives_whole_makes_an_aborted_request(start, listening):
    worker = start().ready()
    with harness.client(listening) as client:
        client.putrequest("POST", "/slow?seconds=0")
        client.putheader("Content-Length", "2")
        client.endheaders(b"x")
        wait_in_flight(worker)
    wait_counted(worker, aborted=1)


def test_less_than_announced_is_an_aborted_request(start, listening):
    worker = start().ready()
    with harness.client(listening) as client:
        client.request("GET", "/cuts-short")
        response = client.getresponse()
        assert response.status == 200
        with pytest.raises(Exception, match="IncompleteRead"):
            response.read()
    wait_counted(worker, aborted=1)


def test_a_websocket_is_a_1xx(start, listening):
    worker = start().ready()

    async def talk() -> None:
        connection = await websocket_connect(f"ws://127.0.0.1:{listening.getsockname()[1]}/echo")
        await connection.write_message("here")
        assert await connection.read_message() == "here"
        wait_counted(worker, **{"1xx": 1})
        await harness.hang_up(connection)

    asyncio.run(talk())
    time.sleep(0.1)
    wait_counted(worker, **{"1xx": 1})


def test_latency_is_that_of_the_handlers(start, listening):
    worker = start().ready()
    with harness.client(listening) as client:
        for _ in range(3):
            harness.get(client)
        harness.get(client, "/slow?seconds=0.3")
    latency = wait_counted(worker, **{"2xx": 4})["latency_seconds"]
    assert latency["count"] == 4
    assert latency["p50"] < 0.3 <= latency["p99"]
    assert latency["sum"] >= 0.3
    assert sum(count for _, count in latency["buckets"]) == 4
    assert latency["buckets"][-1] == [latency["p99"], 1]


def test_a_percentile_is_never_too_low_and_at_most_10_percent_too_high():
    chance = random.Random(1)
    for size in (1, 2, 99, 100, 101, 1000):
        seconds = sorted(
            math.exp(chance.uniform(math.log(0.0005), math.log(60))) for _ in range(size)
        )
        histogram = Histogram()
        for value in seconds:
            histogram.add(value)
        for name, fraction in (("p50", 0.50), ("p99", 0.99)):
            exact = seconds[math.ceil(fraction * size) - 1]
            assert exact <= histogram.describe()[name] <= 1.1001 * exact


@pytest.mark.parametrize(
    ("buckets", "fraction", "expected"),
    [
        ([(0.2, 1), (0.1, 99)], 0.99, 0.1),
        ([(0.2, 1), (0.1, 99)], 0.991, 0.2),
        ([(0.1, 0), (0.2, 1), (0.4, 0)], 0.01, 0.2),
        ([(0.1, 0)], 0.5, None),
        ([], 0.5, None),
    ],
)
def test_a_percentile_is_the_bound_of_a_bucket_that_is_not_empty(buckets, fraction, expected):
    assert percentile(buckets, fraction) == expected


@pytest.mark.parametrize(("seconds", "bound"), [(0.0, 0.0005), (0.0005, 0.0005), (3600, 60)])
def test_what_lies_outside_the_buckets_is_in_the_outermost(seconds, bound):
    histogram = Histogram()
    histogram.add(seconds)
    assert histogram.describe()["p99"] == bound
    assert (BOUNDS[0], BOUNDS[-1]) == (0.0005, 60)


def test_the_buckets_for_prometheus_are_exact():
    chance = random.Random(2)
    seconds = [*PUBLISHED, *(math.exp(chance.uniform(-9, 5)) for _ in range(500))]
    histogram = Histogram()
    for value in seconds:
        histogram.add(value)
    assert histogram.cumulative() == [
        (bound, sum(value <= bound for value in seconds)) for bound in (*PUBLISHED, math.inf)
    ]


def test_what_was_described_can_be_restored():
    histogram = Histogram()
    for value in (0.001, 0.3, 0.3, 100):
        histogram.add(value)
    described = histogram.describe()
    other = Histogram()
    other.add(2.0)
    other.restore(described["buckets"], described["sum"], histogram.max)
    histogram.add(2.0)
    assert (other.describe(), other.max) == (histogram.describe(), 100)
    with pytest.raises(ValueError, match="not in"):
        other.restore([(0.123, 1)], 0.123, 0.123)
