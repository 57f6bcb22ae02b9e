"""Run the module of the same name, and print its advice as it is."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ansible.utils.display import Display

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.action import Result, RoleAction, TaskVars
from aroundtheworld_controller.output.table import table
from aroundtheworld_controller.variables import checked

TITLE = "For how long one request of each route held the event loop, on {}:"

display = Display()


class ActionModule(RoleAction):
    """The task ``aroundtheworld_advise``; takes what the module takes, and ``format``."""

    def act(self, task_vars: TaskVars) -> Result:
        """Return the module's result, without the lines that are printed."""
        arguments = dict(self._task.args)
        output = checked("aroundtheworld_advise_format", arguments.pop("format"))
        result = self.module("advise", arguments, task_vars)
        if "lines" in result:
            lines, host = result.pop("lines"), task_vars["inventory_hostname"]
            headings, *rows = result.pop("table")
            if output == "json":  # one line for each host, which a program can find
                advice = {key: result[key] for key in ("routes", "advice", "silent")}
                display.display(json.dumps({"host": host, **advice}))
            else:
                routes = table(headings, rows, numbers=headings[2:-1])
                display.display("\n".join([TITLE.format(host), "", *routes, *lines, ""]))
        return result
