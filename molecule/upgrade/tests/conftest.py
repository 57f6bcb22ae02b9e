"""What the tests of upgrades share: visitors who read and write, and what a host keeps."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from testinfra.host import Host

from tests.visitors import rows_on

HOME = "/var/lib/tornado/aroundtheworld"
PAUSE = 0.2  # seconds between two writes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the order of the files also with ORDER=random: a host is upgraded once, step by step."""
    items.sort(key=lambda item: (item.path, item.reportinfo()[1] or 0))


@dataclass
class Visits:
    """What became of the requests of visitors.

    Attributes:
        outcomes: Of those that read: statuses and failures.
        rounds: The ids of the rows that were written, as the site answered.
        failures: Why writes failed.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    rounds: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Player:
    """Somebody with a session, who plays rounds."""

    def __init__(self, http: str) -> None:
        """Take where the site is."""
        self.client = httpx.Client(base_url=http, timeout=60)

    def play(self) -> str:
        """Have the game write a row, and return its id."""
        response = self.client.post("/api/rounds", json={}).raise_for_status()
        return str(response.json()["id"])

    def sees(self, played: str) -> bool:
        """Tell whether the site knows a round as this player's."""
        return self.client.get(f"/api/rounds/{played}").status_code == 200


@pytest.fixture(scope="module")
def player(http: str) -> Iterator[Player]:
    """Return a player of the site under test."""
    player = Player(http)
    yield player
    player.client.close()


@pytest.fixture(scope="module")
def visitors(
    http: str, player: Player, visited: Callable[..., AbstractContextManager[Counter[str]]]
) -> Callable[[], AbstractContextManager[Visits]]:
    """Return a block in which visitors read pages at a constant rate, and one plays."""

    @contextmanager
    def block() -> Iterator[Visits]:
        visits, over = Visits(), threading.Event()

        def play() -> None:
            while not over.wait(PAUSE):
                try:
                    visits.rounds.append(player.play())
                except httpx.HTTPError as error:
                    visits.failures.append(repr(error))

        thread = threading.Thread(target=play)
        thread.start()
        try:
            with visited(http, "/", "/api/ping", "/quiz") as visits.outcomes:
                yield visits
        finally:
            over.set()
            thread.join()

    return block


@pytest.fixture(scope="module")
def rows(host: Host) -> Callable[[], set[str]]:
    """Return a function that returns the ids of all rows that players wrote."""
    return lambda: rows_on(host)


@pytest.fixture(scope="module")
def kept(host: Host) -> Callable[[], dict[str, str]]:
    """Return a function that returns what an upgrade of the role has no business with."""
    commands = {
        "secret": "sha256sum /etc/aroundtheworld/secrets/cookie_secret",
        "user": "getent passwd tornado; getent group tornado",
        "log": f"head --lines=1 {HOME}/deploys.jsonl",
    }
    return lambda: {name: host.check_output(command) for name, command in commands.items()}


@pytest.fixture(scope="module")
def invocations(host: Host) -> Callable[[], dict[str, str]]:
    """Return a function that returns each active service, socket and timer to when it started.

    That is systemd's id of it, which is another one after a restart.
    """

    def read() -> dict[str, str]:
        units = host.check_output(
            "systemctl list-units --state=active --type=service,socket,timer --output=json"
        )
        names = " ".join(f"'{unit['unit']}'" for unit in json.loads(units))
        shown = host.check_output(f"systemctl show --property=Id,InvocationID -- {names}")
        blocks = (block.splitlines() for block in shown.split("\n\n"))
        properties = (dict(line.split("=", 1) for line in block) for block in blocks)
        return {unit["Id"]: unit["InvocationID"] for unit in properties}

    return read


@pytest.fixture(scope="module")
def files(host: Host) -> Callable[[], str]:
    """Return a function that returns the sums of all files that the site has outside its home.

    Its claim also lists some that are there only at times, such as those of a stand-in.
    """
    code = "import json, sys; print(*json.load(sys.stdin)['has']['files'])"
    listed = f'python3 -c "{code}" </etc/aroundtheworld/aroundtheworld.json'
    return lambda: str(host.check_output(f"sha256sum $({listed}) 2>/dev/null; true"))


@pytest.fixture(scope="module")
def pythons(
    host: Host, worker_statuses: Callable[[], dict[int, dict[str, Any]]]
) -> Callable[[], set[str]]:
    """Return a function that returns the interpreters that the workers run."""

    def read() -> set[str]:
        links = (f"/proc/{status['pid']}/exe" for status in worker_statuses().values())
        return set(host.check_output(f"readlink {' '.join(links)}").splitlines())

    return read
