"""Settings that mean nothing without another one: who sets them alone expects what will not be.

What only counts in a mode (`aroundtheworld_acme_email`) is not among them: group variables may have
it for hosts of both kinds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from aroundtheworld_controller.pools import is_background
from aroundtheworld_controller.variables import load_options, load_pool_settings


class Need(NamedTuple):
    """What a setting needs, and why."""

    other: str
    why: str


NO_MIGRATION = "there is no migration otherwise"
POOL = {
    "burst": Need("rate", "so many requests come at once above that"),
    "binds": Need("command", "the runner takes systemd's socket"),
}
VARIABLES = {
    "aroundtheworld_migrate": Need("aroundtheworld_migrate_command", NO_MIGRATION),
    "aroundtheworld_migrate_check_command": Need("aroundtheworld_migrate_command", NO_MIGRATION),
    "aroundtheworld_with_data": Need("aroundtheworld_databases", "there are no copies otherwise"),
    "aroundtheworld_metrics_address": Need(
        "aroundtheworld_metrics_port", "there are no metrics otherwise"
    ),
    "aroundtheworld_hsts_subdomains": Need(
        "aroundtheworld_hsts_seconds", "browsers are told nothing otherwise"
    ),
}


def lone_settings(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is set, and not as by default, without what it needs."""
    yield from _lone(variables, VARIABLES, load_options(), "")
    for index, pool in enumerate(variables["aroundtheworld_pools"]):
        if not is_background(pool):  # of which all that is for visitors is refused
            yield from _lone(pool, POOL, load_pool_settings(), f"aroundtheworld_pools[{index}].")


def _lone(
    values: Mapping[str, Any], needs: Mapping[str, Need], options: Mapping[str, Any], where: str
) -> Iterator[str]:
    for name, (other, why) in needs.items():
        if values[name] != options[name]["default"] and not values[other]:
            shown = "true" if values[name] is True else repr(values[name])
            yield f"{where}{name}: {shown} is not allowed without {other}; {why}."
