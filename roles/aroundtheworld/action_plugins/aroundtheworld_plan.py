"""Check everything that the role was given, then derive from it what the other tasks need.

Runs on the controller and changes nothing. First the variables are held against
``meta/argument_specs.yml`` and the rules that a type cannot express, then the app directory and its
lock file are read, and only then is the host asked about itself, read-only. All problems of one
kind are reported together, each with the variable's name, what was given and what is allowed.

Variables are read where they are, so that a misspelt one is seen too; of the app's source, the
argument
``app_dir`` says what directory it is in by now. With the argument ``release`` the plan is to go
back: to that release on the host, or to the one before for ``previous``; the app then does not
matter. With the argument ``remove`` the plan is that the site goes: of the host, only what speaks
against that matters.
"""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import functools
import getpass
import hashlib
import ipaddress
import os
import re
import shlex
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from packaging.requirements import InvalidRequirement, Requirement

ROLE = Path(__file__).resolve().parent.parent
RUNNER = ROLE / "files" / "runner"
PREFIX = "aroundtheworld_"

# What the other tasks need to know about the host.
HOST_FACTS = ("python", "packages_missing", "python3_apt", "ipv6", "user_exists")

# What the types of meta/argument_specs.yml accept, and how a person would say it.
TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "a text"),
    "path": ((str,), "a path"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "list": ((list, tuple), "a list"),
    "dict": ((dict,), "a mapping"),
}

NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
PATH = re.compile(r"/[A-Za-z0-9._~/-]*")
MEMORY = re.compile(r"[1-9]\d*[KMGT]?|[1-9]\d?%|100%|infinity")
HEALTH_PATH = re.compile(r"/[A-Za-z0-9._~/?=&-]*")
HOST_NAME = re.compile(
    r"(?=.{1,253}$)(\*\.)?([A-Za-z0-9_]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*"
    r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# nginx has variables of its own that begin so and end as those of a site do.
NGINX_NAMES = ("proxy", "remote", "server")
MAKE_APP = re.compile(rf"{VARIABLE.pattern}(\.{VARIABLE.pattern})*:{VARIABLE.pattern}")
HASH = re.compile(r"--hash[= ](sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})")


class BadInputError(Exception):
    """Problems that a person can mend, each a sentence."""

    def __init__(self, *problems: str) -> None:
        """Keep `problems` in the order in which they were found."""
        super().__init__("\n".join(problems))
        self.problems = list(problems)


# --- Variables ------------------------------------------------------------------------------------


@functools.cache
def load_spec() -> dict[str, Any]:
    """Return the options of ``meta/argument_specs.yml``: variable name to its specification."""
    text = (ROLE / "meta" / "argument_specs.yml").read_text()
    options: dict[str, Any] = yaml.safe_load(text)["argument_specs"]["main"]["options"]
    return options


def plain(value: object) -> Any:  # noqa: ANN401 - whatever YAML can hold
    """Return `value` without Ansible's own subclasses of what YAML can hold."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    return value


def converted(value: object, spec: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Return `value` with the type of its specification, where it plainly is that in other words.

    ``-e aroundtheworld_http_port=8080`` gives a text, and YAML gives a number for ``1048576``. What
    cannot be converted is returned as it is, for `type_problems` to refuse.
    """
    kind = spec["type"]
    if kind == "int" and isinstance(value, str) and re.fullmatch(r"-?[0-9]+", value):
        return int(value)
    if kind == "float" and isinstance(value, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
        return float(value)
    if kind == "bool" and isinstance(value, str):
        with contextlib.suppress(TypeError):
            return boolean(value)
    if kind == "str" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if kind == "list" and isinstance(value, list):
        return [converted(item, {**spec, "type": spec["elements"]}) for item in value]
    if kind == "dict" and isinstance(value, dict) and "options" in spec:
        options = spec["options"]
        return {
            key: converted(item, options[key]) if key in options else item
            for key, item in value.items()
        }
    return value


def unknown_keys(given: Mapping[str, Any], allowed: Sequence[str], where: str) -> Iterator[str]:
    """Yield a problem for each key of `given` that is not allowed, with the nearest that is."""
    for key in given:
        if key not in allowed:
            near = difflib.get_close_matches(str(key), allowed, n=1)
            hint = f"did you mean {near[0]}?" if near else f"allowed: {', '.join(sorted(allowed))}."
            yield f"{where}{key}: there is no such {'setting' if where else 'variable'}; {hint}"


def type_problems(value: object, spec: Mapping[str, Any], name: str) -> Iterator[str]:
    """Yield what is wrong with `value` by its specification, looking into lists and mappings."""
    accepted, words = TYPES[spec["type"]]
    if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in accepted):
        shown = f"a value of type {type(value).__name__}" if spec.get("no_log") else repr(value)
        yield f"{name}: {shown} is not allowed; it must be {words}."
        return
    if "choices" in spec and value not in spec["choices"]:
        yield f"{name}: {value!r} is not allowed; allowed: {', '.join(map(str, spec['choices']))}."
    if isinstance(value, (list, tuple)):
        element = {**spec, "type": spec["elements"]}
        for index, item in enumerate(value):
            yield from type_problems(item, element, f"{name}[{index}]")
    elif isinstance(value, dict) and "options" in spec:
        options = spec["options"]
        yield from unknown_keys(value, list(options), f"{name}.")
        for key, option in options.items():
            if key in value:
                yield from type_problems(value[key], option, f"{name}.{key}")
            elif option.get("required"):
                yield f"{name}.{key}: is missing; it must be {TYPES[option['type']][1]}."


def port_problems(port: int, name: str) -> Iterator[str]:
    """Yield a problem when `port` is none."""
    if not 1 <= port <= 65535:
        yield f"{name}: {port} is not allowed; a port is a whole number from 1 to 65535."


def path_problems(path: str, name: str) -> Iterator[str]:
    """Yield what keeps `path` from being a URL path that nginx and the app agree on."""
    if not path.startswith("/"):
        yield f"{name}: {path!r} is not allowed; a path begins with a slash, as in '/{path}'."
    elif not PATH.fullmatch(path) or "//" in path or {".", ".."} & set(path.split("/")):
        yield (
            f"{name}: {path!r} is not allowed; a path has letters, digits, '-', '.', '_', '~' and "
            "single slashes, and no '.' or '..' between them."
        )


def health_path_problems(path: str, name: str) -> Iterator[str]:
    """Yield what keeps `path` from being asked for; it may have a query."""
    if not HEALTH_PATH.fullmatch(path):
        yield (
            f"{name}: {path!r} is not allowed; it must be a URL path, with a query or without, of "
            "letters, digits and '-._~/?=&', as in '/health'."
        )


RANGES = {
    "start_timeout": (1, 3600),
    "drain_timeout": (0, 86400),
    "read_timeout": (1, 86400),
    "watchdog": (0, 86400),
    "cpu_weight": (1, 10000),
    "io_weight": (1, 10000),
    "tasks_max": (1, 1000000),
    "nice": (-20, 19),
    "oom_score_adjust": (-1000, 1000),
    "max_in_flight": (0, 65535),
}


def command_problems(pool: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield what is wrong with a pool's own command, and with settings that it contradicts."""
    command, name = pool.get("command", ""), pool["name"]
    if pool.get("health_path"):
        yield from health_path_problems(pool["health_path"], f"{where}.health_path")
    if not command:
        if pool.get("binds"):
            yield (
                f"{where}.binds: true is not allowed in pool {name!r}, which has no command; the "
                "runner takes systemd's socket."
            )
        return
    if re.search(r"[\n\r\0]", command) or not command.strip() or ";" in command.split():
        yield (
            f"{where}.command: {command!r} is not allowed; it must be one line with one command, "
            "as in 'gunicorn shop.admin:app'."
        )
    if pool.get("binds") and "{port}" not in command:
        yield (
            f"{where}.command: {command!r} is not allowed in pool {name!r}; with binds: true it "
            "must name the port as {port}, as in 'bokeh serve --port {port}'."
        )
    if not pool.get("binds") and re.search(r"\{(port|address)\}", command):
        yield (
            f"{where}.command: {command!r} is not allowed in pool {name!r}; set binds: true if it "
            "binds its port itself, or leave {port} and {address} out if it takes systemd's socket."
        )
    if pool.get("watchdog"):
        yield (
            f"{where}.watchdog: {pool['watchdog']} is not allowed in pool {name!r}, which has a "
            "command of its own; only the runner gives the signs of life, so leave it out."
        )


def contradictions(pool: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield settings of a pool that cannot both be meant."""
    name = pool["name"]
    if not pool.get("blocking"):
        return
    if pool.get("replay"):
        yield (
            f"{where}.replay: true is not allowed in pool {name!r}, which is blocking; a request "
            "that takes long or changes something would run twice. Leave it out."
        )
    watchdog, patience = pool.get("watchdog", 0), pool.get("read_timeout", 300)
    if 0 < watchdog < patience:
        yield (
            f"{where}.watchdog: {watchdog} is not allowed in pool {name!r}, which is blocking and "
            f"whose read_timeout is {patience}; it would kill what nginx still waits for. Give 0, "
            f"or at least {patience}."
        )


def memory_bytes(text: str, total: int) -> float:
    """Return the bytes of a limit for a host with `total` of them."""
    if text == "infinity":
        return float("inf")
    if text.endswith("%"):
        return total * int(text[:-1]) / 100
    powers = {"K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
    return int(text.rstrip("KMGT")) * powers.get(text[-1], 1)


def limit_problems(
    pools: Sequence[Mapping[str, Any]], host: Mapping[str, Any], name: str
) -> Iterator[str]:
    """Yield limits of pools that are larger than the host `name`, or that are never reached."""
    total = host["memory"]
    for index, pool in enumerate(pools):
        where, pool_name = f"aroundtheworld_pools[{index}]", pool["name"]
        most = memory_bytes(pool["memory_max"], total)
        for key in ("memory_high", "memory_max"):
            if total < memory_bytes(pool[key], total) < float("inf"):
                yield (
                    f"{where}.{key}: {pool[key]!r} of pool {pool_name!r} is more than {name} has "
                    f"({total // 1024**2}M); give less, or 'infinity' for no limit."
                )
        if most < memory_bytes(pool["memory_high"], total) < float("inf"):
            yield (
                f"{where}.memory_high: {pool['memory_high']!r} of pool {pool_name!r} is more than "
                f"its memory_max, {pool['memory_max']!r}, on {name}; it has to be less."
            )
        if pool["tasks_max"] > host["processes"]:
            yield (
                f"{where}.tasks_max: {pool['tasks_max']} of pool {pool_name!r} is more than {name} "
                f"can have ({host['processes']}); give less."
            )


def pool_problems(pools: Sequence[Mapping[str, Any]], http_port: int) -> Iterator[str]:
    """Yield what is wrong with pools whose types are right, each alone and all together."""
    variable = "aroundtheworld_pools"
    names: dict[str, str] = {}
    ports: dict[int, str] = {http_port: "aroundtheworld_http_port"}
    paths: dict[str, str] = {}
    for index, pool in enumerate(pools):
        where = f"{variable}[{index}]"
        name = pool["name"]
        if not NAME.fullmatch(name):
            yield (
                f"{where}.name: {name!r} is not allowed; a pool's name begins with a lower-case "
                "letter and goes on with at most 30 lower-case letters, digits and '_'."
            )
        elif name in names:
            yield (
                f"{where}.name: {name!r} is already the name of {names[name]}; each needs its own."
            )
        names[name] = where
        for key in ("ports", "paths"):
            if not pool[key]:
                yield (
                    f"{where}.{key}: [] is not allowed; pool {name!r} needs at least one of its "
                    f"{key}."
                )
        for position, port in enumerate(pool["ports"]):
            at = f"{where}.ports[{position}]"
            if problems := list(port_problems(port, at)):
                yield from problems
                continue
            if port in ports:
                yield (
                    f"{at}: {port} is already taken by {ports[port]}; each worker needs its own "
                    "port."
                )
            ports[port] = at
        for position, path in enumerate(pool["paths"]):
            at = f"{where}.paths[{position}]"
            if problems := list(path_problems(path, at)):
                yield from problems
                continue
            if (key := path.rstrip("/")) in paths:
                yield (
                    f"{at}: {path!r} is already served by {paths[key]}; a path belongs to one pool."
                )
            paths[key] = at
        for key, (low, high) in RANGES.items():
            if key in pool and not low <= pool[key] <= high:
                yield f"{where}.{key}: {pool[key]} is not allowed; it must be from {low} to {high}."
        yield from command_problems(pool, where)
        for key in ("memory_high", "memory_max"):
            if not MEMORY.fullmatch(pool.get(key, "infinity")):
                yield (
                    f"{where}.{key}: {pool[key]!r} is not allowed; give a number of bytes, one "
                    "with K, M, G or T behind it, as in '512M', a share of the host's memory, as "
                    "in '50%', or 'infinity'."
                )
        yield from contradictions(pool, where)
    if "" not in paths:
        yield (
            f"{variable}: no pool has '/' among its paths "
            f"({', '.join(sorted(paths)) or 'none given'}); exactly one must, because it serves "
            "every request that no other pool does."
        )


def static_problems(
    static: Sequence[Mapping[str, Any]], pools: Sequence[Mapping[str, Any]], make_app: str
) -> Iterator[str]:
    """Yield what keeps directories of the app from being served by nginx."""
    paths = {path.rstrip("/"): pool["name"] for pool in pools for path in pool["paths"]}
    urls: dict[str, str] = {}
    for index, one in enumerate(static):
        where = f"aroundtheworld_static[{index}]"
        url, directory = one["url"], PurePosixPath(one["directory"])
        problems = list(path_problems(url, f"{where}.url"))
        yield from problems
        if not problems and (not url.endswith("/") or url == "/"):
            yield (
                f"{where}.url: {url!r} is not allowed; it must have a slash at both ends and "
                "something between them, as in '/static/'."
            )
        if (pool := paths.get(url.rstrip("/"))) is not None and url != "/":
            yield (
                f"{where}.url: {url!r} is already a path of the pool {pool!r}; either nginx serves "
                "it or that pool does."
            )
        for other, name in urls.items():
            if url.startswith(other) or other.startswith(url):
                yield (
                    f"{where}.url: {url!r} overlaps {other!r} of {name}; no two may be equal, and "
                    "none lie within another."
                )
        urls[url] = where
        if directory.is_absolute() or ".." in directory.parts or not directory.parts:
            yield (
                f"{where}.directory: {one['directory']!r} is not allowed; it must be a directory "
                "in the app's, given from there, as in 'shop/static'."
            )
        elif make_app and PurePosixPath(
            make_app.partition(":")[0].replace(".", "/")
        ).is_relative_to(directory):
            yield (
                f"{where}.directory: {one['directory']!r} is not allowed; it holds the app's code, "
                "which nginx would give to everybody."
            )


def hook_problems(hooks: Mapping[str, str], load: Callable[[str], Any]) -> Iterator[str]:
    """Yield what keeps task files from being included; `load` reads one as Ansible does."""
    for name, path in hooks.items():
        where = f"aroundtheworld_hooks.{name}: {path!r}"
        if not Path(path).is_absolute():
            yield (
                f"{where} is not allowed; it must be an absolute path on the controller, as in "
                "'{{ playbook_dir }}/hooks/tell.yml'."
            )
        elif not Path(path).is_file():
            yield f"{where} is not a file on the controller; it must be one with tasks."
        else:
            try:
                tasks = load(path)
            except AnsibleError as error:
                yield f"{where} cannot be read as tasks: {error}"
            else:
                if not isinstance(tasks, list) or not all(isinstance(one, dict) for one in tasks):
                    yield f"{where} is no file of tasks; it must be a list of them."


def address_problems(address: str, name: str) -> Iterator[str]:
    """Yield a problem unless `address` is one, written as systemd writes it when it is asked."""
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


def metrics_problems(given: Mapping[str, Any]) -> Iterator[str]:
    """Yield what keeps metrics from having two ports, on a private address."""
    variable, name = "aroundtheworld_metrics_address", "aroundtheworld_metrics_port"
    address, port = given[variable], given[name]
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
        ports = {port: pool["name"] for pool in given["aroundtheworld_pools"]
                 for port in pool["ports"]}  # fmt: skip
        taken = {port: f"a worker of the pool {pool!r}" for port, pool in ports.items()}
        taken[given["aroundtheworld_http_port"]] = "aroundtheworld_http_port"
        for one, about in ((port, ""), (port + 1, ", and needs the port after it, which")):
            if one in taken:
                yield f"{name}: {port} is not allowed{about or '; it'} is taken by {taken[one]}."


def value_problems(given: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with variables whose types are right."""
    for key in ("aroundtheworld_site", "aroundtheworld_user"):
        if not NAME.fullmatch(given[key]):
            yield (
                f"{key}: {given[key]!r} is not allowed; it begins with a lower-case letter and "
                "goes on with at most 30 lower-case letters, digits and '_'."
            )
    if given["aroundtheworld_site"] in NGINX_NAMES:
        yield (
            f"aroundtheworld_site: {given['aroundtheworld_site']!r} is not allowed; nginx has "
            "names of its own that begin with it."
        )
    home = given["aroundtheworld_home"]
    if not PATH.fullmatch(home) or len(Path(home).parts) < 3 or ".." in Path(home).parts:
        yield (
            f"aroundtheworld_home: {home!r} is not allowed; it must be an absolute path of "
            "letters, digits, '-', '.', '_' and '~', at least two directories deep, as in "
            "'/srv/site'."
        )
    make_app = given["aroundtheworld_make_app"]
    runs = [pool["name"] for pool in given["aroundtheworld_pools"] if not pool.get("command")]
    if not make_app and runs:
        yield (
            "aroundtheworld_make_app: is missing; it says where the app of the pools without a "
            f"command is made ({', '.join(runs)}), as in 'shop.web:make_app'."
        )
    if make_app and not MAKE_APP.fullmatch(make_app):
        yield (
            f"aroundtheworld_make_app: {make_app!r} is not allowed; it "
            "names a module and a callable in it, as in 'shop.web:make_app'."
        )
    yield from address_problems(
        given["aroundtheworld_listen_address"], "aroundtheworld_listen_address"
    )
    yield from metrics_problems(given)
    yield from health_path_problems(
        given["aroundtheworld_health_path"], "aroundtheworld_health_path"
    )
    yield from port_problems(given["aroundtheworld_http_port"], "aroundtheworld_http_port")
    names = given["aroundtheworld_server_names"]
    if not names:
        yield (
            "aroundtheworld_server_names: [] is not allowed; give host names, or '_' for every "
            "name."
        )
    for index, name in enumerate(names):
        if name != "_" and not HOST_NAME.fullmatch(name):
            yield (
                f"aroundtheworld_server_names[{index}]: {name!r} is not allowed; it must be one "
                "host name of letters, digits, '-' and '.', as in 'www.example.org', or '_' for "
                "every name."
            )
    if not re.fullmatch(r"(0|[1-9]\d*)[kmg]?", given["aroundtheworld_max_body_size"], re.I):
        yield (
            f"aroundtheworld_max_body_size: {given['aroundtheworld_max_body_size']!r} is not "
            "allowed; give a number of bytes, or one with k, m or g behind it, as in '16m'."
        )
    for key in ("aroundtheworld_maintenance_retry_after", "aroundtheworld_block_warn"):
        if not 0 <= given[key] < float("inf"):
            yield f"{key}: {given[key]} is not allowed; it must be a number of seconds from 0."
    for key in ("aroundtheworld_migrate_command", "aroundtheworld_migrate_check_command"):
        if re.search(r"[\n\r\0]", given[key]):
            yield f"{key}: {given[key]!r} is not allowed; it must be one line."
    try:
        shlex.split(given["aroundtheworld_migrate_check_command"])
    except ValueError as error:
        yield (
            "aroundtheworld_migrate_check_command: "
            f"{given['aroundtheworld_migrate_check_command']!r} is not allowed: {error}."
        )
    # Whatever is wrong with a variable of the app or a secret, its value is not shown.
    for key, value in given["aroundtheworld_environment"].items():
        if not isinstance(key, str) or not VARIABLE.fullmatch(key):
            yield (
                f"aroundtheworld_environment: the name {key!r} is not allowed; it must have "
                "letters, digits and '_' only, and not begin with a digit."
            )
        elif isinstance(value, bool) or not isinstance(value, (str, int, float)):
            yield (
                f"aroundtheworld_environment.{key}: a value of type {type(value).__name__} is not "
                "allowed; it must be a text or a number. Put quotes around words like 'true'."
            )
        elif "\0" in str(value):
            yield f"aroundtheworld_environment.{key}: a NUL character is not allowed in its value."
    for key, value in given["aroundtheworld_secrets"].items():
        if not isinstance(key, str) or not VARIABLE.fullmatch(key):
            yield (
                f"aroundtheworld_secrets: the name {key!r} is not allowed; it must have letters, "
                "digits and '_' only, and not begin with a digit."
            )
        elif not isinstance(value, str) or not value:
            shown = "an empty text" if value == "" else f"a value of type {type(value).__name__}"
            yield (
                f"aroundtheworld_secrets.{key}: {shown} is not allowed; it must be a text that is "
                "not empty, or 'generate' to have one made on the host."
            )
    yield from pool_problems(given["aroundtheworld_pools"], given["aroundtheworld_http_port"])
    yield from static_problems(
        given["aroundtheworld_static"],
        given["aroundtheworld_pools"],
        given["aroundtheworld_make_app"],
    )


def check_variables(given: Mapping[str, Any]) -> None:
    """Refuse variables, name to value, that no deployment could follow; raises `BadInputError`."""
    spec = load_spec()
    problems = list(unknown_keys(given, list(spec), ""))
    for name, option in spec.items():
        if name in given:
            problems += type_problems(given[name], option, name)
        elif option.get("required"):
            problems.append(f"{name}: is missing; it must be {TYPES[option['type']][1]}.")
    problems = problems or list(value_problems(given))
    if problems:
        raise BadInputError(*problems)


# --- Pools ----------------------------------------------------------------------------------------


def derive_pools(
    given: Mapping[str, Any],
    defaults: Mapping[str, Any],
    blocking_defaults: Mapping[str, Any],
    websocket_defaults: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Return the pools with every setting filled in, and with what units and nginx need of each.

    Every pool gets an `upstream`, its name in nginx, and `servers`, its workers' ``address:port``.
    """
    site, address = given["aroundtheworld_site"], given["aroundtheworld_listen_address"]
    host = f"[{address}]" if ":" in address else address
    pools = []
    for pool in given["aroundtheworld_pools"]:
        family = {
            **defaults,
            **(blocking_defaults if pool.get("blocking") else {}),
            **(websocket_defaults if pool.get("websocket") else {}),
            # The watchdog is fed by the runner, which a command of its own does without.
            **({"watchdog": 0} if pool.get("command") else {}),
        }
        paths = [path.rstrip("/") or "/" for path in pool["paths"]]
        infix = "" if "/" in paths else f"_{pool['name']}"
        pools.append(
            {
                **family,
                **pool,
                "paths": paths,
                "health_path": pool.get("health_path") or given["aroundtheworld_health_path"],
                "upstream": f"{site}{infix}_backends",
                "servers": [f"{host}:{port}" for port in pool["ports"]],
            }
        )
    return pools


def derive_static(
    given: Mapping[str, Any], pools: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the directories that nginx serves, each with the `pool` that answers what it lacks."""
    return [
        {
            **one,
            "pool": max(
                (len(path), pool["name"])
                for pool in pools
                for path in pool["paths"]
                if one["url"].startswith(path.rstrip("/") + "/")
            )[1],
        }
        for one in given["aroundtheworld_static"]
    ]


def restart_order(pools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the workers in the order of their exchange, as `aroundtheworld_workers` takes them."""
    return [
        {
            "port": port,
            "pool": pool["name"],
            "blocking": pool["blocking"],
            "kind": ("binds" if pool["binds"] else "takes") if pool["command"] else "runner",
            "health_path": pool["health_path"],
            "start_timeout": pool["start_timeout"],
        }
        # Blocking pools first: only their operators notice when the release is a bad one.
        for pool in sorted(pools, key=lambda pool: not pool["blocking"])
        for port in pool["ports"]
    ]


def derive_claim(given: Mapping[str, Any], pools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the site has for itself on its host, for other sites there to keep off."""
    wanted = [
        (given["aroundtheworld_listen_address"], port, "aroundtheworld_pools")
        for pool in pools
        for port in pool["ports"]
    ]
    if port := given["aroundtheworld_metrics_port"]:
        variable = "aroundtheworld_metrics_port"
        wanted.append((given["aroundtheworld_metrics_address"], port, variable))
        wanted.append(("127.0.0.1", port + 1, variable))  # nginx's own numbers
    return {
        "site": given["aroundtheworld_site"],
        "home": given["aroundtheworld_home"],
        "user": given["aroundtheworld_user"],
        "http_port": given["aroundtheworld_http_port"],
        "server_names": given["aroundtheworld_server_names"],
        "pools": [pool["name"] for pool in pools],
        "sockets": [
            {"address": address, "port": port, "variable": variable}
            for address, port, variable in wanted
        ],
    }


# --- The release ----------------------------------------------------------------------------------


def read_lock(path: Path) -> list[dict[str, Any]]:
    """Return the requirements of a hash-locked file, each ``{name, version, marker, hashes}``.

    Raises:
        BadInputError: The file is missing, or a line is no exact version with hashes.
    """
    shown = f"aroundtheworld_requirements: {path.name}"
    if not path.is_file():
        raise BadInputError(
            f"{shown} does not exist in {path.parent}; make it with "
            "'uv pip compile --universal --generate-hashes' from the app's requirements."
        )
    requirements, problems = [], []
    for number, line in logical_lines(path.read_text()):
        wanted = line.split(" --", 1)[0].strip()
        try:
            requirement = Requirement(wanted)
        except InvalidRequirement:
            problems.append(
                f"{shown}, line {number} reads {wanted!r}; allowed are lines like "
                "'tornado==6.5 --hash=sha256:…' (no options, no links, no directories)."
            )
            continue
        pins = [spec.version for spec in requirement.specifier if spec.operator == "=="]
        hashes = HASH.findall(line)
        if len(pins) != 1 or "*" in pins[0] or len(requirement.specifier) != 1 or requirement.url:
            problems.append(
                f"{shown} has {wanted!r}; every line must name one exact version with '=='."
            )
        elif not hashes:
            problems.append(
                f"{shown} has {wanted!r} without a hash; every line needs its '--hash=sha256:…', "
                "as 'uv pip compile --generate-hashes' writes it."
            )
        else:
            requirements.append(
                {
                    "name": requirement.name,
                    "version": pins[0],
                    "marker": str(requirement.marker or ""),
                    "hashes": sorted(hashes),
                }
            )
    if problems:
        raise BadInputError(*problems)
    return requirements


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a requirements file that say something, each with its number.

    A backslash continues a line on the next one; a comment ends with its own.
    """
    first, line = 1, ""
    for number, part in enumerate([*text.splitlines(), ""], 1):
        line += re.sub(r"(^|\s)#.*", "", part)
        if line.endswith("\\"):
            line = line[:-1]
            continue
        if line.strip():
            yield first, line.strip()
        first, line = number + 1, ""


def lock_for(requirements: Sequence[Mapping[str, Any]], environment: Mapping[str, str]) -> str:
    """Return the lock file's text for one Python, markers decided by its PEP 508 `environment`."""
    lines = []
    for one in requirements:
        marker = Requirement(f"{one['name']} ; {one['marker']}").marker if one["marker"] else None
        if marker is None or marker.evaluate(dict(environment)):
            hashes = " ".join(f"--hash={digest}" for digest in one["hashes"])
            lines.append(f"{one['name']}=={one['version']} {hashes}\n")
    return "".join(sorted(lines))


def app_files(root: Path, exclude: Sequence[str]) -> list[Path]:
    """Return the files below `root` and behind links, relative to it, sorted, without `exclude`."""
    files = []
    for directory, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not _excluded(name, exclude)]
        files += [
            (Path(directory) / name).relative_to(root)
            for name in names
            if not _excluded(name, exclude)
        ]
    return sorted(files)


def _excluded(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def content_id(trees: Mapping[str, tuple[Path, Sequence[Path]]]) -> str:
    """Return 12 hexadecimal digits that stand for the names, contents and executability of files.

    Args:
        trees: What each tree is called in the release, to its root and the files below it.
    """
    digest = hashlib.sha256()
    for label, (root, files) in sorted(trees.items()):
        for file in files:
            path = root / file
            executable = bool(path.stat().st_mode & 0o100)
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{label}/{file.as_posix()}\0{executable}\0{content}\n".encode())
    return digest.hexdigest()[:12]


def describe_release(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the release is made of: its id, its trees, and the requirements it runs with.

    Raises:
        BadInputError: The app directory is missing or unreadable, or its lock file cannot be used.
    """
    if not given["aroundtheworld_app_dir"]:
        raise BadInputError(
            "aroundtheworld_app_dir: is missing, and so are aroundtheworld_app_git and "
            "aroundtheworld_app_archive; exactly one of them must say where the app comes from."
        )
    root = Path(given["aroundtheworld_app_dir"]).expanduser().resolve()
    if not root.is_dir():
        raise BadInputError(
            f"aroundtheworld_app_dir: {given['aroundtheworld_app_dir']!r} is not a directory on "
            "the controller; give the one that holds the app and its requirements."
        )
    requirements = read_lock(root / given["aroundtheworld_requirements"])
    module = given["aroundtheworld_make_app"].split(":")[0].split(".")[0]
    if module and not (root / module).is_dir() and not (root / f"{module}.py").is_file():
        known = {requirement["name"].replace("-", "_").lower() for requirement in requirements}
        if module.lower() not in known:
            raise BadInputError(
                f"aroundtheworld_make_app: {given['aroundtheworld_make_app']!r} names the module "
                f"{module!r}, which is neither in {root} nor among the locked requirements."
            )
    files = {
        "app": (root, app_files(root, given["aroundtheworld_app_exclude"])),
        "runner": (RUNNER, app_files(RUNNER, ["__pycache__", "*.pyc", ".*"])),
    }
    for index, one in enumerate(given["aroundtheworld_static"]):
        if not any(file.is_relative_to(one["directory"]) for file in files["app"][1]):
            raise BadInputError(
                f"aroundtheworld_static[{index}].directory: {one['directory']!r} holds no file of "
                f"the app; it must be a directory in {root} that aroundtheworld_app_exclude leaves "
                "in."
            )
    trees = {
        label: {"root": str(top), "files": [file.as_posix() for file in names]}
        for label, (top, names) in files.items()
    }
    try:
        identity = content_id(files)
    except OSError as error:
        raise BadInputError(
            f"aroundtheworld_app_dir: {error.filename} cannot be read ({error.strerror}); mend or "
            "remove it, or name it in aroundtheworld_app_exclude."
        ) from None
    return {"id": identity, "trees": trees, "requirements": requirements}


def environment_for(
    requirements: Sequence[Mapping[str, Any]], python: Mapping[str, Any]
) -> dict[str, str]:
    """Return the ``id`` and ``lock`` text of the virtual environment for a host's own Python."""
    lock = lock_for(requirements, python["markers"])
    about = f"{python['implementation']}{python['version']}-{python['platform']}\n{lock}"
    return {"id": hashlib.sha256(about.encode()).hexdigest()[:12], "lock": lock}


# --- The host -------------------------------------------------------------------------------------


def host_problems(
    host: Mapping[str, Any], name: str, distributions: Sequence[str]
) -> Iterator[str]:
    """Yield what about the host `name` keeps the site from being deployed there."""
    if host["distribution"] not in distributions:
        yield (
            f"{name} runs {host['distribution']!r}, on which the role is not tested; "
            f"allowed: {', '.join(distributions)}."
        )
    yield from occupied_problems(host, name)
    yield from host["collisions"]
    for taken in host["taken_ports"]:
        yield (
            f"{taken['variable']}: port {taken['port']} on {name} is already taken by "
            f"{taken['process']} (listening on {taken['address']}); stop it, or choose another "
            "port."
        )


def occupied_problems(host: Mapping[str, Any], name: str) -> Iterator[str]:
    """Yield why nothing called as the site may be changed on the host `name`."""
    if host["changing"]:
        yield f"{name}: {host['changing']}"
    if host["foreign"]:
        yield (
            f"aroundtheworld_site: {name} has {', '.join(host['foreign'])}, which is no site's of "
            "this role; give the site another name."
        )


def release_to_go_back_to(wanted: str, host: Mapping[str, Any], name: str) -> str:
    """Return the id of the release on host `name` that is meant; raises `BadInputError`."""
    if wanted == "previous":
        if not host["good_releases"]:
            raise BadInputError(
                f"aroundtheworld_release: there is no release on {name} to go back to; none but "
                f"{host['current'] or 'the first one'} ran well and is still on the host. Deploy a "
                "good one instead."
            )
        return str(host["good_releases"][0])
    if wanted not in host["releases"]:
        known = ", ".join(sorted(host["releases"])) or "none"
        raise BadInputError(
            f"aroundtheworld_release: {wanted!r} is not on {name}; there are: {known}."
        )
    return wanted


class ActionModule(ActionBase):
    """The task ``aroundtheworld_plan``; its result holds pools, release, environment and host."""

    _requires_connection = True
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the plan, or fail with everything that has to be mended first."""
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        spec = load_spec()
        given = {
            name: converted(self._value(name, task_vars), spec.get(name, {"type": "any"}))
            for name in task_vars
            if name.startswith(PREFIX)
        }
        back_to, removing = (self._task.args.get(key, "") for key in ("release", "remove"))
        app = {"aroundtheworld_app_dir": self._task.args.get("app_dir", "")}
        try:
            check_variables(given)
            hooks = given["aroundtheworld_hooks"]
            if not removing and (
                problems := list(hook_problems(hooks, self._loader.load_from_file))
            ):
                raise BadInputError(*problems)
            release = {} if back_to or removing else describe_release({**given, **app})
        except BadInputError as bad:
            raise AnsibleActionFail(self._refusal(bad.problems)) from None
        pools = derive_pools(
            given,
            self._value("__aroundtheworld_pool_defaults", task_vars),
            self._value("__aroundtheworld_blocking_pool_defaults", task_vars),
            self._value("__aroundtheworld_websocket_pool_defaults", task_vars),
        )
        claim = derive_claim(given, pools)
        host = self._execute_module(
            module_name="aroundtheworld_host",
            module_args={
                "site": given["aroundtheworld_site"],
                "home": given["aroundtheworld_home"],
                "address": given["aroundtheworld_listen_address"],
                "worker_ports": [port for pool in pools for port in pool["ports"]],
                "http_port": given["aroundtheworld_http_port"],
                "claim": claim,
                "metrics": {
                    "address": given["aroundtheworld_metrics_address"],
                    "port": given["aroundtheworld_metrics_port"],
                },
                "packages": self._value("__aroundtheworld_packages", task_vars),
            },
            task_vars=task_vars,
        )
        if host.get("failed") or host.get("unreachable"):
            return dict(host)
        distributions = self._value("__aroundtheworld_distributions", task_vars)
        name = task_vars["inventory_hostname"]
        who = f"{getpass.getuser()} on {socket.gethostname()}"
        try:
            if removing:
                if problems := list(occupied_problems(host, name)):
                    raise BadInputError(*problems)
                return {**result, "changed": False, "who": who}
            problems = list(host_problems(host, name, distributions))
            if problems := [*problems, *limit_problems(pools, host, name)]:
                raise BadInputError(*problems)
            if back_to:
                release = {"id": release_to_go_back_to(back_to, host, name)}
                environment = {"id": host["releases"][release["id"]]}
            else:
                environment = environment_for(release.pop("requirements"), host["python"])
        except BadInputError as bad:
            raise AnsibleActionFail(self._refusal(bad.problems)) from None
        result.update(
            changed=False,
            pools=pools,
            workers=restart_order(pools),
            static=derive_static(given, pools),
            release=release,
            environment=environment,
            claim=claim,
            host={key: host[key] for key in HOST_FACTS},
            who=who,
        )
        return result

    def _value(self, name: str, task_vars: Mapping[str, Any]) -> Any:  # noqa: ANN401
        return plain(self._templar.template(task_vars[name]))

    @staticmethod
    def _refusal(problems: Sequence[str]) -> str:
        return "Nothing was changed, because of this:\n" + "\n".join(
            f"  - {one}" for one in problems
        )
