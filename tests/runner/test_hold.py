"""A held worker is there for those who check it, and for nobody else before POST /accept."""

import select

import harness
from waits import wait_blocked, wait_in_flight


def hold(start, *options):
    return start("sample:make_app", "--hold", *options).ready()


def test_connections_wait_until_it_accepts(start, listening):
    worker = hold(start)
    status, health = worker.health()
    assert (status, health["state"]) == (503, "held")
    assert "STATUS=held until POST /accept" in worker.notified[0][1].splitlines()
    with harness.client(listening) as client:
        client.request("GET", "/")
        assert select.select([client.sock], [], [], 0.3)[0] == []
        assert worker.health()[1]["connections"] == 0
        for _ in ("it changes", "it stays"):
            status, health = worker.accept()
            assert (status, health["state"]) == (200, "ready")
            assert worker.health()[0] == 200
        assert harness.read(client)["pid"] == worker.process.pid
    worker.read_notified(1)
    assert worker.notified[1][1].startswith("STATUS=serving on 127.0.0.1:")


def test_the_worker_on_the_same_socket_gets_everything_meanwhile(start, listening):
    serving, held = start().ready(), hold(start)

    def visitors_see(count: int) -> set[int]:
        seen = set()
        for _ in range(count):
            with harness.client(listening) as client:
                seen.add(harness.get(client)["pid"])
        return seen

    assert visitors_see(30) == {serving.process.pid}
    assert held.accept()[0] == 200
    serving.terminate()
    assert serving.wait() == 0
    assert visitors_see(5) == {held.process.pid}


def test_the_private_socket_answers_for_the_application_before_and_after(start, listening):
    worker = hold(start)
    with harness.private_client(worker.private_app) as client:
        content = harness.get(client, X_Real_Ip="192.0.2.7", X_Forwarded_Proto="https")
        assert content == {
            "pid": worker.process.pid,
            "remote_ip": "192.0.2.7",
            "protocol": "https",
        }
        worker.accept()
        assert harness.get(client)["pid"] == worker.process.pid
        health = worker.health()[1]
    assert (health["connections"], health["requests_total"]) == (0, 0)
    assert set(health["responses"].values()) == {0}
    assert health["latency_seconds"]["count"] == 0


def test_a_blocked_loop_keeps_it_held(start, listening):
    worker = hold(start)
    with harness.private_client(worker.private_app) as private, harness.client(listening) as public:
        private.request("GET", "/blocking?seconds=3")
        wait_blocked(worker)
        public.request("GET", "/")
        status, health = worker.accept()
        assert (status, health["state"], health["busy_in"]) == (503, "held", "Blocking.get")
        assert harness.read(private) == "done"
        # A command that was refused is not carried out later.
        assert select.select([public.sock], [], [], 0.3)[0] == []
        assert worker.accept()[0] == 200
        assert harness.read(public)["pid"] == worker.process.pid


def test_it_ends_at_once_and_leaves_connections_to_the_next(start, listening):
    worker = hold(start, "--linger", "30")
    with harness.client(listening) as waiting:
        waiting.request("GET", "/")
        worker.terminate()
        assert worker.wait(20) == 0
        successor = start().ready()
        assert harness.read(waiting)["pid"] == successor.process.pid


def test_a_worker_that_starts_or_drains_does_not_accept(start, listening):
    worker = start("sample:make_app_slowly")
    worker.wait_state("starting")
    status, health = worker.accept()
    assert (status, health["state"]) == (503, "starting")
    worker.ready()
    with harness.client(listening) as client:
        client.request("GET", "/slow?seconds=2")
        wait_in_flight(worker)
        worker.drain()
        status, health = worker.accept()
        assert (status, health["state"]) == (503, "draining")
        harness.read(client)
