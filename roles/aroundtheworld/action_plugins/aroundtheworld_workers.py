"""Run the module of the same name, and show each phase of a rollout when it begins.

A module's output comes when it ends, and a rollout may take minutes. The module tells its phases in
the record of the run that owns the site, which a thread reads meanwhile.
"""

from __future__ import annotations

import copy
import json
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.connection import ConnectionBase
from ansible.utils.display import Display

MODULE = "aroundtheworld_workers"
EVERY_SECONDS = 1.0
# Where module_utils/aroundtheworld/lock.py keeps the records.
LOCKS = PurePosixPath("/run/aroundtheworld-locks")

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
        arguments = self._task.args
        host, run = task_vars["inventory_hostname"], arguments["lock"]["run"]
        with shown(self._connection, host, arguments["site"], run):
            result: dict[str, Any] = self._execute_module(
                module_name=MODULE, module_args=arguments, task_vars=task_vars
            )
        return result
