"""Run the module of the same name with what it needs, and tell what it has to say."""

from __future__ import annotations

import sys
from pathlib import Path

from ansible.utils.display import Display

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.action import Result, TaskVars
from aroundtheworld_controller.data.action import BackupAction
from aroundtheworld_controller.data.restores import CLOSED_FOR, WHICH, moment_of
from aroundtheworld_controller.nginx.closing import ClosingAction
from aroundtheworld_controller.nginx.maintenance import REASON
from aroundtheworld_controller.runs.run import who
from aroundtheworld_controller.variables import checked

display = Display()


class ActionModule(BackupAction, ClosingAction):
    """The task ``aroundtheworld_replace``; takes ``step`` and ``lock``."""

    def act(self, task_vars: TaskVars) -> Result:
        """Return the module's result."""
        secrets = self.value("aroundtheworld_secrets", task_vars)
        process = self.value("__aroundtheworld_transient", task_vars)
        reason = checked(REASON, self.value(REASON, task_vars)) or CLOSED_FOR
        arguments = {
            **self._task.args,
            "which": moment_of(checked(WHICH, self.value(WHICH, task_vars))),
            "backup": self.reading(task_vars, process),
            "closing": self.closing_of_all(task_vars, reason),
            "generated": [name for name, value in secrets.items() if value == "generate"],
            "who": who(),
        }
        result = self.module("replace", arguments, task_vars)
        host = task_vars["inventory_hostname"]
        for note in result.get("notes", []):
            display.display(f"{host}: {note}")
        return result
