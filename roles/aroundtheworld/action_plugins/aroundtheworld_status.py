"""Run the module of the same name, and show the status as a table or as JSON.

The task fails when the site is not well, so that `ansible-playbook` tells cron and CI.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.status_report import FORMATS, json_line, report

display = Display()


class ActionModule(ActionBase):
    """The task ``aroundtheworld_status``; takes what the module takes, and ``format``."""

    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the module's result."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        arguments = dict(self._task.args)
        if (form := arguments.pop("format")) not in FORMATS:
            raise AnsibleActionFail(
                f"aroundtheworld_status_format: {form!r} is not allowed; "
                f"allowed: {', '.join(FORMATS)}."
            )
        result: dict[str, Any] = self._execute_module(
            module_name="aroundtheworld_status", module_args=arguments, task_vars=task_vars
        )
        if "problems" not in result:
            return result
        host, site = task_vars["inventory_hostname"], arguments["site"]
        if form == "json":
            display.display(json_line(host, site, result))
        else:
            display.display("\n".join(report(host, site, result)))
        if problems := result["problems"]:
            msg = f"The site {site} on {host} is not well: {'; '.join(problems)}."
            return {"failed": True, "msg": msg, "changed": False}
        return result
