"""A host with a real nginx, the module that has it serve a site, and a site that it serves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.layout import CLAIM
from ansible.module_utils.aroundtheworld.nginx import change, service

from tests.role.conftest import Runner
from tests.role.nginx.process import NGINX, Host, free_port
from tests.role.nginx.served import Site
from tests.role_files import load_python

module = load_python("library/aroundtheworld_nginx.py")


@pytest.fixture
def port() -> int:
    """Return a port for a site."""
    return free_port()


@pytest.fixture
def make_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Host]]:
    """Return what makes the host that the module changes; its nginx ends with the test."""
    hosts = []

    def make(*, running: bool = True, **settings: str) -> Host:
        host = Host(tmp_path, **settings)
        hosts.append(host)
        defaults = change.SiteChange.__init__.__kwdefaults__
        monkeypatch.setitem(defaults, "nginx", host.etc)
        monkeypatch.setitem(defaults, "etc", host.own)
        monkeypatch.setattr(change, "program", lambda: NGINX)
        monkeypatch.setattr(
            module.AnsibleModule, "run_command", lambda self, command: host.run(command)
        )
        monkeypatch.setattr(change, "SERVED_SECONDS", 0.5)
        monkeypatch.setattr(service, "REFUSED_SECONDS", 0.3)
        return host.start() if running else host

    yield make
    for host in hosts:
        host.stop()


@pytest.fixture
def host(make_host: Callable[..., Host]) -> Host:
    """Return a host whose nginx runs."""
    return make_host()


@pytest.fixture
def site_text(port: int) -> Callable[..., str]:
    """Return what returns the configuration of a site."""

    def site_text(
        body: str = "first", names: str = "shop.example", more: str = "", port: int = port
    ) -> str:
        return f"""{belongings.mark("shop")}
        server {{
            listen {port};
            server_name {names};
            location = /.shop/nginx {{ return 200 "@CONFIGURATION@\\n"; }}
            location / {{ return 200 {body}; }}
            {more}
        }}
        """

    return site_text


class SiteRunner:
    """Runs the module for the site ``shop``."""

    failed = Runner.failed

    def __init__(self, run: Runner, content: str) -> None:
        """Take what runs modules, and the site's usual configuration."""
        self._run, self._content = run, content

    def __call__(
        self,
        content: str | None = None,
        *,
        remove_default: bool = True,
        check: bool = False,
        **more: object,
    ) -> dict[str, Any]:
        """Return the module's result; an empty content removes the site."""
        more |= {"content": self._content if content is None else content}
        return self._run(module, check=check, site="shop", remove_default=remove_default, **more)


@pytest.fixture
def run(run_module: Runner, site_text: Callable[..., str]) -> SiteRunner:
    """Return what runs the module."""
    return SiteRunner(run_module, site_text())


@pytest.fixture
def claim() -> Callable[[Host, str, int], None]:
    """Return what has a site of the role claim a port on a host."""

    def claim(host: Host, name: str, port: int) -> None:
        keys = {"home": "/srv", "user": name, "server_names": ["_"], "pools": [], "sockets": []}
        (host.own / name).mkdir(exist_ok=True)
        text = json.dumps({"site": name, "http_port": port, **keys})
        (host.own / name / CLAIM).write_text(text)

    return claim


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Return what makes a site that nginx serves; both end with the test."""
    sites = []

    def make(**settings: Any) -> Site:
        sites.append(Site(tmp_path, **settings))
        return sites[-1]

    yield make
    for site in sites:
        site.stop()
