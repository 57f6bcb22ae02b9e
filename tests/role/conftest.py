"""Runs the role's modules in this process, as Ansible would on a host."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.aroundtheworld import hold, host_lock, lock
from ansible.module_utils.testing import patch_module_args

from tests.role.repositories import Repository

# The run that a module is part of, as the plan's result has it.
OWNER = {"site": "shop", "run": "1", "who": "ada on desk", "doing": "deploy", "process": {}}


class FailedError(Exception):
    """The module ended with `fail_json`; the message is its own."""


class Runner:
    """Runs modules with the arguments that a task would give them."""

    failed = FailedError

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Keep `capsys`, since modules print their results."""
        self._capsys = capsys

    def __call__(
        self, module: ModuleType, *, check: bool = False, **arguments: object
    ) -> dict[str, Any]:
        """Return the module's result; raises `FailedError` where it is a failure."""
        self._capsys.readouterr()
        if "  lock: {" in module.DOCUMENTATION:
            owner = {**OWNER, "site": arguments.get("site", OWNER["site"])}
            arguments = {"lock": owner, **arguments}
        arguments["_ansible_check_mode"] = check
        with patch_module_args(arguments), pytest.raises(SystemExit):
            module.main()
        result: dict[str, Any] = json.loads(self._capsys.readouterr().out)
        if result.get("failed"):
            raise self.failed(result["msg"])
        return result


@pytest.fixture
def run_module(capsys: pytest.CaptureFixture[str]) -> Runner:
    """Return what runs a module."""
    return Runner(capsys)


@pytest.fixture(scope="session")
def run_directories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return directories for `host_lock_path`; pytest's own would count all others for each."""
    parent = tmp_path_factory.mktemp("run")
    return (parent / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def host_lock_path(run_directories: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the lock of the sites of one host; it and those of sites are the test's own."""
    run = next(run_directories)
    run.mkdir()
    path = run / "host.lock"
    monkeypatch.setattr(host_lock, "HOST_LOCK", path)
    monkeypatch.setattr(lock, "LOCKS", run / "locks")
    monkeypatch.setattr(hold, "ROOT", run)
    return path


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave files to the page cache: a test's own need not outlive a power failure."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return where the controller's cache will be."""
    return tmp_path / "cache"


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """Return a git repository, in whose operator's name this process runs git from now on."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "GIT_DIR", "GIT_CONFIG_GLOBAL"):
        monkeypatch.delenv(name, raising=False)
    return Repository(tmp_path / "home", tmp_path / "repository")
