"""What the tests of every scenario share.

`molecule verify` runs pytest with these fixtures; testinfra's own `host` is each host of the
scenario in turn, over SSH.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import re
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from testinfra.backend.ssh import SshBackend
from testinfra.host import Host

from bench.open_loop import OpenLoop, Request
from tests.matrix import MEASURED, about, commit, takes_all

CHECKOUT = Path(__file__).resolve().parents[1]
REBOOT_TIMEOUT = 60  # seconds
VISITORS_PATIENCE = 60  # seconds until a request without a response has failed

# Prints port to the status of its worker, or to why it does not answer. It runs on the host, which
# has no third-party packages, so it brings the role's own client with it.
READ_STATUSES = (
    (CHECKOUT / "roles/aroundtheworld/module_utils/aroundtheworld/bounded_http.py").read_text()
    + """
import json
statuses = {}
for control in Path("/run/aroundtheworld").glob("[0-9]*/control.sock"):
    try:
        status = json.loads(request(control, "GET", "/health", timeout=5).body)
    except NoAnswerError as error:
        status = {"state": str(error), "release": None, "pid": None}
    statuses[control.parent.name] = status
print(json.dumps(statuses))
"""
)


@dataclass(frozen=True)
class PlaybookRun:
    """What `ansible-playbook` did on a host."""

    returncode: int
    output: str
    ok: int
    changed: int
    unreachable: int
    failed: int
    skipped: int


def _scenario(variable: str) -> Path:
    """Return a path that Molecule passes to its verifier."""
    if variable not in os.environ:
        raise pytest.UsageError(
            "These tests need a scenario's hosts: `molecule verify -s default` runs them."
        )
    return Path(os.environ[variable])


def _known_hosts() -> dict[str, dict[str, Any]]:
    known: dict[str, dict[str, Any]]
    known = json.loads((_scenario("MOLECULE_EPHEMERAL_DIRECTORY") / "hosts.json").read_text())
    return known


def pytest_configure(config: pytest.Config) -> None:
    """Point testinfra at the scenario's hosts, and refuse a scenario without tests of its own."""
    tests = _scenario("MOLECULE_SCENARIO_DIRECTORY") / "tests"
    if not any("def test_" in file.read_text() for file in tests.glob("test_*.py")):
        raise pytest.UsageError(f"There is no test in {tests}, and Molecule would let that pass.")
    config.addinivalue_line(
        "markers",
        "once: on one of the hosts, on each in turn from commit to commit; a module as a whole",
    )
    config.addinivalue_line("markers", "measures: with MEASURE=yes, nothing else runs meanwhile")
    config.option.hosts = ",".join(f"ssh://{name}" for name in _known_hosts())
    config.option.ssh_config = str(_scenario("MOLECULE_EPHEMERAL_DIRECTORY") / "ssh_config")


def pytest_report_header() -> str:
    """Return which cases of a matrix are taken."""
    return about()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep the tests of a host together and in order, beside those of the other hosts."""
    if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
        host = item.callspec.params.get("_testinfra_host")
        if isinstance(host, Host):
            item.add_marker(pytest.mark.xdist_group(_name(host)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is for other hosts: by a module's `HOSTS`, or by the marker `once`."""
    elsewhere: set[int] = set()
    once: dict[str, dict[str, list[pytest.Item]]] = {}
    for item in items:
        if not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
            continue
        host = item.callspec.params.get("_testinfra_host")
        if not isinstance(host, Host):
            continue
        name = _name(host)
        if name not in getattr(item.module, "HOSTS", [name]):
            elsewhere.add(id(item))
        elif item.get_closest_marker("once"):
            whole = item.parent and item.parent.get_closest_marker("once")
            test = "" if whole else item.name.replace(str(host.backend.get_pytest_id()), "")
            once.setdefault(f"{item.path}::{test}", {}).setdefault(name, []).append(item)
    for number, (_, by_host) in enumerate(sorted(once.items())):
        names = sorted(by_host)
        if not takes_all():
            names.pop((number + int(commit(), 16)) % len(names))
            elsewhere |= {id(item) for name in names for item in by_host[name]}
    config.hook.pytest_deselected(items=[item for item in items if id(item) in elsewhere])
    items[:] = [item for item in items if id(item) not in elsewhere]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let tests of both hosts run side by side, but a test that measures alone."""
    alone = MEASURED and item.get_closest_marker("measures") is not None
    directory = _scenario("MOLECULE_EPHEMERAL_DIRECTORY")
    with (directory / ".queue").open("w") as queue, (directory / ".quiet").open("w") as quiet:
        # A test that waits keeps its place in the queue, or measuring tests might wait forever.
        fcntl.flock(queue, fcntl.LOCK_EX)
        fcntl.flock(quiet, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(queue, fcntl.LOCK_UN)
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show, below a test that failed, what its host has to say."""
    report = yield
    host = getattr(item, "funcargs", {}).get("host")
    if report.failed and host is not None:
        # Of every site, whatever its name; a test logs in again and again.
        journal = "journalctl --no-pager --output=short-precise --lines=400"
        others = "[Ss]ession (opened|closed|[0-9c])|session-|Accepted|isconnect|user@|user-runtime"
        output = host.run(
            f"systemctl --no-pager --failed; {journal} | grep -Ev '{others}' | tail -60; "
            "tail -n 20 /var/log/nginx/error.log /var/log/nginx/*/error.log"
        )
        report.sections.append((f"journal of {_name(host)}", output.stdout))
    return report


