"""What a type cannot say of all other variables."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError

from aroundtheworld_controller.commands import command_problem
from aroundtheworld_controller.data.backups import backup_problems
from aroundtheworld_controller.data.databases import database_problems
from aroundtheworld_controller.data.restores import restore_problems
from aroundtheworld_controller.environment_rules import environment_problems
from aroundtheworld_controller.lone_settings import lone_settings
from aroundtheworld_controller.nginx.acme import acme_problems
from aroundtheworld_controller.nginx.client_certificates import client_ca_problems
from aroundtheworld_controller.nginx.header_sizes import header_size_problems
from aroundtheworld_controller.nginx.headers import header_problems
from aroundtheworld_controller.nginx.maintenance import (
    reason_problems,
    scope_problems,
)
from aroundtheworld_controller.nginx.networks import network_problems
from aroundtheworld_controller.nginx.nginx_text import block_problem
from aroundtheworld_controller.nginx.passwords import password_problems
from aroundtheworld_controller.nginx.proxies import proxy_port_problems, proxy_problems
from aroundtheworld_controller.nginx.servers import server_problems
from aroundtheworld_controller.nginx.static import MEDIA, STATIC, media_problems, static_problems
from aroundtheworld_controller.nginx.tls import nginx_ports, tls_problems
from aroundtheworld_controller.pool_rules import (
    health_path_problems,
    health_status_problems,
    pool_problems,
    port_problems,
    size_problems,
)
from aroundtheworld_controller.pools import pool_with_defaults, serving
from aroundtheworld_controller.site_rules import (
    app_problems,
    identity_problems,
    name_problems,
    time_problems,
)
from aroundtheworld_controller.variables import convert_all, load_options, refuse

WORDS = re.compile(r'[^"\\$<>&\x00-\x1f\x7f]{1,1000}')


def reserved_problems(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield the paths of pools and static files that are the role's own on every site."""
    reserved = f"/.{variables['aroundtheworld_site']}"
    paths = {
        f"aroundtheworld_pools[{number}].paths[{position}]": path
        for number, pool in enumerate(variables["aroundtheworld_pools"])
        for position, path in enumerate(pool["paths"])
    }
    for variable in (STATIC, MEDIA):
        paths |= {
            f"{variable}[{index}].url": entry["url"]
            for index, entry in enumerate(variables[variable])
        }
    for where, path in paths.items():
        if f"{path.rstrip('/')}/".startswith(f"{reserved}/"):
            yield (
                f"{where}: {path!r} is not allowed; what is below {reserved + '/'!r} the role "
                "needs for itself."
            )


def hook_problems(hooks: Mapping[str, str], load: Callable[[str], Any]) -> Iterator[str]:
    """Yield what keeps task files from being included; `load` reads a file as Ansible does."""
    for name, path in hooks.items():
        where = f"aroundtheworld_hooks.{name}: {path!r}"
        if not Path(path).is_absolute():
            yield (
                f"{where} is not allowed; it must be an absolute path on the controller, as in "
                "'{{ playbook_dir }}/hooks/tell.yml'."
            )
        elif not Path(path).is_file():
            yield f"{where} is not a file on the controller; it must be a file of tasks."
        else:
            try:
                tasks = load(path)
            except AnsibleError as error:
                yield f"{where} cannot be read as tasks: {error}"
            else:
                if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
                    yield f"{where} is not a file of tasks; it must be a list of them."


def error_text_problems(texts: Mapping[Any, Any]) -> Iterator[str]:
    """Yield what keeps words from being those of nginx's errors, as they are in HTML and JSON."""
    for status, text in texts.items():
        where = f"aroundtheworld_error_texts.{status}"
        if not re.fullmatch("[45][0-9]{2}", str(status)):
            yield f"{where}: {status!r} is not allowed; it must be an error's status, as in 404."
        elif not isinstance(text, Mapping) or text.keys() != {"title", "sentence"}:
            yield f"{where}: {text!r} is not allowed; it must have a title and a sentence."
        else:
            for name, words in text.items():
                if not isinstance(words, str) or not WORDS.fullmatch(words):
                    yield (
                        f"{where}.{name}: {words!r} is not allowed; it must be a line of at most "
                        "1000 characters, without quotation mark, backslash, '$', '<', '>' and '&'."
                    )


def address_problems(address: str, name: str) -> Iterator[str]:
    """Yield a problem unless `address` is written as systemd writes an address."""
    try:
        usual = ipaddress.ip_address(address)
    except ValueError:
        usual = None
    if usual is None or "%" in address:
        yield (
            f"{name}: {address!r} is not allowed; it must be an IPv4 or IPv6 address of the host, "
            "as in '127.0.0.1' or '::1'."
        )
    elif str(usual) != address:
        yield f"{name}: {address!r} is not allowed; write it as '{usual}'."


