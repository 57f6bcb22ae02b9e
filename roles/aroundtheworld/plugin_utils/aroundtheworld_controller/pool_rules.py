"""What a type cannot say of `aroundtheworld_pools`: rules for each pool, and for all together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aroundtheworld_controller.commands import command_problem
from aroundtheworld_controller.nginx.networks import network_problems
from aroundtheworld_controller.queue_rules import queue_problems
from aroundtheworld_controller.unit_directives import directive_problems
from aroundtheworld_controller.variables import load_pool_settings

VARIABLE = "aroundtheworld_pools"
NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
PATH = re.compile(r"/[A-Za-z0-9._~/-]*")
MEMORY = re.compile(r"[1-9]\d*[KMGT]?|[1-9]\d?%|100%|infinity")
HEALTH_PATH = re.compile(r"/[A-Za-z0-9._~/?=&-]*")
SIZE = re.compile(r"(0|[1-9]\d*)[kmgKMG]?")
RATE = re.compile(r"[1-9]\d{0,5}/[sm]")
HEALTH_STATUS = re.compile(r"[2-5](\d\d|xx)")


def port_problems(port: int, name: str) -> Iterator[str]:
    """Yield a problem unless `port` is a port."""
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
    """Yield what keeps `path` from being a health check's; it may have a query."""
    if not HEALTH_PATH.fullmatch(path):
        yield (
            f"{name}: {path!r} is not allowed; it must be a URL path, with a query or without, of "
            "letters, digits and '-._~/?=&', as in '/health'."
        )


def health_status_problems(statuses: Sequence[str], name: str) -> Iterator[str]:
    """Yield what keeps each from being a status, or a class of them, that a process may answer."""
    for index, status in enumerate(statuses):
        if not HEALTH_STATUS.fullmatch(status):
            yield (
                f"{name}[{index}]: {status!r} is not allowed; it must be a status from 200 to 599, "
                "such as 404, or a class of them, such as '2xx'."
            )


