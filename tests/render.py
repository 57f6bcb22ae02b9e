"""Render the role's templates as a run would, by Ansible's own engine but without a host.

``python -m tests.render DIRECTORY`` writes the nginx site of each data model in `MODELS` there, for
linters of nginx configurations.
"""

from __future__ import annotations

import copy
import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from types import CodeType
from typing import Any

from ansible._internal._templating._jinja_bits import AnsibleEnvironment
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader, lookup_loader
from ansible.template import Templar, trust_as_template
from jinja2.bccache import Bucket, BytecodeCache

from aroundtheworld_controller.nginx.tls import nginx_ports
from aroundtheworld_controller.plan import describe_site, make_plan
from aroundtheworld_controller.variables import PREFIX, plain
from tests.role_files import CHECKOUT, ROLE


class CompiledTemplates(BytecodeCache):
    """The code of the files that templates include, by path and content."""

    def __init__(self) -> None:
        """Begin without any."""
        self._codes: dict[tuple[str, str], CodeType | None] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Give the bucket its template's code, if there is any."""
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep the code of the bucket's template."""
        self._codes[bucket.key, bucket.checksum] = bucket.code


# Ansible has an environment for each template, and would compile what it includes each time anew:
# that is half of what it takes to render a site.
AnsibleEnvironment.__init__ = functools.partialmethod(  # type: ignore[method-assign,assignment]
    AnsibleEnvironment.__init__, bytecode_cache=CompiledTemplates()
)

# What has no default, and the rest of the example inventory.
APP: dict[str, Any] = {
    "aroundtheworld_app_dir": str(CHECKOUT / "app"),
    "aroundtheworld_make_app": "aroundtheworld.app:make_app",
    "aroundtheworld_migrate_command": "python -m aroundtheworld migrate",
    "aroundtheworld_secrets": {"cookie_secret": "generate"},
}

# What a host and the plan of a release would add.
RELEASE_ID = "0123456789ab"
ENVIRONMENT_ID = "ba9876543210"
HOST: dict[str, Any] = {
    "distribution": "debian 12",
    "python": {},
    "packages_missing": [],
    "python3_apt": True,
    "acme": {"certificate": "", "key": "", "waiting": [], "is_own": False, "is_foreign": False},
    "current": "",
    "hsts": 0,
    "tls": {"certificate": "", "problems": []},
}

PUBLIC = {"name": "public", "ports": [10001, 10002, 10003], "paths": ["/"]}
ADMIN = {"name": "admin", "ports": [10004], "paths": ["/admin"], "blocking": True}
# A pool without ports.
QUEUE = {"name": "mail", "command": "python -m shop.mail", "processes": 2}

# A pool without ports whose command is run at times.
JOB = {"name": "nightly", "command": "python -m shop.nightly", "at": ["03:00", "Sun 12:00"]}

