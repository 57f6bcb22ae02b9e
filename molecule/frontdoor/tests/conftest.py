"""The game behind its front door: what visitors under the site's names get."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from testinfra.host import Host

NAME = "www.example.org"


@dataclass(frozen=True)
class Response:
    """What came back for a request."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


@pytest.fixture(scope="module", autouse=True)
def names_lead_here(host: Host) -> None:
    """Have the site's names lead to the host, where a reboot has taken what `prepare.yml` wrote."""
    line = f"127.0.0.1 {NAME} {NAME.removeprefix('www.')}"
    host.check_output(f"grep -qF '{line}' /etc/hosts || echo '{line}' >>/etc/hosts")


@pytest.fixture(scope="module")
def get(published: Callable[[int], str]) -> Callable[..., Response]:
    """Return a function that requests a path of the site, exactly as it is.

    `get("/x", name="example.org", port=8443, method="HEAD", headers={…})`; over HTTPS with
    `tls=trusted`, which refuses a certificate that is not for the name.
    """

    def get(
        path: str = "/",
        name: str = NAME,
        port: int = 80,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> Response:
        site = urlsplit(published(port))
        connection = http.client.HTTPConnection(site.netloc, timeout=30)
        try:
            if tls:
                plain = socket.create_connection((site.hostname, site.port), 30)
                connection.sock = tls.wrap_socket(plain, server_hostname=name)
            connection.request(method, path, headers={"Host": name, **(headers or {})})
            response = connection.getresponse()
            return Response(response.status, response.msg, response.read())
        finally:
            connection.close()

    return get


@pytest.fixture(scope="module")
def authorities(host: Host) -> str:
    """Return the certificate authorities of the host, as PEM."""
    program = (
        "import urllib.request as r;"
        "print(*(r.urlopen(f'https://localhost:{port}/roots/0').read().decode()"
        " for port in (15000, 15001)), sep='')"
    )
    return host.check_output("python3 -c %s", program) + "\n"


@pytest.fixture(scope="module")
def trusted(authorities: str) -> ssl.SSLContext:
    """Return a context that trusts these, and nobody else."""
    return ssl.create_default_context(cadata=authorities)


@pytest.fixture(scope="session")
def variables(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Return a function that writes variables to a file, and returns it as `-e` takes it.

    `ansible_playbook(variables(tls="none"))` sets `aroundtheworld_tls`.
    """

    def write(**values: object) -> str:
        path = tmp_path_factory.mktemp("variables") / "variables.json"
        path.write_text(
            json.dumps({f"aroundtheworld_{key}": value for key, value in values.items()})
        )
        return f"-e@{path}"

    return write
