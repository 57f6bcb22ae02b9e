"""Print the one line that a deployment or rollback ends with; takes the ``plan``."""

from __future__ import annotations

import sys
from pathlib import Path

from ansible.utils.display import Display

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.action import Result, RoleAction, TaskVars
from aroundtheworld_controller.output.summary import summary
from aroundtheworld_controller.runs.run import seconds_of_run

display = Display()


class ActionModule(RoleAction):
    """The task ``aroundtheworld_summary``."""

    _requires_connection = False

    def act(self, task_vars: TaskVars) -> Result:
        """Print it; the host is not asked."""
        host = task_vars["inventory_hostname"]
        line = summary(
            self._task.args["plan"],
            str(self.value("ansible_host", {"ansible_host": host, **task_vars})),
            seconds_of_run(),
            check_mode=self._task.check_mode,
        )
        display.display(f"{host}: {line}")
        return {"changed": False}
