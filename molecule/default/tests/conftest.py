"""The site on a host: what visitors see of it, and what systemd and the workers show."""

from __future__ import annotations

import http.client
import json
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import testinfra
from testinfra.host import Host

from tests.waiting import until

CHECKOUT = Path(__file__).resolve().parents[3]
HOME = "/var/lib/tornado/aroundtheworld"
ACCESS_LOG = "/var/log/nginx/aroundtheworld/access.log"


@dataclass(frozen=True)
class Answer:
    """What came back for a request."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    seconds: float


@dataclass(frozen=True)
class Logged:
    """What nginx logged of a request."""

    probe: str
    """The end of its query, by which other logs tell of it too."""
    port: int
    """Of the worker that answered; 0 if no worker did."""
    status: int

    @classmethod
    def parse(cls, line: str) -> Logged:
        """Read a line of the access log."""
        entry = json.loads(line)
        port = int(entry["upstream"].rpartition(":")[2] or 0)
        return cls(entry["uri"].rpartition("probe=")[2], port, entry["status"])


class Site:
    """The site on a host."""

    def __init__(
        self, host: Host, url: str, worker_statuses: Callable[[], dict[int, dict[str, Any]]]
    ) -> None:
        """Take testinfra's host, and the URL of its port 80 as seen from here."""
        self.host, self.url, self._worker_statuses = host, url, worker_statuses

    # From outside

    def ask(self, path: str = "/", method: str = "GET", body: bytes | None = None) -> Answer:
        """Send a request whose path goes over the wire exactly as it is."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        began = time.perf_counter()
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        return Answer(response.status, response.msg, content, time.perf_counter() - began)

    def logged(self, paths: Iterable[str], method: str = "GET") -> dict[str, Logged]:
        """Send a request for each path, and return path to what nginx logged of it."""
        mark = secrets.token_hex(8)
        probes = {path: f"{mark}-{number}" for number, path in enumerate(paths)}
        for path, probe in probes.items():
            self.ask(f"{path}{'&' if '?' in path else '?'}probe={probe}", method)

        def lines() -> list[str]:
            found = self.host.run("grep --fixed-strings %s %s", mark, ACCESS_LOG).stdout
            return str(found).splitlines()

        found = until(lines, lambda found: len(found) == len(probes))
        by_probe = {logged.probe: logged for logged in map(Logged.parse, found)}
        return {path: by_probe[probe] for path, probe in probes.items()}

    def ports(self, path: str = "/", requests: int = 40) -> set[int]:
        """Return the ports of the workers that answer requests for `path`."""
        logged = self.logged(f"{path}?n={number}" for number in range(requests))
        return {entry.port for entry in logged.values()}

    # From the host

    def workers(self) -> dict[int, dict[str, Any]]:
        """Return port to its worker's status, without those that do not run at this moment."""
        refused = "Connection refused"  # the worker was killed, and the next has not come to it yet
        statuses = self._worker_statuses()
        return {port: status for port, status in statuses.items() if refused not in status["state"]}

    def releases(self) -> dict[int, str]:
        """Return port to the release that its worker says it runs."""
        return {port: status["release"] for port, status in self.workers().items()}

    def pids(self) -> dict[int, int]:
        """Return port to its worker's process id, 0 if there is none, as systemd says."""
        text = self.host.check_output("systemctl show -p Id,MainPID 'aroundtheworld@*.service'")
        pairs = re.findall(r"^MainPID=(\d+)\nId=aroundtheworld@(\d+)", text, re.MULTILINE)
        return {int(port): int(pid) for pid, port in pairs}

    def listeners(self) -> set[tuple[str, int, str]]:
        """Return address, port and holder of everything that listens on the host."""
        found = set()
        for line in self.host.check_output("ss --no-header -ltnp").splitlines():
            address, _, port = line.split()[3].rpartition(":")
            holder = re.search(r'\(\("([^"]+)"', line)
            found.add((address, int(port), holder[1] if holder else ""))
        return found

    def release(self) -> str:
        """Return the release that `current` leads to."""
        return Path(self.host.check_output("readlink %s", f"{HOME}/current")).name


@pytest.fixture(scope="module")
def site(host: Host, http: str, worker_statuses: Callable[[], dict[int, dict[str, Any]]]) -> Site:
    """Return the site on the host under test."""
    return Site(host, http, worker_statuses)


@pytest.fixture(scope="module")
def administrator(host: Host, http: str) -> Iterator[httpx.Client]:
    """Return a client that is logged in as an administrator, who is made as an operator does it."""
    password = secrets.token_urlsafe()
    command = "printf '%%s\\n' %s | aroundtheworld-run python -m aroundtheworld create-admin ada"
    assert "ada" in host.check_output(command, password)
    with httpx.Client(base_url=http, timeout=120) as client:
        token = re.search(r'name="_xsrf" value="([^"]+)"', client.get("/admin/login").text)
        assert token
        form = {"_xsrf": token[1], "name": "ada", "password": password}
        assert client.post("/admin/login", data=form).headers["Location"] == "/admin"
        yield client


@pytest.fixture
def as_converged(ansible_playbook: Callable[..., Any]) -> Iterator[None]:
    """Have the host as the inventory says again, whatever the test deploys."""
    yield
    assert ansible_playbook().returncode == 0


@pytest.fixture
def changed_app(tmp_path: Path) -> Path:
    """Return a copy of the app, to be changed and deployed."""
    ignored = shutil.ignore_patterns("__pycache__", "tests", ".*")
    return shutil.copytree(CHECKOUT / "app", tmp_path / "app", ignore=ignored)


@pytest.fixture
def variables(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes variables to a file, and returns it as `-e` takes it."""

    def write(**values: Any) -> str:
        path = tmp_path / "variables.json"
        path.write_text(
            json.dumps({f"aroundtheworld_{key}": value for key, value in values.items()})
        )
        return f"-e@{path}"

    return write


@pytest.fixture(scope="module")
def neighbours(host: Host, name: str, inventory_path: Path) -> list[Host]:
    """Return the other hosts of the scenario."""
    names = json.loads((inventory_path.parent / "hosts.json").read_text())
    config = str(inventory_path.parent / "ssh_config")
    return [
        testinfra.get_host(f"ssh://{other}", ssh_config=config) for other in names if other != name
    ]
