"""Run the module of the same name, and bring what makes backups if a timer is to make them."""

from __future__ import annotations

import sys
from pathlib import Path

from ansible.utils.display import Display

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.action import Result, RoleAction, TaskVars
from aroundtheworld_controller.data.brought import VARIABLES, brought
from aroundtheworld_controller.variables import checked

display = Display()


class ActionModule(RoleAction):
    """The task ``aroundtheworld_layout``; takes what the module takes, but for ``backup``."""

    def act(self, task_vars: TaskVars) -> Result:
        """Return the module's result."""
        arguments = dict(self._task.args)
        if checked("aroundtheworld_backup_at", self.value("aroundtheworld_backup_at", task_vars)):
            variables = {name: checked(name, self.value(name, task_vars)) for name in VARIABLES}
            process = self.value("__aroundtheworld_transient", task_vars)
            arguments["backup"], news = brought(
                variables, process, task_vars.get("inventory_dir"), check_mode=self._task.check_mode
            )
            if news:
                display.display(news)
        return self.module("layout", arguments, task_vars)
