"""Check the variables of a closed site, run the module of the same name, and print the way in.

Takes ``state``. The page is a template, which is rendered here with the reason and the end. The
secret link is printed and is in no result.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.template import trust_as_template
from ansible.utils.display import Display

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.action import Result, RoleAction, TaskVars
from aroundtheworld_controller.nginx.maintenance import (
    REASON,
    SCOPE,
    UNTIL,
    closed_pools,
    end_of,
    json_body,
    retry_after,
    until_text,
    way_in,
)
from aroundtheworld_controller.pools import derive_health, pool_with_defaults, serving
from aroundtheworld_controller.rules import maintenance_problems
from aroundtheworld_controller.runs.run import who
from aroundtheworld_controller.variables import (
    PREFIX,
    BadInputError,
    checked,
    load_options,
    refuse,
    unknown_names,
)

display = Display()


class Variables(dict[str, Any]):
    """The role's variables as their types, each looked at when it is needed: no secret is."""

    def __init__(self, read: Callable[[str], Any]) -> None:
        """Take what returns a variable's value."""
        super().__init__()
        self._read = read

    def __missing__(self, name: str) -> Any:  # noqa: ANN401 - whatever its specification says
        """Return the value; raises `BadInputError` when it does not fit."""
        self[name] = checked(name, self._read(name))
        return self[name]


def _visit(variables: Variables) -> dict[str, Any]:
    """Return how visitors come to the public side."""
    pools = variables["aroundtheworld_pools"]
    public = next((pool for pool in pools if "/" in pool.get("paths", [])), pools[0])
    return derive_health(variables, public)


class ActionModule(RoleAction):
    """The task ``aroundtheworld_maintenance``."""

    def act(self, task_vars: TaskVars) -> Result:
        """Return the module's result, without the token of the way in."""
        names = [name for name in task_vars if name.startswith(PREFIX)]
        refuse(unknown_names(names, list(load_options()), ""))
        site, home = (self.value(f"{PREFIX}{name}", task_vars) for name in ("site", "home"))
        state = self._task.args["state"]
        arguments = {"site": site, "home": home, "state": state}
        variables = Variables(lambda name: self.value(name, task_vars))
        if state == "closed":
            pools = [pool_with_defaults(pool) for pool in variables["aroundtheworld_pools"]]
            variables["aroundtheworld_pools"] = serving(pools)
            refuse(maintenance_problems(variables))
            arguments |= self._closing(variables, task_vars)
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
            link = way_in(site, _visit(variables), address, token)
            until = arguments["until"] and datetime.fromisoformat(arguments["until"]).astimezone()
            end = f" until {until:%Y-%m-%d %H:%M %Z}" if until else ""
            display.display(f"{host}: closed{end}; the way in until it opens: {link}")
        return result

    def _closing(self, variables: Variables, task_vars: TaskVars) -> dict[str, Any]:
        """Return how the site is to be closed, as the module takes it."""
        now = datetime.now(UTC)
        end, reason = end_of(variables[UNTIL], now), variables[REASON]
        closed = closed_pools(variables[SCOPE], variables["aroundtheworld_pools"])
        page = {"reason": reason, "until": until_text(end, now)}
        return {
            "scope": variables[SCOPE],
            "pools": [
                {"name": pool["name"], "ports": pool["ports"], "command": bool(pool["command"])}
                for pool in variables["aroundtheworld_pools"]
                if pool["name"] in closed
            ],
            "allow": variables["aroundtheworld_maintenance_allow"],
            "reason": reason,
            "until": end.astimezone(UTC).isoformat(timespec="seconds") if end else "",
            "retry_after": retry_after(end, variables["aroundtheworld_maintenance_retry_after"]),
            "page": self._page(page, task_vars),
            "json": json_body(reason, end),
            "who": who(),
            "name": re.sub(r":\d+$", "", _visit(variables)["host"]),
        }

    def _page(self, maintenance: dict[str, str], task_vars: TaskVars) -> str:
        """Return the page that visitors see."""
        template = "{{ lookup('ansible.builtin.template', aroundtheworld_maintenance_page) }}"
        variables = {**task_vars, "maintenance": maintenance}
        templar = self._templar.copy_with_new_env(available_variables=variables)
        try:
            return str(templar.template(trust_as_template(template)))
        except AnsibleError as error:
            raise BadInputError(f"aroundtheworld_maintenance_page: {error}") from None
