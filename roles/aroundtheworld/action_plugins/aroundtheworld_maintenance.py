"""Check the variables of a closed site, run the module of the same name, and print the way in.

Takes ``state``. The page is a template, which is rendered here with the reason and the end. The
secret link is printed and is in no result.
"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from ansible.utils.display import Display

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.action import Result, TaskVars
from aroundtheworld_controller.nginx.closing import ClosingAction, visit
from aroundtheworld_controller.nginx.maintenance import way_in
from aroundtheworld_controller.rules import maintenance_problems
from aroundtheworld_controller.variables import PREFIX, load_options, refuse, unknown_names

display = Display()


class ActionModule(ClosingAction):
    """The task ``aroundtheworld_maintenance``."""

    def act(self, task_vars: TaskVars) -> Result:
        """Return the module's result, without the token of the way in."""
        names = [name for name in task_vars if name.startswith(PREFIX)]
        refuse(unknown_names(names, list(load_options()), ""))
        site, home = (self.value(f"{PREFIX}{name}", task_vars) for name in ("site", "home"))
        state = self._task.args["state"]
        arguments = {"site": site, "home": home, "state": state}
        if state == "closed":
            variables = self.site_variables(task_vars)
            refuse(maintenance_problems(variables))
            arguments |= self.closing(variables, task_vars)
        result = self.module("maintenance", arguments, task_vars)
        token = result.pop("token", "")
        host = task_vars["inventory_hostname"]
        for note in result.get("notes", []):
            display.display(f"{host}: {note}")
        if token and not (self._task.check_mode and result["changed"]):
            named = "ansible_host" in task_vars
            address = str(self.value("ansible_host", task_vars)) if named else host
            if not result["https"]:  # a CA has given no certificate for it yet
                variables["aroundtheworld_tls"] = "none"
            link = way_in(site, visit(variables), address, token)
            until = arguments["until"] and datetime.fromisoformat(arguments["until"]).astimezone()
            end = f" until {until:%Y-%m-%d %H:%M %Z}" if until else ""
            display.display(f"{host}: closed{end}; the way in until it opens: {link}")
        return result
