"""How large the headers of requests and responses may be, and the buffers that follow for nginx."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aroundtheworld_controller.pool_rules import size_problems

KILOBYTE = 1024
FACTORS = {"k": KILOBYTE, "m": KILOBYTE**2, "g": KILOBYTE**3}
BUFFER = 8 * KILOBYTE  # one of those that hold a response's body
BUFFERS = 8
# nginx needs a buffer for the smallest; no more, because each connection, or request, takes it.
RANGES = {
    "aroundtheworld_request_header_size": ("8k", "128k"),
    "aroundtheworld_response_header_size": ("8k", "256k"),
}


def header_size_problems(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the sizes of headers."""
    for name, (least, most) in RANGES.items():
        size = variables[name]
        if problems := list(size_problems(size, name)):
            yield from problems
        elif not size_bytes(least) <= size_bytes(size) <= size_bytes(most):
            yield f"{name}: {size!r} is not allowed; it must be from '{least}' to '{most}'."


def size_bytes(size: str) -> int:
    """Return the bytes of a size as nginx takes it, such as ``16k``."""
    factor = FACTORS.get(size[-1].lower())
    return int(size[:-1]) * factor if factor else int(size)


def derive_buffers(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return nginx's buffers for a response: `size` for headers, `count` for bodies, and `busy`.

    `busy`, what may be on its way to the visitor while nginx still reads, is in bytes. nginx wants
    at least the headers' buffer for that, and less than all but one of the others.
    """
    size = variables["aroundtheworld_response_header_size"]
    busy = max(size_bytes(size), 2 * BUFFER)
    return {
        "size": size,
        "count": max(BUFFERS, busy // BUFFER + 2 + (busy % BUFFER > 0)),
        "busy": busy,
    }
