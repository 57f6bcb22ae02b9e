"""What the tests of a server in use share: what was there before the role came, and what is now."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from testinfra.host import Host

SCENARIO = Path(__file__).resolve().parents[1]
CHECKOUT = SCENARIO.parents[1]
SITE = "site.example.org"
NEIGHBOUR = "neighbour.example.org"
HOME = "/var/lib/tornado/aroundtheworld"
REMOVE = ("--tags", "remove", "-earoundtheworld_remove_data=true")
# Files whose lines belong to several people; each line is compared.
ACCOUNTS = {f"/etc/{name}" for name in ("passwd", "group", "shadow", "gshadow")}
# What they were before their last change.
FORMER_ACCOUNTS = {f"{path}-" for path in ACCOUNTS}

Look = dict[str, Any]
Difference = dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    """What came back for a request."""

    status: int
    text: str
    headers: http.client.HTTPMessage


@pytest.fixture(scope="session")
def checkout() -> Path:
    """Return the directory of the project."""
    return CHECKOUT


@pytest.fixture(scope="module")
def ask(published: Callable[[int], str]) -> Callable[..., Answer]:
    """Return a function that sends a GET to a site by its name, with the path exactly as it is."""

    def ask(path: str, name: str = SITE, port: int = 80) -> Answer:
        connection = http.client.HTTPConnection(urlsplit(published(port)).netloc, timeout=20)
        try:
            connection.request("GET", path, headers={"Host": name})
            response = connection.getresponse()
            return Answer(response.status, response.read().decode(), response.msg)
        finally:
            connection.close()

    return ask


@pytest.fixture(scope="module")
def before_file(name: str, inventory_path: Path) -> Path:
    """Return where prepare.yml wrote what `look.py` found before the role came."""
    return inventory_path.parent / f"before-{name}.json"


@pytest.fixture(scope="module")
def before(before_file: Path) -> Look:
    """Return what `look.py` found before the role came."""
    looked: Look = json.loads(before_file.read_text())
    return looked


@pytest.fixture(scope="module")
def look(host: Host) -> Callable[[], Look]:
    """Return a function that returns what is on the host now, in the same form."""
    program = (SCENARIO / "look.py").read_text()

    def look() -> Look:
        looked: Look = json.loads(host.check_output("python3 -c %s", program))
        return looked

    return look


@pytest.fixture(scope="module")
def difference(before: Look) -> Callable[[Look], Difference]:
    """Return a function that returns which files are not as before: what each was, and is now.

    An empty text stands for a file that is not there.
    """

    def difference(now: Look) -> Difference:
        was, is_now = before["files"], now["files"]
        return {
            path: (was.get(path, ""), is_now.get(path, ""))
            for path in sorted(was.keys() | is_now.keys())
            if path not in FORMER_ACCOUNTS and was.get(path) != is_now.get(path)
        }

    return difference


@pytest.fixture(scope="module")
def neighbours_are_well(
    before: Look,
    look: Callable[[], Look],
    difference: Callable[[Look], Difference],
    ask: Callable[..., Answer],
) -> Callable[..., None]:
    """Return a function that asserts that everything else on the host is as before."""

    def check() -> None:
        now = look()
        for file, lines in before["accounts"].items():
            assert [line for line in lines if line not in now["accounts"][file]] == [], file
        for unit, properties in before["units"].items():
            here = now["units"][unit]
            changed = {key for key in properties if here[key] != properties[key]}
            assert (unit, changed) == (unit, set())
        assert now["firewall"] == before["firewall"]
        for path, text in before["nginx"].items():
            assert now["nginx"].get(path) == text, path
        touched = {path for path, (was, _) in difference(now).items() if was}
        assert touched - ACCOUNTS == set()
        assert ask("//x", NEIGHBOUR).text == "the neighbour answers //x\n"
        assert ask("/", "anything", port=8081).text == "the operator's own page\n"
        # The address's default server is who it was.
        assert ask("/", "unknown.example.org").text == "the neighbour answers /\n"

    return check


@pytest.fixture(scope="module")
def note_restarts(before: Look, before_file: Path, look: Callable[[], Look]) -> Callable[[], None]:
    """Return a function for a test that has restarted others' units itself, as a reboot does.

    From then on, each of them has to stay the process that it is now.
    """

    def note() -> None:
        for unit, properties in look()["units"].items():
            before["units"][unit]["InvocationID"] = properties["InvocationID"]
        before_file.write_text(json.dumps(before))

    return note


@pytest.fixture(scope="module")
def removed(ansible_playbook: Callable[..., Any]) -> Iterator[None]:
    """Have a host without the site and its data; deploy the site again when the module ends."""
    assert ansible_playbook(*REMOVE).returncode == 0
    yield
    assert ansible_playbook().returncode == 0


@pytest.fixture(scope="module")
def log_in(name: str, inventory_path: Path) -> Callable[..., str]:
    """Return a function that runs a command as a person who logs in with their own key."""

    def log_in(person: str, command: str) -> str:
        config = inventory_path.parent / "ssh_config"
        # A connection of its own: a login that was made before proves nothing now.
        ssh = ["ssh", "-F", str(config), "-o", "ControlPath=none", f"{person}@{name}", command]
        return subprocess.run(ssh, check=True, capture_output=True, text=True).stdout

    return log_in


@pytest.fixture(scope="module")
def restart_nginx(host: Host, ask: Callable[..., Answer]) -> Callable[[], None]:
    """Return a function that restarts nginx and see that every site comes up again.

    What nginx runs may not be what is on disk, and that shows at the next boot otherwise.
    """

    def restart() -> None:
        assert host.run("systemctl restart nginx").rc == 0
        assert ask("/").status == 200
        assert ask("/", NEIGHBOUR).status == 200
        assert ask("/", port=8081).status == 200

    return restart


@pytest.fixture(scope="session")
def play(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Return a function that writes a playbook of the operator's own, and return its path."""

    def write(text: str) -> str:
        path = tmp_path_factory.mktemp("play") / "own.yml"
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture(scope="session")
def sentences() -> Callable[[str], str]:
    """Return a function that takes the line breaks out of what Ansible printed."""
    return lambda output: re.sub(r"\s+", " ", output)
