"""An event loop that is blocked: whom it hurts, what the journal says, and what ends it."""

import concurrent.futures
import json
import re
import time
import urllib.error
import urllib.request

import pytest

WATCHDOG = 10  # seconds, of the public pool


@pytest.fixture(scope="module", autouse=True)
def _plain(ansible_playbook):
    """Have the host run the app as it is."""
    assert ansible_playbook().returncode == 0


@pytest.fixture
def ask(http):
    """Return a function that sends a GET and return a future of its status."""
    with concurrent.futures.ThreadPoolExecutor() as pool:

        def status(path):
            try:
                with urllib.request.urlopen(http + path, timeout=60) as answer:
                    return answer.status
            except urllib.error.HTTPError as error:
                return error.code

        yield lambda path: pool.submit(status, path)


@pytest.fixture
def journal(host):
    """Return a function that finds what the workers' journal says of a text since a time.

    Returns pairs of when and what, with the lines of the same second that follow.
    """

    def entries(text, since):
        output = host.check_output(
            "journalctl --unit='aroundtheworld@*' --output=json --since=@%s --no-pager",
            str(int(since)),
        )
        all_of_them = [json.loads(line) for line in output.splitlines()]
        found = []
        for number, entry in enumerate(all_of_them):
            when = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
            if when >= since and text in str(entry["MESSAGE"]):
                lines = [str(other["MESSAGE"]) for other in all_of_them[number : number + 30]]
                found.append((when, "\n".join(lines)))
        return found

    return entries


@pytest.fixture
def advice(ansible_playbook):
    """Return a function that runs the adviser: routes by pattern and pool, advice by pattern."""

    def ask():
        run = ansible_playbook("--tags", "advise", "-e", "aroundtheworld_advise_format=json")
        assert (run.returncode, run.changed) == (0, 0)
        (answer,) = (json.loads(line) for line in run.output.splitlines() if line[:7] == '{"host"')
        routes = {(route["route"], route["pool"]): route for route in answer["routes"]}
        return routes, {advice["route"]: advice for advice in answer["advice"]}

    return ask


def restarts(host, port):
    command = "systemctl show --property=NRestarts --value aroundtheworld@%s"
    return int(host.check_output(command, str(port)))


@pytest.mark.measures
def test_one_blocked_loop_keeps_no_visitor_waiting(load, ask, journal, at_most, measured):
    rate = 200 if measured else 60
    with load(rate, "--slow=0") as ledger:
        time.sleep(3)
        begun = time.time()
        blocked = ask("/block?seconds=5")
        time.sleep(9)
        assert blocked.result() == 200

    public = ledger.of("get", "get fresh", "post", "post fresh")
    while_blocked = public.between((begun, begun + 5))
    assert len(while_blocked) > 5 * rate * 0.7
    slow = [row for row in while_blocked.rows if row["seconds"] > 0.5]
    print(f"{len(slow)} of {len(while_blocked)} public requests took longer than 500 ms")
    at_most(len(slow), 0.01 * len(while_blocked))
    assert not public.failed()

    (first, message), *more = journal("has been blocked for", begun)
    assert not more
    print(f"in the journal after {first - begun:.2f} s")
    assert first - begun < 2
    assert "by Block.get, route /block (GET /block), still in:" in message
    assert 'atlas.py", line ' in message
    ((_, ended),) = journal("was blocked for", begun)
    assert 5 <= float(re.search(r"was blocked for ([\d.]+) s", ended)[1]) < 6


def test_what_stays_blocked_is_restarted_but_not_in_the_blocking_pool(
    host, ask, journal, site, advice
):
    before = {port: (worker["pid"], restarts(host, port)) for port, worker in site.workers.items()}
    begun = time.time()
    public, admin = ask("/block?seconds=60"), ask("/admin/block?seconds=20")
    assert public.result() == 502
    took = time.time() - begun
    print(f"ended after {took:.1f} s")
    assert took < WATCHDOG + 2
    assert admin.result() == 200

    after = {port: (worker["pid"], restarts(host, port)) for port, worker in site.workers.items()}
    (port,) = (port for port in before if after[port] != before[port])  # not each in turn
    assert port != 10004
    assert after[port][1] == before[port][1] + 1
    assert {worker["state"] for worker in site.workers.values()} == {"ready"}

    ((_, saved),) = journal("systemd ends this worker in", begun)
    assert "by Block.get, route /block (GET /block), still in:" in saved
    assert 'atlas.py", line ' in saved
    assert journal(f"aroundtheworld@{port}.service: Watchdog timeout", begun)

    # What the watchdog ended is known to the adviser, though its worker could not tell any more.
    routes, _ = advice()
    assert 5.5 < routes["/block", "public"]["max"] < WATCHDOG + 1
    assert routes["/admin/block", "admin"]["max"] > 19


def test_the_adviser_says_where_what_blocks_belongs(ansible_playbook, ask, advice):
    for path in ("/block?seconds=0.3", "/block?seconds=0.4", "/", "/admin/block?seconds=0.3"):
        assert ask(path).result() == 200
    routes, advised = advice()
    blocked = routes["/block", "public"]
    assert blocked["requests"] >= 2
    assert blocked["logged"] >= 2
    assert blocked["p99"] >= 0.3
    assert routes["/", "public"]["requests"] >= 1
    assert advised["/block"]["to"] == "admin"
    assert advised["/block"]["lines"] == {"admin": "paths: [/admin, /block]"}
    assert "/admin/block" not in advised

    run = ansible_playbook("--tags", "advise", "--check")
    assert (run.returncode, run.changed) == (0, 0)
    assert "    paths: [/admin, /block]" in run.output.splitlines()
