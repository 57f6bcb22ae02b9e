"""Run the module of the same name, and bring what makes backups if a timer is to make them."""

from __future__ import annotations

import sys
from pathlib import Path

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.action import Result, TaskVars
from aroundtheworld_controller.data.action import BackupAction
from aroundtheworld_controller.data.backups import TIMES
from aroundtheworld_controller.variables import checked


class ActionModule(BackupAction):
    """The task ``aroundtheworld_layout``; takes what the module takes, but for ``backup``."""

    def act(self, task_vars: TaskVars) -> Result:
        """Return the module's result."""
        arguments = dict(self._task.args)
        if any(checked(name, self.value(name, task_vars)) for name in TIMES):
            arguments["backup"] = self.bring(task_vars)
        return self.module("layout", arguments, task_vars)
