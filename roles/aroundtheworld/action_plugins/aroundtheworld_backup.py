"""Run the module of the same name with what makes backups, and tell how the backup went."""

from __future__ import annotations

import sys
from pathlib import Path

from ansible.utils.display import Display

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.action import Result, RoleAction, TaskVars
from aroundtheworld_controller.data.brought import VARIABLES, brought
from aroundtheworld_controller.output.backups import sentences
from aroundtheworld_controller.variables import checked

display = Display()


class ActionModule(RoleAction):
    """The task ``aroundtheworld_backup``; takes what the module takes, but for ``backup``."""

    def act(self, task_vars: TaskVars) -> Result:
        """Return the module's result."""
        variables = {name: checked(name, self.value(name, task_vars)) for name in VARIABLES}
        process = self.value("__aroundtheworld_transient", task_vars)
        backup, news = brought(
            variables, process, task_vars.get("inventory_dir"), check_mode=self._task.check_mode
        )
        if news:
            display.display(news)
        arguments = {**self._task.args, "backup": backup}
        result = self.module("backup", arguments, task_vars)
        if last := result.get("last"):
            host = task_vars["inventory_hostname"]
            for sentence in sentences(last, result["repository"]):
                display.display(f"{host}: {sentence}")
        return result