def metrics_problems(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what keeps metrics from having two ports, on a private address."""
    variable, name = "aroundtheworld_metrics_address", "aroundtheworld_metrics_port"
    address, port = variables[variable], variables[name]
    problems = list(address_problems(address, variable))
    yield from problems
    if not problems:
        usual = ipaddress.ip_address(address)
        if usual.is_global or usual.is_unspecified or usual.is_multicast:
            yield (
                f"{variable}: {address!r} is not allowed; everybody could read the metrics there. "
                "It must be a loopback or private address of the host, as in '10.0.0.5'."
            )
    if not 0 <= port <= 65534:
        yield f"{name}: {port} is not allowed; it must be from 1 to 65534, or 0 for no metrics."
    elif port:
        ports = {port: pool["name"] for pool in variables["aroundtheworld_pools"]
                 for port in pool["ports"]}  # fmt: skip
        taken = {port: f"a worker of the pool {pool!r}" for port, pool in ports.items()}
        taken |= nginx_ports(variables)
        for number, about in ((port, ""), (port + 1, ", and needs the port after it, which")):
            if number in taken:
                yield f"{name}: {port} is not allowed{about or '; it'} is taken by {taken[number]}."


def maintenance_problems(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the variables of a closed site, whenever it is closed."""
    pools = serving(variables["aroundtheworld_pools"])
    yield from scope_problems(variables["aroundtheworld_maintenance"], pools)
    yield from reason_problems(variables["aroundtheworld_maintenance_reason"])
    name = "aroundtheworld_maintenance_allow"
    yield from network_problems(variables[name], name)


def value_problems(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with variables whose types are right."""
    yield from identity_problems(variables)
    yield from app_problems(variables)
    yield from address_problems(
        variables["aroundtheworld_listen_address"], "aroundtheworld_listen_address"
    )
    yield from metrics_problems(variables)
    yield from health_path_problems(
        variables["aroundtheworld_health_path"], "aroundtheworld_health_path"
    )
    statuses = variables["aroundtheworld_health_status"]
    yield from health_status_problems(statuses, "aroundtheworld_health_status")
    if not statuses:
        yield (
            "aroundtheworld_health_status: [] is not allowed; no process could prove itself. Give "
            "the answers that are right, as in ['2xx', '3xx']."
        )
    yield from port_problems(variables["aroundtheworld_http_port"], "aroundtheworld_http_port")
    yield from tls_problems(variables)
    yield from acme_problems(variables)
    yield from name_problems(variables["aroundtheworld_server_names"])
    yield from time_problems(variables)
    yield from size_problems(
        variables["aroundtheworld_max_body_size"], "aroundtheworld_max_body_size"
    )
    yield from header_size_problems(variables)
    for command in ("migrate", "migrate_check", "schema_check", "data_check"):
        key = f"aroundtheworld_{command}_command"
        yield from command_problem(variables[key], key)
    yield from environment_problems(variables)
    yield from lone_settings(variables)
    yield from proxy_port_problems(variables)
    yield from proxy_problems(variables["aroundtheworld_trusted_proxies"])
    yield from header_problems(variables["aroundtheworld_headers"])
    if problem := block_problem(variables["aroundtheworld_nginx_extra"]):
        yield (
            f"aroundtheworld_nginx_extra: {problem}; it must be whole directives for the site's "
            "server block, as in 'deny 192.0.2.1;'."
        )
    yield from maintenance_problems(variables)
    yield from error_text_problems(variables["aroundtheworld_error_texts"])
    yield from reserved_problems(variables)
    yield from password_problems(variables)
    yield from server_problems(variables)
    yield from client_ca_problems(variables)
    yield from pool_problems(variables["aroundtheworld_pools"], nginx_ports(variables))
    yield from static_problems(variables)
    yield from media_problems(variables)
    yield from database_problems(variables)
    yield from backup_problems(variables)
    yield from restore_problems(variables)


def check_variables(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return variables, name to value, as their types, and pools with every setting.

    Raises:
        BadInputError: No deployment could follow them.
    """
    problems: list[str] = []
    variables = convert_all(values, load_options(), "", problems)
    refuse(problems)
    pools = variables["aroundtheworld_pools"]
    variables["aroundtheworld_pools"] = [pool_with_defaults(pool) for pool in pools]
    refuse(value_problems(variables))
    return variables
