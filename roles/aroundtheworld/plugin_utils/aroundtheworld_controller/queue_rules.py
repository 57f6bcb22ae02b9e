"""What a pool without ports may not have, and what only such a pool has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aroundtheworld_controller.pools import defaults_of, is_queue
from aroundtheworld_controller.variables import load_pool_settings


def queue_problems(pool: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield settings of a pool that mean nothing in it, because of its ports or for want of them.

    Args:
        pool: With every setting. What it has by default means no harm.
        where: What stands before a setting in a message.
    """
    name = pool["name"]
    if pool["ports"]:
        _, most = load_pool_settings()["processes"]["range"]
        if 1 < (count := pool["processes"]) <= most:
            yield (
                f"{where}.processes: {count} is not allowed in pool {name!r}, which has ports, and "
                "a worker for each of them. Leave it out."
            )
        return
    if not is_queue(pool):
        yield (
            f"{where}.ports: [] is not allowed; pool {name!r} needs at least one of its ports, or "
            "else a command that takes work from a queue."
        )
        return
    usual = defaults_of(["blocking", "command"])
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


def _shown(value: object) -> str:
    """Return a value as YAML has it."""
    return str(value).lower() if isinstance(value, bool) else repr(value)
