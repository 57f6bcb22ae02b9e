"""The sites of a host: each app of this run, and what is tried with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from tests.role_files import load_file

HERE = Path(__file__).resolve().parent
visits = load_file("apps_visits", HERE / "visits.py")
inventory = load_file("apps_inventory", HERE.parent / "inventory.py")
TAKEN: list[str] = inventory.in_this_run()
EXCHANGE = "exchange"


def pytest_report_header() -> str:
    """Return which apps this run has."""
    left = [app for app in inventory.apps() if app not in TAKEN]
    return f"apps: {', '.join(TAKEN)}" + (f"; in turn: {', '.join(left)}" if left else "")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have what an app's users do as `app` and `use`, or else each `app` of this run."""
    if "use" in metafunc.fixturenames:
        cases = {
            use.__name__: (app, use) for app in TAKEN for use in visits.APPS[app].uses
        }  # each with a name of its own
        metafunc.parametrize(("app", "use"), list(cases.values()), ids=list(cases))
    elif "app" in metafunc.fixturenames:
        metafunc.parametrize("app", TAKEN)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what each exchange took and lost."""
    rows = [
        value
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        for key, value in report.user_properties
        if key == EXCHANGE and report.when == "call"
    ]
    if rows:
        terminalreporter.section("exchanges at 50 requests a second")
        for row in sorted(rows):
            terminalreporter.write_line(row)


@pytest.fixture
def site(app: str, host: Host, published: Callable[[int], str]) -> Any:
    """Return where the app under test is."""
    port = inventory.variables(app)["aroundtheworld_http_port"]
    return visits.Site(app, published(port), host)


@pytest.fixture
def play(name: str, ansible_playbook: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that runs `ansible-playbook site.yml …` for a site of the host."""
    return lambda app, *arguments: ansible_playbook(*arguments, limit=f"{app}-{name}")


@pytest.fixture
def processes(host: Host) -> Callable[[], dict[str, str]]:
    """Return a function that reads the main process of every worker of every site."""

    def read() -> dict[str, str]:
        patterns = " ".join(f"'{app}@*.service'" for app in TAKEN)
        output = host.check_output(f"systemctl show --property=Id,MainPID {patterns}")
        blocks = (
            dict(line.split("=", 1) for line in block.split()) for block in output.split("\n\n")
        )
        return {block["Id"]: block["MainPID"] for block in blocks if block}

    return read
