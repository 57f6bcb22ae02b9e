"""Run the module of the same name; hash the passwords that nginx asks for."""

from __future__ import annotations

import json
import sys
from pathlib import Path

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.action import Result, RoleAction, TaskVars
from aroundtheworld_controller.nginx.passwords import VARIABLE, password_files


class ActionModule(RoleAction):
    """The task ``aroundtheworld_nginx``.

    Takes what the module takes, and the plan's ``pools`` in place of ``passwords``.
    """

    def act(self, task_vars: TaskVars) -> Result:
        """Return the module's result."""
        arguments = dict(self._task.args)
        files = password_files(
            arguments["site"], arguments.pop("pools", ()), self.value(VARIABLE, task_vars)
        )
        return self.module("nginx", {**arguments, "passwords": json.dumps(files)}, task_vars)
