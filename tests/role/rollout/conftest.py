"""Runs the workers' module on a host that only the tests see."""

from __future__ import annotations

import base64
import contextlib
import functools
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.aroundtheworld.data import as_worker, copying, putting
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.rollout import (
    canary,
    gate,
    observed,
    phases,
    revert,
    undo,
    unit_files,
)

from tests.role.conftest import Runner
from tests.role.rollout.fake_host import FIRST, Clock, Host, units_text
from tests.role_files import load_python

workers = load_python("library/aroundtheworld_workers.py")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Return a host on which nothing is deployed, and on which the module acts from now on."""
    host = Host(tmp_path)
    monkeypatch.setattr(workers, "SiteLayout", functools.partial(SiteLayout, root=tmp_path))
    monkeypatch.setattr(workers, "Systemd", lambda module: host)
    monkeypatch.setattr(workers, "HostSockets", lambda: host)
    revert_all, write = revert.Revert.run, unit_files.write_atomically

    def revert_if_alive(*arguments: Any) -> tuple[str, str]:
        host.lives()
        return revert_all(*arguments)  # type: ignore[no-any-return]

    def count_and_write(*arguments: Any) -> None:
        host.happens("write")
        write(*arguments)

    monkeypatch.setattr(revert.Revert, "run", revert_if_alive)
    monkeypatch.setattr(unit_files, "write_atomically", count_and_write)
    clock = Clock()
    for room in (observed, gate, canary, phases):
        monkeypatch.setattr(room, "time", clock)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    return host


class Run:
    """Runs the module."""

    def __init__(self, host: Host, run_module: Runner) -> None:
        """Keep the host that the module acts on."""
        self._host, self._run_module = host, run_module
        self.failed = run_module.failed

    def __call__(
        self,
        release: str = FIRST,
        *,
        ports: tuple[tuple[int, ...], tuple[int, ...]] = ((10001, 10002, 10003), (10004,)),
        address: str = "127.0.0.1",
        secrets: tuple[str, ...] = ("cookie_secret",),
        kinds: tuple[str, str] = ("runner", "runner"),
        metrics: int = 0,
        queue: int = 0,
        at: tuple[str, ...] = (),
        schema: str = "",
        change: Callable[[str], str] = str,
        **options: Any,
    ) -> dict[str, Any]:
        """Return the module's result for a release; raises `failed`."""
        host = self._host
        host.calls.clear()
        host.dead = False
        shape = (ports, address.strip("[]"), secrets, kinds, metrics, queue, at, schema)
        text, expected = units_text(*shape)
        text = text.replace("/etc/systemd/system", str(host.units)).replace("@RELEASE@", release)
        return self._run_module(
            workers,
            site="aroundtheworld",
            home=str(host.home),
            release=release,
            address=address,
            units=change(text),
            workers=expected,
            watch=[str(host.secrets)],
            key=str(host.secrets.parent / "settings.key"),
            **options,
        )


@pytest.fixture
def run(host: Host, run_module: Runner) -> Run:
    """Return what runs the module for a release and returns its result."""
    return Run(host, run_module)


@pytest.fixture
def data(host: Host, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the option of a site with a SQLite database; this process copies it and puts it."""
    place = host.home / "shared/shop.db"
    place.parent.mkdir()
    with contextlib.closing(sqlite3.connect(place)) as database:
        database.executescript("create table orders (id); insert into orders values (1), (2)")
    parts: dict[str, Callable[..., dict[str, Any]]] = {
        "copy": copying.copy_all,
        "put": putting.put_all,
    }

    def run(
        settings: object, program: Path, subcommand: str, task: Any, writes: Path, priority: Any
    ) -> dict[str, Any]:
        host.call("run", subcommand + (" rehearsed" if task.get("rehearse") else ""))
        if subcommand == "put" and not task.get("rehearse"):
            assert not [name for name in host.running if "@" in name], "something runs"
        return parts[subcommand](task)

    for module in (as_worker, undo):
        monkeypatch.setattr(module, "run_as_worker", run)
    settings = {
        **{"site": "aroundtheworld", "home": str(host.home), "user": "tornado"},
        "databases": [
            {"name": "shop", "kind": "sqlite", "place": str(place)},
            {"name": "stock", "kind": "postgresql", "place": "stock_url"},
            {"name": "new", "kind": "sqlite", "place": str(host.home / "shared/new.db")},
        ],
        **{"process": [], "repository": "", "at": "", "keep": {}},
    }
    program = base64.b64encode(b"program").decode()
    return {"settings": settings, "program": program, "copied": ["shop", "new"]}
