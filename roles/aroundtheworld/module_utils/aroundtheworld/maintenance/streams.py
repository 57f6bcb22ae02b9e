"""What is open to a pool that closes: its workers end it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible.module_utils.aroundtheworld import worker_client
from ansible.module_utils.aroundtheworld.layout import SystemLayout


def end_streams(layout: SystemLayout, pools: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Have the workers of these pools end WebSockets and streams; yield what comes of it.

    Args:
        layout: Where the workers' control sockets are.
        pools: Each with ``name``, ``ports`` and whether it is a ``command``, which has no such
            socket.
    """
    commands = [pool["name"] for pool in pools if pool["command"]]
    units = [
        unit
        for pool in pools
        if not pool["command"]
        for port in pool["ports"]
        for unit in (layout.service(port), layout.stand_in(port))
    ]
    controls = {unit: layout.private(unit, "control") for unit in units}
    present = {unit: control for unit, control in controls.items() if control.exists()}
    ended = worker_client.end_all_streams(present)
    counts = [of_worker for of_worker in ended.values() if of_worker]
    websockets, streams = (sum(of_worker[index] for of_worker in counts) for index in (0, 1))
    if websockets or streams:
        seconds = max(seconds for websockets, streams, seconds in counts if websockets or streams)
        yield f"{websockets} WebSockets and {streams} event streams end within {seconds:g} seconds."
    if silent := [unit.removesuffix(".service") for unit, counts in ended.items() if not counts]:
        yield (
            f"{', '.join(silent)}: open WebSockets and streams go on, because the worker does not "
            "answer, or runs a release from before it knew how to end them."
        )
    if commands:
        yield (
            f"{', '.join(commands)}: open WebSockets and streams go on, because such a pool has a "
            "command of its own."
        )
