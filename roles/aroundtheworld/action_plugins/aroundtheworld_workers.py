"""Run the module of the same name, and show each phase of a rollout when it begins.

A module's output comes when it ends, and a rollout may take minutes. The module tells its phases in
the record of the run that owns the site, which a thread reads meanwhile.

When the play has several hosts, one gets the release first, and the rest when that went well. A
host with nothing to change does not wait, nor is it waited for.
"""

from __future__ import annotations

import copy
import json
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.connection import ConnectionBase
from ansible.utils.display import Display

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.fleet import Fleet

MODULE = "aroundtheworld_workers"
EVERY_SECONDS = 1.0
# Where module_utils/aroundtheworld/lock.py keeps the records.
LOCKS = PurePosixPath("/run/aroundtheworld-locks")

# While a host waits, its run renews its record there so often, or another run would follow it.
RENEW_SECONDS = 240.0

display = Display()


class Progress(threading.Thread):
    """Shows what the run `run` tells in the file `record` on the host called `name`."""

    def __init__(self, connection: ConnectionBase, name: str, record: str, run: str) -> None:
        """Take the connection of the task, of which a copy is used."""
        super().__init__(name=f"progress of {name}", daemon=True)
        # A connection carries out one command at a time. Everybody may read the file.
        self._connection = copy.copy(connection)
        self._connection.become = None
        self._name, self._command, self._run = name, f"cat {shlex.quote(record)}", run
        self._shown = 0
        self.over = threading.Event()

    def run(self) -> None:
        """Look every second until it is over; a run that changes nothing is over before."""
        while not self.over.wait(EVERY_SECONDS):
            try:
                _, out, _ = self._connection.exec_command(self._command, sudoable=False)
                record = json.loads(out)
            except (AnsibleError, ValueError):  # the next look may find more
                continue
            if record.get("run") == self._run:
                self.show(record["phases"])

    def show(self, phases: list[tuple[str, float]]) -> None:
        """Show the phases that were not shown yet, each with the second at which it began."""
        for phase, second in phases[self._shown :]:
            display.display(f"{self._name}: {second:6.1f} s  {phase}")
        self._shown = max(self._shown, len(phases))


@contextmanager
def shown(connection: ConnectionBase, name: str, site: str, run: str) -> Iterator[None]:
    """Show the progress of what the block does."""
    progress = Progress(connection, name, str(LOCKS / f"{site}.json"), run)
    progress.start()
    try:
        yield
    finally:
        progress.over.set()
        progress.join()


class ActionModule(ActionBase):
    """The task ``aroundtheworld_workers``; takes what the module takes."""

    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the module's result."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        alone = len(task_vars.get("ansible_play_hosts_all", ())) < 2
        if alone or self._task.check_mode or self._task.args.get("remove_orphans"):
            return self._module(task_vars)
        return self._in_turn(task_vars)

    def _module(self, task_vars: dict[str, Any], **more: object) -> dict[str, Any]:
        arguments = {**self._task.args, **more}
        host, run = task_vars["inventory_hostname"], arguments["lock"]["run"]
        with shown(self._connection, host, arguments["site"], run):
            result: dict[str, Any] = self._execute_module(
                module_name=MODULE, module_args=arguments, task_vars=task_vars
            )
        return result

    def _in_turn(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the module's result, or a failure when the host may not begin any more."""
        host, release = task_vars["inventory_hostname"], str(self._task.args["release"])
        fleet = Fleet(str(self._task.args["site"]))
        for name, why in self._failed_before(task_vars).items():
            fleet.note(name, "failed", why=why)
        renew, told = 0.0, ""
        while True:
            turn, about = fleet.turn(host, release)
            if turn == "go":
                return self._begin(fleet, host, release, task_vars)
            if time.monotonic() >= renew or turn == "stop":
                renew = time.monotonic() + RENEW_SECONDS
                result = self._module(task_vars, begin=False)
                if result.get("failed") or not result.get("pending"):
                    self._note(fleet, host, release, result)
                    return result
                fleet.note(host, "waiting", current=result["current"])
                if turn == "stop":
                    msg = fleet.turn(host, release)[1]
                    return {**result, "failed": True, "changed": False, "msg": msg}
            if about != told:
                told = about
                display.display(f"{host}: waits until {about} runs release {release}")
            time.sleep(EVERY_SECONDS / 2)

    def _begin(
        self, fleet: Fleet, host: str, release: str, task_vars: dict[str, Any]
    ) -> dict[str, Any]:
        result: dict[str, Any] = {"failed": True, "msg": "the connection was lost"}
        try:
            result = self._module(task_vars)
        finally:
            self._note(fleet, host, release, result)
        return result

    @staticmethod
    def _note(fleet: Fleet, host: str, release: str, result: dict[str, Any]) -> None:
        if result.get("failed") or result.get("unreachable"):
            why = str(result.get("msg", ""))
            fleet.note(host, "failed", current=result.get("current"), why=why)
        else:
            fleet.proved(host, release, changed=bool(result.get("changed")))

    def _failed_before(self, task_vars: dict[str, Any]) -> dict[str, str]:
        """Return hosts of this site to which the release could not be brought, and why.

        Ansible does not say whose earlier tasks have failed while their rescue is to come. But
        where all hosts of a play are at the same task (strategy linear), one whose release is not
        there by now has failed on the way.
        """
        found: dict[str, str] = {}
        play = getattr(self._task, "play", None)
        if "__aroundtheworld_release" not in task_vars or getattr(play, "strategy", "") != "linear":
            return found
        for name in task_vars.get("ansible_play_hosts", ()):
            plan, brought = (
                task_vars["hostvars"][name].get(f"__aroundtheworld_{step}") or {}
                for step in ("plan", "release")
            )
            if plan.get("lock", {}).get("site") != self._task.args["site"]:
                continue
            if not brought or brought.get("failed"):
                found[name] = str(brought.get("msg", "a task before its rollout failed"))
        return found
