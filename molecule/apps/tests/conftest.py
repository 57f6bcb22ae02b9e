"""The sites of a host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

PORTS = {"bokeh": 8001, "luigi": 8002, "jupyter": 8003}


@pytest.fixture(scope="module")
def urls(published: Callable[[int], str]) -> dict[str, str]:
    """Return the URL of each site of the host under test."""
    return {site: published(port) for site, port in PORTS.items()}


@pytest.fixture(scope="module")
def play(name: str, ansible_playbook: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that runs `ansible-playbook site.yml …` for a site of the host."""
    return lambda site, *arguments: ansible_playbook(*arguments, limit=f"{site}-{name}")


@pytest.fixture
def processes(host: Host) -> Callable[[], dict[str, str]]:
    """Return a function that reads the main process of every worker of every site."""

    def read() -> dict[str, str]:
        patterns = " ".join(f"'{site}@*.service'" for site in PORTS)
        output = host.check_output(f"systemctl show --property=Id,MainPID {patterns}")
        blocks = (
            dict(line.split("=", 1) for line in block.split()) for block in output.split("\n\n")
        )
        return {block["Id"]: block["MainPID"] for block in blocks if block}

    return read
