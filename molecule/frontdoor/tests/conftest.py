"""The game behind its front door: what visitors under the site's names get."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

NAME = "www.example.org"


@dataclass(frozen=True)
class Response:
    """What came back for a request."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


@pytest.fixture(scope="module")
def get(published: Callable[[int], str]) -> Callable[..., Response]:
    """Return a function that requests a path of the site over HTTP, exactly as it is.

    `get("/x", name="example.org", port=8443, method="HEAD", headers={…})`.
    """

    def get(
        path: str = "/",
        name: str = NAME,
        port: int = 80,
        method: str = "GET",
        headers: dict[str, str] | None = None,
    ) -> Response:
        connection = http.client.HTTPConnection(urlsplit(published(port)).netloc, timeout=30)
        try:
            connection.request(method, path, headers={"Host": name, **(headers or {})})
            response = connection.getresponse()
            return Response(response.status, response.msg, response.read())
        finally:
            connection.close()

    return get


@pytest.fixture
def variables(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes variables to a file, and returns it as `-e` takes it.

    `ansible_playbook(variables(tls="none"))` sets `aroundtheworld_tls`.
    """

    def write(**values: object) -> str:
        path = tmp_path / "variables.json"
        path.write_text(
            json.dumps({f"aroundtheworld_{key}": value for key, value in values.items()})
        )
        return f"-e@{path}"

    return write