# Variables that make the site differ: one data model for each shape that the role promises.
MODELS: dict[str, dict[str, Any]] = {
    "default": {},
    "one_pool": {"aroundtheworld_pools": [PUBLIC]},
    "sixteen_workers": {
        "aroundtheworld_pools": [
            {**PUBLIC, "ports": list(range(10001, 10013))},
            {**ADMIN, "ports": list(range(10013, 10017))},
        ]
    },
    "several_paths": {
        "aroundtheworld_pools": [
            PUBLIC,
            {**ADMIN, "paths": ["/admin/", "/reports/yearly"]},
            {"name": "api", "ports": [10005, 10006], "paths": ["/api"], "memory_max": "512M"},
        ]
    },
    "ipv6": {"aroundtheworld_listen_address": "::1"},
    "own_names": {
        "aroundtheworld_site": "shop",
        "aroundtheworld_user": "shopkeeper",
        "aroundtheworld_home": "/srv/shop",
        "aroundtheworld_server_names": ["shop.example.org", "www.shop.example.org"],
        "aroundtheworld_http_port": 8080,
    },
    "acme": {
        "aroundtheworld_tls": "acme",
        "aroundtheworld_server_names": ["www.example.org", "example.org"],
    },
    "https": {
        "aroundtheworld_tls": "host",
        "aroundtheworld_tls_certificate_file": "/etc/ssl/shop.pem",
        "aroundtheworld_tls_key_file": "/etc/ssl/shop.key",
        "aroundtheworld_server_names": ["www.example.org", "example.org"],
        "aroundtheworld_canonical_name": "example.org",
    },
    "patient": {"aroundtheworld_block_warn": 2.5, "aroundtheworld_log_addresses": "truncated"},
    "short_watchdog": {"aroundtheworld_pools": [{**PUBLIC, "watchdog": 2}, ADMIN]},
    "metrics": {
        "aroundtheworld_metrics_port": 9145,
        "aroundtheworld_metrics_address": "fd00::5",
    },
    "no_secrets": {"aroundtheworld_secrets": {}, "aroundtheworld_migrate_command": ""},
    "schema_check": {"aroundtheworld_schema_check_command": "python -m aroundtheworld check"},
    "two_secrets": {
        "aroundtheworld_secrets": {"cookie_secret": "generate", "mail_password": "a value"}
    },
    "static_files": {
        "aroundtheworld_pools": [PUBLIC, {**ADMIN, "paths": ["/admin", "/static/private"]}],
        "aroundtheworld_static": [
            {"url": "/static/", "directory": "aroundtheworld/static"},
            {"url": "/admin/files/", "directory": "aroundtheworld/data"},
        ],
    },
    "commands": {
        "aroundtheworld_make_app": "",
        "aroundtheworld_migrate_command": "",
        "aroundtheworld_pools": [
            {**PUBLIC, "command": "app --port={port} --on {address} --at %d", "binds": True},
            {**ADMIN, "command": "gunicorn shop.admin:app", "health_path": "/admin/health?full=1"},
        ],
    },
    "queues": {
        "aroundtheworld_metrics_port": 9145,
        "aroundtheworld_pools": [
            {**QUEUE, "unit": {"LimitNOFILE": 65536}, "drain_timeout": 0},
            PUBLIC,
            ADMIN,
            {"name": "sms", "command": "send --at %d"},
        ],
    },
    "jobs": {
        "aroundtheworld_metrics_port": 9145,
        "aroundtheworld_pools": [
            {**JOB, "unit": {"LimitNOFILE": 65536}, "run_timeout": 3600},
            PUBLIC,
            ADMIN,
            QUEUE,
            {"name": "weekly", "command": "report --at %d", "at": "weekly"},
        ],
    },
    "behind_proxies": {
        "aroundtheworld_trusted_proxies": ["192.0.2.10", "2001:db8::/32"],
        "aroundtheworld_proxy_protocol_port": 8443,
    },
    "sticky": {
        "aroundtheworld_pools": [{**PUBLIC, "sticky": "cookie"}, {**ADMIN, "path": "raw"}],
    },
    "media": {
        "aroundtheworld_media": [
            {"url": "/uploads/", "directory": "uploads"},
            {"url": "/admin/invoices/", "directory": "data/invoices", "internal": True},
        ],
    },
    "raw_paths": {
        "aroundtheworld_pools": [{**PUBLIC, "path": "raw"}, {**ADMIN, "path": "raw"}],
        "aroundtheworld_static": [{"url": "/static/", "directory": "aroundtheworld/static"}],
    },
    "own_headers": {
        "aroundtheworld_headers": {"X-Frame-Options": "", "X-Own": 'a "b"'},
    },
    "own_directives": {
        "aroundtheworld_nginx_extra": "location = /robots.txt {\n    return 404;\n}\n",
        "aroundtheworld_pools": [
            PUBLIC,
            {**ADMIN, "unit": {"LimitNOFILE": 65536, "ReadWritePaths": ["-/srv/a", "-/srv/b"]}},
        ],
    },
    "strict_pools": {
        "aroundtheworld_passwords": {"ada": "secret"},
        "aroundtheworld_pools": [
            {**PUBLIC, "rate": "10/s"},
            {
                **ADMIN,
                "rate": "30/m",
                "allow": [
                    "192.0.2.0/24",
                    "2001:db8::1",
                    *(f"2001:db8:{n:x}::/48" for n in range(256)),
                ],
                "basic_auth": ["ada"],
            },
        ],
    },
    "names_of_pools": {
        "aroundtheworld_server_names": [
            *("shop.example", "admin.shop.example", "live.shop.example")
        ],
        "aroundtheworld_pools": [
            PUBLIC,
            {**ADMIN, "server_names": ["admin.shop.example"]},
            {
                "name": "reports",
                "ports": [10005],
                "paths": ["/admin/reports"],
                "server_names": ["admin.shop.example"],
            },
            {
                "name": "live",
                "ports": [10006],
                "paths": ["/live"],
                "server_names": ["live.shop.example"],
            },
            {"name": "api", "ports": [10007], "paths": ["/api"]},
        ],
        "aroundtheworld_static": [
            {"url": "/static/", "directory": "x"},
            {"url": "/admin/static/", "directory": "y"},
        ],
    },
    "closed_pools": {
        "aroundtheworld_maintenance_allow": ["192.0.2.0/24", "2001:db8::/32"],
        "aroundtheworld_pools": [
            {**PUBLIC, "open_in_maintenance": True, "replay": False},
            {**ADMIN, "open_in_maintenance": False, "max_in_flight": 0},
            {"name": "live", "ports": [10005], "paths": ["/live"], "websocket": True},
            {
                "name": "events",
                "ports": [10006],
                "paths": ["/events"],
                "stream": True,
                "stream_timeout": 60,
            },
        ],
    },
}


