"""The guest book on a host, deployed in several kinds of pools."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from http.client import OK, HTTPConnection, HTTPMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from testinfra.host import Host

CHECKOUT = Path(__file__).resolve().parents[3]
INVENTORIES = CHECKOUT / "inventory"
CANARY = 1  # seconds; `rollout` shows what the first worker is watched for


class Visitor:
    """Somebody with a browser: keeps cookies, and opens a connection for each request."""

    def __init__(self, url: str) -> None:
        """Take the URL of the site."""
        self.url, self.place = url, urlsplit(url).netloc
        self.cookies: dict[str, str] = {}

    def ask(
        self, path: str, method: str = "GET", form: Mapping[str, str] | None = None
    ) -> tuple[int, bytes, HTTPMessage]:
        """Return status, body and headers of the answer."""
        connection = HTTPConnection(self.place, timeout=60)
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            connection.request(method, path, urlencode(form or {}) or None, headers)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        for cookie in response.headers.get_all("Set-Cookie", []):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return response.status, body, response.headers

    def json(self, path: str) -> Any:
        """Return what a good answer says."""
        status, body, _ = self.ask(path)
        assert status == OK, body
        return json.loads(body)


@pytest.fixture
def visitor(http: str) -> Visitor:
    """Return a visitor who has not been there before."""
    return Visitor(http)


@pytest.fixture(scope="module")
def present() -> list[Any]:
    """What is on the host by the runs of the module; nothing where that is not known."""
    return []


@pytest.fixture(scope="module")
def deploy(
    ansible_playbook: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
    present: list[Any],
) -> Callable[..., Any]:
    """Return what deploys an example, with variables over it, of another release if so wished."""

    def deploy(example: str, *arguments: str, release: str = "", **variables: object) -> Any:
        what = (example, release, dict(variables))
        inventory = INVENTORIES / f"guestbook-{example}"
        more = ["-e", f"@{inventory / 'group_vars' / 'aroundtheworld.yml'}"]
        if release:
            app = tmp_path_factory.mktemp(release) / "app"
            shutil.copytree(CHECKOUT / "examples" / "guestbook", app)
            (app / "guestbook" / "release.txt").write_text(release)
            variables["app_dir"] = str(app)
        variables.setdefault("canary_seconds", CANARY)
        extra = {f"aroundtheworld_{name}": value for name, value in variables.items()}
        run = ansible_playbook(*more, "-e", json.dumps(extra), *arguments)
        if "--tags" not in arguments and (run.returncode == 0 or run.changed):
            present[:] = [what] if run.returncode == 0 else []
        return run

    return deploy


@pytest.fixture(scope="module")
def have(deploy: Callable[..., Any], present: list[Any]) -> Callable[..., None]:
    """Return what deploys an example like `deploy`, but only where the host has something else."""

    def have(example: str, **variables: object) -> None:
        if present != [(example, "", variables)]:
            run = deploy(example, **variables)
            assert run.returncode == 0, run.output

    return have


class Units:
    """The site's units, as systemd has them."""

    def __init__(self, host: Host) -> None:
        """Take testinfra's host."""
        self.host = host

    def names(self) -> set[str]:
        """Return all services and sockets of workers that are there."""
        out = self.host.check_output(
            "systemctl list-units --all --plain --no-legend 'aroundtheworld*@*'"
        )
        return {line.split()[0] for line in out.splitlines()}

    def pids(self) -> dict[int, int]:
        """Return port to process id."""
        found = {}
        for name in sorted(self.names()):
            if name.endswith(".service"):
                pid = self.host.check_output("systemctl show -P MainPID %s", name)
                found[int(name.partition("@")[2].removesuffix(".service"))] = int(pid)
        return found


@pytest.fixture(scope="module")
def units(host: Host) -> Units:
    """Return the units on the host under test."""
    return Units(host)
