"""Run the module of the same name with what it needs to read backups."""

from __future__ import annotations

import sys
from pathlib import Path

from ansible.utils.display import Display

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.action import Result, TaskVars
from aroundtheworld_controller.data.action import BackupAction
from aroundtheworld_controller.data.restores import WHICH, moment_of
from aroundtheworld_controller.variables import checked

display = Display()


class ActionModule(BackupAction):
    """The task ``aroundtheworld_restore``; takes what the module takes, but for ``backup``."""

    def act(self, task_vars: TaskVars) -> Result:
        """Return the module's result."""
        arguments = {
            **self._task.args,
            "which": moment_of(checked(WHICH, self.value(WHICH, task_vars))),
            "backup": self.reading(task_vars, []),
        }
        result = self.module("restore", arguments, task_vars)
        if not result.get("failed") and "backup" in result and not self._task.check_mode:
            host, to = task_vars["inventory_hostname"], arguments["to"]
            display.display(f"{host}: {result['backup']} is in {to}; only root can enter that")
        return result
