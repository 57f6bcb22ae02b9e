"""What a pool without ports may not have, and what only such a pool has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aroundtheworld_controller.calendar_rules import calendar_problem
from aroundtheworld_controller.pools import BACKGROUND, defaults_of, is_background
from aroundtheworld_controller.variables import load_pool_settings


def queue_problems(pool: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield settings of a pool that mean nothing in it, because of its ports or for want of them.

    Args:
        pool: With every setting. What it has by default means no harm.
        where: What stands before a setting in a message.
    """
    name, at = pool["name"], pool["at"]
    if pool["ports"]:
        yield from _only_for(pool, where, "processes", "which has ports, and a worker for each")
        if at:
            yield (
                f"{where}.at: {_shown(at)} is not allowed in pool {name!r}, which has ports, so "
                "that it serves all the time. Leave one of both out."
            )
        yield from _only_for(pool, where, "run_timeout", "which has ports, and is no job")
        return
    if not is_background(pool):
        yield (
            f"{where}.ports: [] is not allowed; pool {name!r} needs at least one of its ports, or "
            "else a command that takes work from a queue."
        )
        return
    for position, text in enumerate(at):
        if problem := calendar_problem(text):
            yield f"{where}.at[{position}]: {text!r} is not allowed; {problem}."
    if at:
        yield from _only_for(
            pool, where, "processes", "which has at, and is never run twice at once"
        )
    else:
        yield from _only_for(pool, where, "run_timeout", "which has no at, so that it has no end")
    usual = defaults_of(BACKGROUND)
    for key, setting in load_pool_settings().items():
        if setting.get("serving") and pool[key] != usual[key]:
            yield (
                f"{where}.{key}: {_shown(pool[key])} is not allowed in pool {name!r}, which has no "
                "ports, so nobody can ask it for anything. Leave it out, or give it ports."
            )
    for word in ("{port}", "{address}"):
        if word in pool["command"]:
            yield (
                f"{where}.command: {pool['command']!r} is not allowed in pool {name!r}, which has "
                f"no ports; there is nothing that {word} could stand for."
            )


def _only_for(pool: Mapping[str, Any], where: str, key: str, why: str) -> Iterator[str]:
    """Yield that a pool of this kind has no such setting, if it sets it to what may be."""
    setting, value, name = load_pool_settings()[key], pool[key], pool["name"]
    low, high = setting["range"]
    if value != setting["default"] and low <= value <= high:
        yield f"{where}.{key}: {value} is not allowed in pool {name!r}, {why}. Leave it out."


def _shown(value: object) -> str:
    """Return a value as YAML has it."""
    return str(value).lower() if isinstance(value, bool) else repr(value)
