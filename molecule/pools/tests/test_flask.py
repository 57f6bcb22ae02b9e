"""Flask behind gunicorn in a pool of its own, on the socket that systemd holds."""

import json
from pathlib import Path

import pytest
import yaml

from tests.waiting import until

pytestmark = pytest.mark.once

CHECKOUT = Path(__file__).resolve().parents[3]
VARIABLES = CHECKOUT / "inventory" / "guestbook-flask" / "group_vars" / "aroundtheworld.yml"


def forged(cookie):
    """Return the cookie with another last digit, which belongs to its signature."""
    return cookie[:-1] + ("1" if cookie.endswith("0") else "0")


@pytest.fixture(autouse=True)
def flask(have):
    """Have the example on the host as it is."""
    have("flask")


def test_the_session_and_the_database_are_shared(visitor):
    assert visitor.ask("/desk")[0] == 403
    assert visitor.ask("/sign-in", "POST", {"name": "ada"})[0] == 200
    visitor.ask("/desk/forget", "POST")
    assert visitor.ask("/", "POST", {"words": "How fine!"})[0] == 201
    assert visitor.json("/desk") == {"guest": "ada", "words": ["How fine!"]}
    status, body, _ = visitor.ask("/desk/forget", "POST")
    assert (status, json.loads(body)) == (200, {"removed": 1})
    assert visitor.json("/") == {"entries": []}
    visitor.cookies["guest"] = forged(visitor.cookies["guest"])
    assert visitor.ask("/desk")[0] == 403


def test_a_run_that_has_nothing_to_do_does_nothing(deploy, units):
    before = units.pids()
    assert deploy("flask").changed == 0
    assert units.pids() == before


def test_the_workers_and_the_site_have_directives_of_the_operators_own(host, units, visitor):
    for port, limit in ((10001, None), (10004, 4096)):
        path = f"/proc/{units.pids()[port]}/limits"
        soft = host.check_output("awk '/^Max open files/ {print $4}' %s", path)
        assert (int(soft) == limit) is (limit is not None)
    assert visitor.ask("/robots.txt")[:2] == (200, b"User-agent: *\nDisallow: /desk\n")


def test_a_directive_that_systemd_does_not_know_is_refused_before_any_unit_is_written(
    host, deploy, units
):
    pools = yaml.safe_load(VARIABLES.read_text())["aroundtheworld_pools"]
    pools[1]["unit"] = {"LimitNOFLIE": 4096}
    files = "find /etc/systemd/system -name 'aroundtheworld*' -type f -exec md5sum {} +"
    before = (units.pids(), host.check_output(files))
    run = deploy("flask", pools=pools)
    assert run.failed == 1
    assert "LimitNOFLIE" in run.output
    assert (units.pids(), host.check_output(files)) == before


def test_a_worker_that_is_killed_comes_back_with_the_same(host, units, visitor):
    noted = host.file("/run/aroundtheworld/10004/runs").content_string
    before = units.pids()[10004]
    host.check_output("kill -9 %s", str(before))
    until(units.pids, lambda pids: pids[10004] not in (0, before))
    assert visitor.ask("/desk/health")[0] == 200
    assert host.file("/run/aroundtheworld/10004/runs").content_string == noted
    # For a minute it has crashed, by its status; not if somebody else restarts it.
    host.check_output("systemctl restart aroundtheworld@10004")
    until(lambda: visitor.ask("/desk/health")[0], lambda status: status == 200)


def test_another_release_loses_no_request_on_either_side(
    host, http, deploy, units, visited, visitor
):
    visitor.ask("/sign-in", "POST", {"name": "ada"})
    before = units.pids()
    # Every other second a slow request: the desk has four threads, and no more than 16 may wait.
    paths = [*10 * ["/", "/", "/", "/desk/health"], "/desk?seconds=3"]
    headers = {"Cookie": f"guest={visitor.cookies['guest']}"}
    with visited(http, *paths, headers=headers) as outcomes:
        run = deploy("flask", release="second")
    assert run.returncode == 0, run.output
    assert outcomes.keys() == {"200"}
    assert outcomes.total() > 100
    current = host.check_output("basename $(readlink /var/lib/tornado/aroundtheworld/current)")
    noted = host.file("/run/aroundtheworld/10004/runs").content_string.split()
    assert (noted[0], noted[2]) == (current, "desk")
    assert not set(before.values()) & set(units.pids().values())
    assert not [name for name in units.names() if "handover" in name]
    assert deploy("flask", release="second").changed == 0


def test_a_command_that_exits_is_refused_before_any_worker_is_touched(http, deploy, units, visited):
    before = (units.pids(), units.names())
    broken = [
        {"name": "public", "ports": [10001, 10002], "paths": ["/"]},
        {
            "name": "desk",
            "ports": [10004],
            "paths": ["/desk"],
            "blocking": True,
            "command": "gunicorn guestbook.nothing:app",
        },
    ]
    with visited(http, "/", "/", "/desk/health") as outcomes:
        run = deploy("flask", pools=broken)
    assert run.failed == 1
    assert "no worker was restarted" in run.output
    assert "The command of pool desk cannot be run: it ended with status" in run.output
    assert "No module named 'guestbook.nothing'" in run.output
    assert (units.pids(), units.names()) == before
    assert outcomes.keys() == {"200"}


def test_the_status_shows_it(deploy):
    output = deploy("flask", "--tags", "status").output
    row = next(line.split() for line in output.splitlines() if line.split()[:1] == ["10004"])
    assert row[1:3] == ["desk", "active"]
    assert "a command of its own" in " ".join(row)
