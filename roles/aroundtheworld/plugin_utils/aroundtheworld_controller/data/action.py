"""What the action plugins have in common that bring a host what backups need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible.utils.display import Display

from aroundtheworld_controller.action import RoleAction, TaskVars
from aroundtheworld_controller.data.brought import VARIABLES, brought, to_read
from aroundtheworld_controller.variables import checked

display = Display()


class BackupAction(RoleAction):
    """An action plugin that reads the variables of backups."""

    def variables(self, task_vars: TaskVars) -> dict[str, Any]:
        """Return the variables that backups follow from, as their types."""
        return {name: checked(name, self.value(name, task_vars)) for name in VARIABLES}

    def reading(self, task_vars: TaskVars, process: Sequence[str]) -> str:
        """Return what the host gets to read backups; no password is made for that."""
        return to_read(self.variables(task_vars), process, task_vars.get("inventory_dir"))

    def bring(self, task_vars: TaskVars) -> str:
        """Return what the host gets to make backups; tell of a password that was made."""
        process = self.value("__aroundtheworld_transient", task_vars)
        inventory, check_mode = task_vars.get("inventory_dir"), self._task.check_mode
        text, news = brought(self.variables(task_vars), process, inventory, check_mode=check_mode)
        if news:
            display.display(news)
        return text