def variables_for(
    changes: Mapping[str, Any],
    *,
    ipv6: bool = True,
    port: Mapping[str, Any] | None = None,
    **nginx: Any,
) -> dict[str, Any]:
    """Return all variables of a run with these `changes`, its plan included, templates untouched.

    Args:
        changes: What differs from the defaults and from `APP`.
        ipv6: Whether the host has IPv6.
        port: What it says about each port of the site in nginx.
        nginx: What else it says about nginx.

    Raises:
        BadInputError: The variables are refused.
    """
    variables = {**role_variables(), **APP, **changes, "ansible_search_path": [str(ROLE)]}
    templar = Templar(DataLoader(), variables)
    site = describe_site(
        {
            name: plain(templar.template(value))
            for name, value in variables.items()
            if name.startswith(PREFIX)
        }
    )
    ports = {str(number): port or {} for number in nginx_ports(site.variables)}
    host = {**HOST, "ipv6": ipv6, "nginx": {**nginx, "ports": ports}}
    certificate = site.variables["aroundtheworld_tls_certificate"]
    plan = make_plan(site, {"id": RELEASE_ID}, {"id": ENVIRONMENT_ID}, host, certificate)
    return {**variables, "__aroundtheworld_plan": plan}


@functools.cache
def role_variables() -> Mapping[str, Any]:
    """Return the variables that the role itself sets, templates untouched."""
    loader = DataLoader()
    files = [str(ROLE / name / "main.yml") for name in ("defaults", "vars")]
    defaults, others = (loader.load_from_file(file, trusted_as_template=True) for file in files)
    return {**defaults, **others}


def render(template: str, variables: Mapping[str, Any]) -> str:
    """Return the text of a template of the role; an undefined name in it is an error."""
    return str(evaluate("lookup('ansible.builtin.template', '" + template + "')", variables))


def evaluate(expression: str, variables: Mapping[str, Any]) -> Any:
    """Return what an expression of the role's comes to; an undefined name in it is an error."""
    find_plugins()
    return Templar(DataLoader(), dict(variables)).template(
        trust_as_template("{{ " + expression + " }}")
    )


@functools.cache
def find_plugins() -> None:
    """Have Ansible find its filters, tests and lookups."""
    init_plugin_loader()  # complains when it is called twice
    # The lookup adds variables of its own to a copy of all. No template changes what is in them,
    # and to copy that too would be a third of what it takes to render a site.
    lookup = lookup_loader.get("ansible.builtin.template", class_only=True)
    lookup.run.__globals__["deepcopy"] = copy.copy


def main() -> None:
    """Write all sites to the directory that the command line names."""
    directory = Path(sys.argv[1])
    for name, changes in MODELS.items():
        site = render("site.conf.j2", variables_for(changes))
        (directory / f"{name}.conf").write_text(site)


if __name__ == "__main__":
    main()
