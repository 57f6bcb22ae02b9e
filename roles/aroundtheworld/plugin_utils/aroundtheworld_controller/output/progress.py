"""Each phase of a rollout is shown when it begins.

A module's output comes when the module ends, and a rollout may take minutes. The module writes its
phases into the record of the run that owns the site; a thread on the controller reads that file.
"""

from __future__ import annotations

import copy
import json
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

from ansible.errors import AnsibleError
from ansible.plugins.connection import ConnectionBase
from ansible.utils.display import Display

EVERY_SECONDS = 1.0
# Where module_utils/aroundtheworld/lock.py keeps the records.
LOCKS = PurePosixPath("/run/aroundtheworld-locks")

display = Display()


class Progress(threading.Thread):
    """Shows the phases of the run `run`, from the file `record` on the host called `host`."""

    def __init__(self, connection: ConnectionBase, host: str, record: str, run: str) -> None:
        """Take the connection of the task, of which a copy is used."""
        super().__init__(name=f"progress of {host}", daemon=True)
        # A connection carries out one command at a time. Everybody may read the file.
        self._connection = copy.copy(connection)
        self._connection.become = None
        self._host, self._command, self._run = host, f"cat {shlex.quote(record)}", run
        self._shown = 0
        self.over = threading.Event()

    def run(self) -> None:
        """Look every second until it is over; a run that changes nothing is over before."""
        while not self.over.wait(EVERY_SECONDS):
            try:
                _, output, _ = self._connection.exec_command(self._command, sudoable=False)
                record = json.loads(output)
            except (AnsibleError, ValueError):  # the next look may find more
                continue
            if record.get("run") == self._run:
                self.show(record["phases"])

    def show(self, phases: list[tuple[str, float]]) -> None:
        """Show the phases that were not shown yet, each with the second at which it began."""
        for phase, second in phases[self._shown :]:
            display.display(f"{self._host}: {second:6.1f} s  {phase}")
        self._shown = max(self._shown, len(phases))


@contextmanager
def shown(connection: ConnectionBase, host: str, site: str, run: str) -> Iterator[None]:
    """Show the progress of what the block does."""
    progress = Progress(connection, host, str(LOCKS / f"{site}.json"), run)
    progress.start()
    try:
        yield
    finally:
        progress.over.set()
        progress.join()
