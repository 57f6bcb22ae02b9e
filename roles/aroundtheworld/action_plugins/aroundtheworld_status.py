"""Run the module of the same name, and show the status as a table or as JSON.

The task fails when the site is not well, so that `ansible-playbook` tells cron and CI.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ansible.utils.display import Display

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.action import Result, RoleAction, TaskVars
from aroundtheworld_controller.output.status_report import json_line, report
from aroundtheworld_controller.variables import checked

display = Display()


class ActionModule(RoleAction):
    """The task ``aroundtheworld_status``; takes what the module takes, and ``format``."""

    def act(self, task_vars: TaskVars) -> Result:
        """Return the module's result, as a failure when the site is not well."""
        arguments = dict(self._task.args)
        output = checked("aroundtheworld_status_format", arguments.pop("format"))
        status = self.module("status", arguments, task_vars)
        if "problems" not in status:
            return status
        host, site = task_vars["inventory_hostname"], arguments["site"]
        if output == "json":
            display.display(json_line(host, site, status))
        else:
            display.display("\n".join(report(host, site, status)))
        if problems := status["problems"]:
            msg = f"The site {site} on {host} is not well: {'; '.join(problems)}."
            return {"failed": True, "msg": msg, "changed": False}
        return status