def _name(host: Host) -> str:
    return _backend(host).host.name


def _backend(host: Host) -> SshBackend:
    assert isinstance(host.backend, SshBackend)
    return host.backend


@pytest.fixture(scope="session")
def inventory_path() -> Path:
    """Return the inventory of the scenario's hosts, as `ansible-playbook -i` wants it."""
    return _scenario("MOLECULE_EPHEMERAL_DIRECTORY") / "inventory"


@pytest.fixture(scope="module")
def name(host: Host) -> str:
    """Return the host's name in the inventory."""
    return _name(host)


@pytest.fixture(scope="module")
def published(name: str) -> Callable[..., str]:
    """Return a function that returns the URL of a port of the host as seen from here.

    It has no slash at the end. A second argument names another host.
    """

    def url(port: int, host: str = name) -> str:
        return f"http://127.0.0.1:{_known_hosts()[host]['ports'][str(port)]}"

    return url


@pytest.fixture(scope="module")
def http(published: Callable[..., str]) -> str:
    """Return the URL of the host's port 80 as seen from here, without a slash at the end."""
    return published(80)


@pytest.fixture(scope="module")
def worker_statuses(host: Host) -> Callable[[], dict[int, dict[str, Any]]]:
    """Return a function that reads the status of every worker of the site, by port.

    The state of a worker that does not answer is the error.
    """

    def read() -> dict[int, dict[str, Any]]:
        statuses = json.loads(host.check_output("python3 -c %s", READ_STATUSES))
        return {int(port): status for port, status in statuses.items()}

    return read


@pytest.fixture(scope="session")
def visited() -> Callable[..., AbstractContextManager[Counter[str]]]:
    """Return a block in which a site's paths are requested all the time, at a constant rate.

    It counts the outcomes: statuses, and how requests failed. Each request has a connection of its
    own. With `tls`, which says whom to trust, it comes over HTTPS for the `Host` of the headers.
    """

    @contextmanager
    def block(
        url: str,
        *paths: str,
        rate: float = 20,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> Iterator[Counter[str]]:
        site = urlsplit(url)
        outcomes: Counter[str] = Counter()
        requests = itertools.cycle(
            Request(path, headers=headers or {}, fresh=True) for path in paths
        )
        client = OpenLoop(
            site.hostname or "",
            site.port or 80,
            lambda result: outcomes.update([result.outcome]),
            patience=VISITORS_PATIENCE,
            tls=(tls, (headers or {})["Host"]) if tls else None,
        )
        with client.running(rate, requests):
            yield outcomes

    return block


@pytest.fixture(scope="module")
def ansible_playbook(name: str, inventory_path: Path) -> Callable[..., PlaybookRun]:
    """Return a function that runs the operator's command on the host under test.

    `ansible_playbook("--tags", "maintenance_on")` runs `ansible-playbook site.yml --tags
    maintenance_on` in the checkout, limited to the host, or to what the inventory calls a site
    of it. Its result says what came of it: a run that fails is for the test to judge.
    """

    def run(*arguments: str, playbook: str = "site.yml", limit: str = name) -> PlaybookRun:
        command = ["ansible-playbook", playbook, *arguments]
        result = subprocess.run(
            [*command, "--inventory", str(inventory_path), "--limit", limit],
            cwd=CHECKOUT,
            # What Molecule sets for its own runs has no place in the operator's.
            env={key: value for key, value in os.environ.items() if not _is_molecules(key)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(f"$ {' '.join(command)}\n{result.stdout}")  # pytest shows it when the test fails
        recap = re.search(rf"^{re.escape(limit)} +: (.+)$", result.stdout, re.MULTILINE)
        counts = dict(re.findall(r"(\w+)=(\d+)", recap[1])) if recap else {}
        names = ("ok", "changed", "unreachable", "failed", "skipped")
        return PlaybookRun(
            result.returncode, result.stdout, **{key: int(counts.get(key, 0)) for key in names}
        )

    return run


def _is_molecules(variable: str) -> bool:
    # Molecule's width would wrap what people get as whole lines in a pipe.
    return variable.startswith(("ANSIBLE_", "MOLECULE_")) or variable == "COLUMNS"


@pytest.fixture(scope="module")
def reboot(host: Host) -> Callable[[], None]:
    """Return a function that reboots the host and return when it has started everything."""

    def run() -> None:
        # A container has its machine's boot id, but a process 1 of its own.
        started = "cut -d' ' -f22 /proc/1/stat"
        before = host.check_output(started)
        ssh = ["ssh", "-F", str(_backend(host).ssh_config), "-o", "ControlPath=none", _name(host)]
        subprocess.run([*ssh, "systemctl reboot"], check=False, capture_output=True)
        give_up = time.monotonic() + REBOOT_TIMEOUT
        while time.monotonic() < give_up:
            probe = subprocess.run([*ssh, started], check=False, capture_output=True, text=True)
            if probe.returncode == 0 and probe.stdout.strip() != before:
                subprocess.run(
                    [*ssh, "systemctl is-system-running --wait"], check=False, capture_output=True
                )
                return
            time.sleep(0.3)
        pytest.fail(f"{_name(host)} did not come back within {REBOOT_TIMEOUT} seconds")

    return run
