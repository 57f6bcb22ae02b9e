"""The hosts of a run that get the same release: one first, then the rest; none after a failure.

Ansible works on the hosts of a task in processes of their own. What they know of each other is in
a file of the run, on the controller. A host whose turn has come works in its process right then,
so however few hosts Ansible works on at once, none waits for a host that has not begun.

A file ``SITE.json`` has ``hosts``, name to ``state``, ``current`` (the release that it is on, as
far as is known), ``why`` and ``process``; and ``proven``, the releases that came to a host without
a failure. The states:

- ``planned``: nothing is against it;
- ``working``: its rollout is under way in that process;
- ``ready``: it runs what it should;
- ``failed``: refused, reverted or lost; no other host may begin any more;
- ``waiting``: for its turn, or it was not begun.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from aroundtheworld_controller.cache import cache_directory, locked
from aroundtheworld_controller.runs.run import this_process

# A run of yesterday has ended, or waits for a person.
OLD_SECONDS = 24 * 3600.0

State = dict[str, Any]


class Fleet:
    """What the hosts of this run that have the same site know of each other."""

    def __init__(self, site: str, runs: Path | None = None) -> None:
        """Take the site's name, and where files of runs are."""
        runs = runs or cache_directory() / "runs"
        process = this_process()
        identity = " ".join(str(value) for value in process.values())
        self._runs = runs
        self._directory = runs / hashlib.sha256(identity.encode()).hexdigest()[:16]
        self._file = self._directory / f"{hashlib.sha256(site.encode()).hexdigest()[:16]}.json"

    @contextlib.contextmanager
    def _state(self) -> Iterator[State]:
        """Give the state to the block, and keep what that made of it."""
        if not self._directory.is_dir():
            self._forget_old()
        with locked(self._file.with_suffix(".lock")):
            state: State = {"hosts": {}, "proven": []}
            with contextlib.suppress(OSError, ValueError):
                state = json.loads(self._file.read_text())
            yield state
            fresh = self._file.with_suffix(".new")
            fresh.write_text(json.dumps(state))
            fresh.replace(self._file)

    def _forget_old(self) -> None:
        for path in self._runs.glob("*"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < time.time() - OLD_SECONDS:
                    shutil.rmtree(path)

    def note(self, host: str, state: str, current: str | None = None, why: str = "") -> None:
        """Write down the state of a host; a failure is final."""
        with self._state() as now:
            entry = now["hosts"].setdefault(host, {"current": ""})
            if entry.get("state") != "failed" or state == "failed":
                entry.update(state=state, why=why, process=os.getpid())
            if current is not None:
                entry["current"] = current

    def proved(self, host: str, release: str, *, changed: bool) -> None:
        """Write down that a host runs the release, and whether it came there just now."""
        with self._state() as now:
            now["hosts"].setdefault(host, {}).update(state="ready", current=release, why="")
            if changed and release not in now["proven"]:
                now["proven"].append(release)

    def turn(self, host: str, release: str) -> tuple[str, str]:
        """Ask whether a host may begin, and begin when it may.

        Returns:
            ``go`` and nothing, ``wait`` and the host to wait for, or ``stop`` and why.
        """
        with self._state() as now:
            others = {name: entry for name, entry in now["hosts"].items() if name != host}
            for entry in others.values():
                if entry.get("state") == "working" and not _is_alive(entry["process"]):
                    entry.update(state="failed", why="its task ended without a word")
            mine = now["hosts"].setdefault(host, {"current": ""})
            failed = [name for name, entry in others.items() if entry.get("state") == "failed"]
            if failed:
                mine.update(state="waiting", process=os.getpid())
                return "stop", reason(host, mine, {name: others[name] for name in failed})
            working = [name for name, entry in others.items() if entry.get("state") == "working"]
            if working and release not in now["proven"]:
                mine.update(state="waiting", process=os.getpid())
                return "wait", working[0]
            mine.update(state="working", process=os.getpid())
            return "go", ""

    def over(self, host: str, alive: Collection[str]) -> list[str]:
        """Write down that a host has come to its end in this run.

        Args:
            host: Its name.
            alive: The hosts that are not lost.

        Returns:
            Which host is on which release, each a sentence, when this is the last host and any
            failed; else nothing.
        """
        if not self._file.exists():
            return []
        with self._state() as now:
            now["hosts"].setdefault(host, {"current": ""})["over"] = True
            entries = now["hosts"]
            failed = any(entry.get("state") == "failed" for entry in entries.values())
            last = all(
                entry.get("over") or entry.get("state") == "failed" or name not in alive
                for name, entry in entries.items()
            )
            if not failed or not last or len(entries) < 2 or now.get("shown"):
                return []
            now["shown"] = True
            return [where(name, entries[name]) for name in sorted(entries)]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def where(host: str, entry: Mapping[str, Any]) -> str:
    """Return which release a host is on, and why not on another."""
    current = entry.get("current") or ""
    on = f"{host} is on release {current}" if current else f"{host} has no release"
    if entry.get("state") == "failed":
        return f"{on}: {first_line(entry.get('why', ''))}"
    return on if entry.get("state") == "ready" else f"{on}; it was not begun"


def reason(host: str, entry: Mapping[str, Any], failed: Mapping[str, Mapping[str, Any]]) -> str:
    """Return why a host was not begun, where it is, and what failed elsewhere."""
    current = entry.get("current") or ""
    on = f"It is on release {current}." if current else "It has no release yet."
    causes = "\n".join(f"  - {where(name, other)}" for name, other in failed.items())
    return f"{host} was not begun, because another host failed in this run. {on}\n{causes}"


def first_line(text: str) -> str:
    """Return what a message begins with, up to 200 characters."""
    line = next((line.strip(" -") for line in text.splitlines()[1:] if line.strip(" -")), "")
    first = text.splitlines()[0] if text else "it failed"
    return (f"{first} {line}" if first.endswith(":") else first)[:200]
