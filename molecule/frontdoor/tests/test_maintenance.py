"""A site is closed for maintenance, and opens by itself; an operator comes in meanwhile."""

import asyncio
import json
import re
import threading
import time

import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from tests.waiting import until

NAME = "www.example.org"
HOME = "/var/lib/tornado/aroundtheworld"
TIMER = "aroundtheworld-maintenance.timer"
END = "2126-12-24T18:30+01:00"
CLOSING = {"maintenance": "all", "maintenance_until": END, "maintenance_reason": "New <disks>"}


class Listener:
    """A page that listens to the game's feed, until the site closes it."""

    def __init__(self, url):
        """Listen from now on."""
        self.code, self._open = None, threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen(url)))
        self._thread.start()
        assert self._open.wait(20)

    async def _listen(self, url):
        request = HTTPRequest(url.replace("http://", "ws://") + "/feed", headers={"Host": NAME})
        connection = await websocket_connect(request)
        self._open.set()
        while await connection.read_message() is not None:
            pass
        self.code = connection.close_code
        stream = connection.protocol.stream
        connection.close()
        # Or its socket would be a later test's.
        while not stream.closed():  # noqa: ASYNC110 - its only callback is the connection's own
            await asyncio.sleep(0.01)

    def end(self):
        """Return the code with which it was closed."""
        self._thread.join(30)
        return self.code


@pytest.fixture(scope="module")
def toggle(ansible_playbook, variables):
    """Return a function that closes or opens the site; it is open at the end."""

    def toggle(verb, **values):
        run = ansible_playbook("--tags", f"maintenance_{verb}", variables(**values))
        assert run.returncode == 0
        return run

    yield toggle
    toggle("off")


@pytest.fixture
def opened(get, toggle):
    """Have the site open."""
    if get("/").status != 200:
        toggle("off")


@pytest.fixture
def closed(get, toggle):
    """Have the site closed, with an end and a reason."""
    if get("/").status != 503:
        toggle("on", **CLOSING)


@pytest.fixture(scope="module")
def end_in(host):
    """Return a function that has the maintenance end in some seconds, and not in a century.

    Where nothing is to open the site then, as if the host were down, it stops the timer first.
    """

    def end_in(seconds, *, down=False):
        host.check_output(
            f"{f'systemctl stop {TIMER}' if down else 'true'} && "
            f"sed -i \"s/^OnCalendar=.*/OnCalendar=$(date -u -d '+{seconds} seconds' "
            f"'+%Y-%m-%d %H:%M:%S UTC')/\" /etc/systemd/system/{TIMER} && "
            f"systemctl daemon-reload && {'true' if down else f'systemctl restart {TIMER}'}"
        )

    return end_in


def test_closing_says_until_when_and_why_and_ends_websockets(
    opened, host, get, http, toggle, ansible_playbook
):
    listeners = [Listener(http) for _ in range(4)]
    run = toggle("on", **CLOSING)
    assert run.changed == 1
    assert "4 WebSockets and 0 event streams end within 10 seconds." in run.output
    link = re.search(
        rf"https?://{re.escape(NAME)}(/\.aroundtheworld/enter/([0-9a-f]+))", run.output
    )
    for path in ("/", "/static/style.css", "/admin/login"):
        closed = get(path)
        assert (closed.status, closed.headers["Retry-After"]) == (
            503,
            "Tue, 24 Dec 2126 17:30:00 GMT",
        )
        assert b"New &lt;disks&gt;" in closed.body
    closed = get("/", headers={"Accept": "application/json"})
    assert json.loads(closed.body)["error"]["detail"] == "New <disks>"
    assert get("/.aroundtheworld/up").status == 200
    assert get("/.aroundtheworld/state").body == b"maintenance\n"
    # The way in.
    entered = get(link[1])
    assert (entered.status, entered.headers["Location"]) == (302, "/")
    cookie = entered.headers["Set-Cookie"].partition(";")[0]
    assert {get(path, headers={"Cookie": cookie}).status for path in ("/", "/admin/login")} == {200}
    keys = f"{HOME}/maintenance/keys"
    assert host.run(f"runuser -u tornado -- ls {keys}").rc != 0
    assert host.run(f"runuser -u tornado -- stat {keys}/{link[2]}").rc == 0  # who knows it
    places = f"/var/log /etc/aroundtheworld {HOME}/shared {HOME}/deploys.jsonl"
    assert host.run(f"grep -r --exclude-dir=journal {link[2]} {places}").rc == 1
    assert host.run(f"journalctl --grep={link[2]}").stdout.strip() in ("", "-- No entries --")
    # Again, with the link that there is.
    again = toggle("on", **CLOSING)
    assert (again.changed, link[0] in again.output) == (0, True)
    status = ansible_playbook("--tags", "status")
    assert "maintenance: closed (all) since " in status.output
    assert "until 2126-12-24 17:30 UTC: New <disks>" in status.output
    assert {listener.end() for listener in listeners} == {1001}


def test_a_run_leaves_it_closed_and_its_end(closed, host, get, ansible_playbook):
    run = ansible_playbook("--check", "--diff")
    assert (run.returncode, run.changed) == (0, 0)
    assert get("/").status == 503
    assert host.check_output(f"systemctl is-enabled {TIMER}") == "enabled"


def test_it_opens_by_itself(closed, host, get, end_in):
    end_in(2)
    until(lambda: get("/").status, (200).__eq__, 20)
    assert get("/.aroundtheworld/state").body == b"open\n"
    until(lambda: host.file(f"{HOME}/maintenance").exists, lambda there: not there, 20)
    assert host.check_output("systemctl --failed --no-legend") == ""


def test_a_host_that_was_down_at_the_end_opens_when_it_is_back(
    opened, host, get, toggle, end_in, reboot
):
    assert toggle("on", **CLOSING).changed == 1
    end_in(1, down=True)
    time.sleep(1)
    assert get("/").status == 503
    reboot()
    until(lambda: get("/").status, (200).__eq__, 20)
    # What is left of the end goes, too.
    assert toggle("off").changed == 1
    assert not host.run(f"ls /etc/systemd/system /var/lib/systemd/timers | grep {TIMER}").stdout
    assert toggle("off").changed == 0


def test_bad_input_changes_nothing(opened, get, variables, ansible_playbook):
    for values, part in (
        ({"maintenance_until": 1110}, "Write it in quotes"),
        ({"maintenance_untill": "18:30"}, "did you mean aroundtheworld_maintenance_until?"),
    ):
        run = ansible_playbook("--tags", "maintenance_on", variables(**values))
        assert (run.returncode != 0, run.changed, part in run.output) == (True, 0, True)
    assert get("/").status == 200
