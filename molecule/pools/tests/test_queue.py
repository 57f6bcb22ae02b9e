"""Workers without ports, which take letters from a queue in the database."""

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.waiting import until

pytestmark = pytest.mark.once

CHECKOUT = Path(__file__).resolve().parents[3]
VARIABLES = CHECKOUT / "inventory" / "guestbook-queue" / "group_vars" / "aroundtheworld.yml"
POOLS = yaml.safe_load(VARIABLES.read_text())["aroundtheworld_pools"]
PUBLIC, POST, _ = POOLS
WORKERS = ["aroundtheworld@post-1.service", "aroundtheworld@post-2.service"]

# Prints what a statement finds in the database, as the site's user.
ASK = """
import json, os, sqlite3, sys
connection = sqlite3.connect(os.environ["DATABASE"], timeout=10)
with connection:
    print(json.dumps(connection.execute(sys.argv[1]).fetchall()))
"""


@pytest.fixture
def ask(host):
    """Return what asks the database."""
    return lambda sql: json.loads(host.check_output("aroundtheworld-run python -c %s %s", ASK, sql))


@pytest.fixture
def queue(have):
    """Have the example on the host as it is."""
    have("queue")


def shown(host, unit, *properties):
    """Return properties of a unit."""
    out = host.check_output("systemctl show -p %s %s", ",".join(properties), unit)
    return dict(line.split("=", 1) for line in out.splitlines())


def post(ask, count):
    """Put letters into the queue, and nothing else."""
    ask("DELETE FROM letter")
    values = ",".join("('ada')" for _ in range(count))
    ask(f"INSERT INTO letter (guest) VALUES {values}")


@pytest.mark.usefixtures("queue")
def test_a_visitor_gives_work_that_a_worker_does(host, visitor, ask):
    ask("DELETE FROM letter")
    visitor.ask("/sign-in", "POST", {"name": "ada"})
    assert visitor.ask("/", "POST", {"words": "How fine!"})[0] == 201
    until(
        lambda: ask("SELECT guest, begun, done FROM letter"), lambda found: found == [["ada", 1, 1]]
    )
    for number, unit in enumerate(WORKERS, start=1):
        assert host.service(unit).is_running
        assert host.service(unit).is_enabled
        pid = shown(host, unit, "MainPID")["MainPID"]
        variables = host.file(f"/proc/{pid}/environ").content_string.split("\0")
        assert f"AROUNDTHEWORLD_PROCESS={number}" in variables
        assert not [each for each in variables if each.startswith(("AROUNDTHEWORLD_PORT", "HOLD"))]
        # Its secrets are there for it, and for nobody else.
        secret = next(each for each in variables if each.startswith("COOKIE_SECRET_FILE="))
        path = f"/proc/{pid}/root{secret.partition('=')[2]}"
        assert len(host.file(path).content_string) > 20
    nginx = host.check_output("cat /etc/nginx/sites-enabled/aroundtheworld.conf")
    assert "post" not in nginx


@pytest.mark.usefixtures("queue")
def test_they_are_in_the_sandbox_and_yield(host):
    score = host.check_output(
        "systemd-analyze security --no-pager %s | sed -n 's/.*exposure level.*: //p'", WORKERS[0]
    )
    assert float(score.split()[0]) <= 1.5
    values = shown(host, WORKERS[0], "Slice", "Nice", "OOMScoreAdjust", "TimeoutStopUSec")
    assert values == {
        "Slice": "aroundtheworld-post.slice",
        "Nice": "10",
        "OOMScoreAdjust": "500",
        "TimeoutStopUSec": "1min",
    }
    assert shown(host, "aroundtheworld-post.slice", "CPUWeight") == {"CPUWeight": "20"}


@pytest.mark.usefixtures("queue")
def test_another_release_loses_no_letter_and_sends_none_twice(host, http, deploy, visited, ask):
    post(ask, 600)
    before = {unit: shown(host, unit, "MainPID") for unit in WORKERS}
    with visited(http, "/") as outcomes:
        run = deploy("queue", release="fifth", environment={
            "DATABASE": "/var/lib/tornado/aroundtheworld/shared/guestbook.db",
            "SECONDS_A_LETTER": "0.05",
        })  # fmt: skip
    assert run.returncode == 0, run.output
    assert outcomes.keys() == {"200"}
    after = {unit: shown(host, unit, "MainPID") for unit in WORKERS}
    assert all(before[unit] != after[unit] for unit in WORKERS)
    until(
        lambda: ask("SELECT COUNT(*) FROM letter WHERE done = 0"),
        lambda found: found == [[0]],
        seconds=60,
    )
    found = ask("SELECT begun, done, release FROM letter")
    assert Counter((begun, done) for begun, done, _ in found) == {(1, 1): 600}
    assert len({release for _, _, release in found}) == 2  # both releases had work


@pytest.mark.usefixtures("queue")
def test_a_release_whose_worker_does_not_stay_up_goes_back(host, http, deploy, visited, ask):
    current = host.check_output("readlink /var/lib/tornado/aroundtheworld/current")
    broken = {
        **POST,
        "command": "python -c 'import time; time.sleep(1); raise SystemExit(\"no post\")'",
    }
    with visited(http, "/") as outcomes:
        run = deploy("queue", pools=[PUBLIC, broken], release="sixth")
    assert run.failed == 1
    words = " ".join(run.output.split())
    assert "aroundtheworld@post-1.service of pool post does not stay up: its command has" in words
    assert "no post" in words
    assert "is back on release" in words
    assert outcomes.keys() == {"200"}
    assert host.check_output("readlink /var/lib/tornado/aroundtheworld/current") == current
    post(ask, 4)
    until(lambda: ask("SELECT SUM(done) FROM letter"), lambda found: found == [[4]])


@pytest.mark.usefixtures("queue")
def test_the_status_knows_them_and_says_when_one_does_not_run(host, deploy):
    output = deploy("queue", "--tags", "status").output
    lines = [line.split() for line in output.splitlines()]
    rows = {line[0]: line for line in lines if line and line[0].startswith("post-")}
    assert rows.keys() == {"post-1", "post-2"}
    assert rows["post-1"][1:3] == ["post", "active"]
    host.check_output("systemctl stop aroundtheworld@post-2.service")
    run = deploy("queue", "--tags", "status")
    assert run.failed == 1
    assert "aroundtheworld@post-2 is inactive" in " ".join(run.output.split())
    host.check_output("systemctl start aroundtheworld@post-2.service")


def test_another_kind_of_pool_leaves_nothing_behind(host, have, deploy, units, ask):
    have("queue")
    post(ask, 40)
    serving = {
        "name": "post",
        "ports": [10005],
        "paths": ["/static"],
        "command": "python -m http.server {port} --bind {address} --directory guestbook",
        "binds": True,
        "health_path": "/static/book.css",
    }
    assert deploy("queue", pools=[PUBLIC, serving]).returncode == 0
    assert {name for name in units.names() if "post" in name or "10005" in name} == {
        "aroundtheworld@10005.service"
    }
    left = "find /etc/systemd/system /run/aroundtheworld -name '*post-*'"
    assert host.check_output(left) == ""
    found = ask("SELECT begun, done FROM letter")  # those who ended finished what they had begun
    assert all(begun == done for begun, done in found)
    assert deploy("queue").returncode == 0
    assert "aroundtheworld@10005.service" not in units.names()
    assert {name for name in units.names() if "post" in name} == {*WORKERS}
