"""Commands that modules run on the host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ansible.module_utils.aroundtheworld.systemd import HostError
from ansible.module_utils.aroundtheworld.untrusted import printable_lines

Run = Callable[[list[str]], tuple[int, str, str]]
"""Runs a command; returns its exit status and what it printed to each of its outputs."""


def run_or_fail(run: Run, *command: str | Path) -> str:
    """Return what a command prints; raises `HostError` with the end of it when it fails."""
    code, out, error = run([str(part) for part in command])
    if code:
        last = printable_lines((out + error).strip())
        words = [word for word in map(str, command) if "\n" not in word]
        raise HostError(f"{' '.join(words[:6])} … failed:\n{last}")
    return out