def serving_problems(pool: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield what is wrong with a pool that serves visitors."""
    yield from command_problems(pool, where)
    yield from visitor_problems(pool, where)
    yield from contradictions(pool, where)


def command_problems(pool: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield what is wrong with how a pool's workers serve, by a command of its own or without."""
    command, name = pool["command"], pool["name"]
    if pool["health_path"]:
        yield from health_path_problems(pool["health_path"], f"{where}.health_path")
    yield from health_status_problems(pool["health_status"], f"{where}.health_status")
    if not command:
        return
    if pool["binds"] and "{port}" not in command:
        yield (
            f"{where}.command: {command!r} is not allowed in pool {name!r}; with binds: true it "
            "must name the port as {port}, as in 'bokeh serve --port {port}'."
        )
    if not pool["binds"] and re.search(r"\{(port|address)\}", command):
        yield (
            f"{where}.command: {command!r} is not allowed in pool {name!r}; set binds: true if it "
            "binds its port itself, or leave {port} and {address} out if it takes systemd's socket."
        )
    if pool["watchdog"]:
        yield (
            f"{where}.watchdog: {pool['watchdog']} is not allowed in pool {name!r}, which has a "
            "command of its own; only the runner gives the signs of life, so leave it out."
        )


def size_problems(size: str, name: str) -> Iterator[str]:
    """Yield a problem unless `size` is one as nginx takes it."""
    if not SIZE.fullmatch(size):
        yield (
            f"{name}: {size!r} is not allowed; give a number of bytes, or a number with k, m or g "
            "behind it, as in '16m'."
        )


def visitor_problems(pool: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield what is wrong with limits for a pool's visitors."""
    if pool["rate"] and not RATE.fullmatch(pool["rate"]):
        yield (
            f"{where}.rate: {pool['rate']!r} is not allowed; give requests a second or a minute, "
            "from 1 to 999999, as in '10/s' or '30/m', or leave it out for any number."
        )
    if pool["max_body_size"]:
        yield from size_problems(pool["max_body_size"], f"{where}.max_body_size")
    yield from network_problems(pool["allow"], f"{where}.allow")


def contradictions(pool: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield settings of a pool that cannot both be meant."""
    name = pool["name"]
    if pool["stream"] and pool["compress"]:
        yield (
            f"{where}.compress: true is not allowed in pool {name!r}, whose stream is true; nginx "
            "would keep parts of a stream back to compress them. Leave one of both out."
        )
    if pool["sticky"] == "cookie" and pool["read_timeout"] <= pool["drain_timeout"]:
        yield (
            f"{where}.read_timeout: {pool['read_timeout']} is not allowed in pool {name!r}, which "
            f"is sticky and whose drain_timeout is {pool['drain_timeout']}; its visitors wait "
            "while a worker finishes its requests. Give more."
        )
    if not pool["blocking"]:
        return
    if pool["replay"]:
        yield (
            f"{where}.replay: true is not allowed in pool {name!r}, which is blocking; a request "
            "that takes long or changes something would run twice. Leave it out."
        )
    watchdog, patience = pool["watchdog"], pool["read_timeout"]
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


def pool_problems(
    pools: Sequence[Mapping[str, Any]], nginx_ports: Mapping[int, str]
) -> Iterator[str]:
    """Yield what is wrong with pools whose types are right, each alone and all together.

    Args:
        pools: With every setting.
        nginx_ports: Where nginx listens, each with its variable.
    """
    names: dict[str, str] = {}
    ports = dict(nginx_ports)
    paths: dict[str, str] = {}
    for index, pool in enumerate(pools):
        where = f"{VARIABLE}[{index}]"
        yield from _name_problems(pool["name"], where, names)
        yield from queue_problems(pool, where)
        yield from _taken_ports(pool["ports"], where, ports)
        yield from _taken_paths(pool, where, paths)
        yield from _own_problems(pool, where)
    if "" not in paths:
        yield (
            f"{VARIABLE}: no pool has '/' among its paths "
            f"({', '.join(sorted(paths)) or 'there are none'}); exactly one must, because it "
            "serves every request that no other pool does."
        )


def _name_problems(name: str, where: str, names: dict[str, str]) -> Iterator[str]:
    """Yield what keeps a pool from its name; `names` has those before it, and where they are."""
    if not NAME.fullmatch(name):
        yield (
            f"{where}.name: {name!r} is not allowed; a pool's name begins with a lower-case "
            "letter and goes on with at most 30 lower-case letters, digits and '_'."
        )
    elif name in names:
        yield f"{where}.name: {name!r} is already the name of {names[name]}; each needs its own."
    names[name] = where


def _taken_ports(own: Sequence[int], where: str, ports: dict[int, str]) -> Iterator[str]:
    """Yield what keeps a pool from its `own` ports; `ports` has those of others, and whose."""
    for position, port in enumerate(own):
        at = f"{where}.ports[{position}]"
        if problems := list(port_problems(port, at)):
            yield from problems
            continue
        if port in ports:
            yield f"{at}: {port} is already taken by {ports[port]}; each worker needs its own port."
        ports[port] = at


def _taken_paths(pool: Mapping[str, Any], where: str, paths: dict[str, str]) -> Iterator[str]:
    """Yield what keeps a pool from its paths; `paths` has those of others, and whose."""
    if pool["ports"] and not pool["paths"]:
        name = pool["name"]
        yield f"{where}.paths: [] is not allowed; pool {name!r} needs at least one of its paths."
    for position, path in enumerate(pool["paths"]):
        at = f"{where}.paths[{position}]"
        if problems := list(path_problems(path, at)):
            yield from problems
            continue
        if (key := path.rstrip("/")) in paths:
            yield f"{at}: {path!r} is already served by {paths[key]}; a path belongs to one pool."
        paths[key] = at


def _own_problems(pool: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield what is wrong with a pool's settings whatever other pools there are."""
    for key, setting in load_pool_settings().items():
        if "range" in setting:
            low, high = setting["range"]
            if not low <= pool[key] <= high:
                yield f"{where}.{key}: {pool[key]} is not allowed; it must be from {low} to {high}."
    if pool["command"]:
        yield from command_problem(pool["command"], f"{where}.command")
    if pool["ports"]:
        yield from serving_problems(pool, where)
    for key in ("memory_high", "memory_max"):
        if not MEMORY.fullmatch(pool[key]):
            yield (
                f"{where}.{key}: {pool[key]!r} is not allowed; give a number of bytes, a "
                "number with K, M, G or T behind it, as in '512M', a share of the host's "
                "memory, as in '50%', or 'infinity'."
            )
    yield from directive_problems(pool["unit"], f"{where}.unit")
