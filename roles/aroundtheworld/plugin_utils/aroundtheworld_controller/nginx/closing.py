"""What the action plugins have in common that close a site."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ansible.errors import AnsibleError
from ansible.template import trust_as_template

from aroundtheworld_controller.action import RoleAction, TaskVars
from aroundtheworld_controller.nginx.maintenance import (
    REASON,
    SCOPE,
    UNTIL,
    closed_pools,
    end_of,
    json_body,
    retry_after,
    until_text,
)
from aroundtheworld_controller.pools import derive_health, pool_with_defaults, serving
from aroundtheworld_controller.runs.run import who
from aroundtheworld_controller.variables import BadInputError, checked


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


def visit(variables: Variables) -> dict[str, Any]:
    """Return how visitors come to the public side."""
    pools = variables["aroundtheworld_pools"]
    public = next((pool for pool in pools if "/" in pool.get("paths", [])), pools[0])
    return derive_health(variables, public)


class ClosingAction(RoleAction):
    """An action plugin that closes a site."""

    def site_variables(self, task_vars: TaskVars) -> Variables:
        """Return the role's variables; of its pools, those that serve, with all their settings."""
        variables = Variables(lambda name: self.value(name, task_vars))
        pools = [pool_with_defaults(pool) for pool in variables["aroundtheworld_pools"]]
        variables["aroundtheworld_pools"] = serving(pools)
        return variables

    def closing_of_all(self, task_vars: TaskVars, reason: str) -> dict[str, Any]:
        """Return how the whole site is closed while its data is exchanged.

        That is what the host's `Closing` has, by the same names.
        """
        variables = self.site_variables(task_vars)
        variables |= {SCOPE: "all", UNTIL: "", REASON: reason}
        closing = self.closing(variables, task_vars)
        names = ("scope", "reason", "until", "retry_after", "page", "json", "who")
        return {
            "pools": [pool["name"] for pool in closing["pools"]],
            **{name: closing[name] for name in names},
        }

    def closing(self, variables: Variables, task_vars: TaskVars) -> dict[str, Any]:
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
            "name": re.sub(r":\d+$", "", visit(variables)["host"]),
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
