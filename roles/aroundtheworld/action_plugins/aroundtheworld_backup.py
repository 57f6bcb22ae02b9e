"""Run the module of the same name with what makes backups, and tell how it went."""

from __future__ import annotations

import sys
from pathlib import Path

from ansible.utils.display import Display

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.action import Result, TaskVars
from aroundtheworld_controller.data.action import BackupAction
from aroundtheworld_controller.output.backups import drill_sentences, sentences

display = Display()


class ActionModule(BackupAction):
    """The task ``aroundtheworld_backup``; takes what the module takes, but for ``backup``."""

    def act(self, task_vars: TaskVars) -> Result:
        """Return the module's result."""
        arguments = {**self._task.args, "backup": self.bring(task_vars)}
        result = self.module("backup", arguments, task_vars)
        if last := result.get("last"):
            host = task_vars["inventory_hostname"]
            told = drill_sentences(last) if "of" in last else sentences(last, result["repository"])
            for sentence in told:
                display.display(f"{host}: {sentence}")
        return result
