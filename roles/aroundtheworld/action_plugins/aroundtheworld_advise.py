"""Run the module of the same name, and show what it says without a frame around it."""

from __future__ import annotations

import json
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

FORMATS = ("table", "json")

display = Display()


class ActionModule(ActionBase):
    """The task ``aroundtheworld_advise``; takes what the module takes, and ``format``."""

    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the module's result."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        arguments = dict(self._task.args)
        if (wanted := arguments.pop("format")) not in FORMATS:
            raise AnsibleActionFail(
                f"aroundtheworld_advise_format: {wanted!r} is not allowed; "
                f"allowed: {', '.join(FORMATS)}."
            )
        result: dict[str, Any] = self._execute_module(
            module_name="aroundtheworld_advise", module_args=arguments, task_vars=task_vars
        )
        if "lines" in result:
            lines, name = result.pop("lines"), task_vars["inventory_hostname"]
            if wanted == "json":  # one line for each host, which a program can find
                said = {key: result[key] for key in ("routes", "advice", "silent")}
                display.display(json.dumps({"host": name, **said}))
            else:
                display.display("\n".join([f"Host {name}", *lines, ""]))
        return result
