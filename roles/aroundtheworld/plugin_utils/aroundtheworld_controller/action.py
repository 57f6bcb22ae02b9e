"""What the action plugins of the role have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from aroundtheworld_controller.variables import BadInputError, plain

Result = dict[str, Any]
TaskVars = dict[str, Any]


class RoleAction(ActionBase):
    """An action plugin that refuses bad input in one form."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: TaskVars | None = None) -> Result:
        """Return what `act` returns, or fail with all problems that it found."""
        super().run(tmp, task_vars)
        try:
            return self.act(task_vars or {})
        except BadInputError as bad:
            problems = "\n".join(f"  - {problem}" for problem in bad.problems)
            raise AnsibleActionFail(f"Nothing was changed, because of this:\n{problems}") from None

    @abstractmethod
    def act(self, task_vars: TaskVars) -> Result:
        """Return the task's result.

        Raises:
            BadInputError: There is something to mend first.
        """

    def module(self, name: str, arguments: Mapping[str, Any], task_vars: TaskVars) -> Result:
        """Return the result of a module on the host."""
        result: Result = self._execute_module(
            module_name=f"aroundtheworld_{name}", module_args=dict(arguments), task_vars=task_vars
        )
        return result

    def value(self, name: str, task_vars: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """Return the value of a variable, with its templates resolved."""
        return plain(self._templar.template(task_vars[name]))


def is_alone(task_vars: Mapping[str, Any]) -> bool:
    """Tell whether the play has only one host."""
    return len(task_vars.get("ansible_play_hosts_all", ())) < 2


def is_first(task_vars: Mapping[str, Any]) -> bool:
    """Tell whether this is the play's first host, which tells what concerns all of them."""
    hosts = task_vars.get("ansible_play_hosts_all")
    return not hosts or bool(hosts[0] == task_vars["inventory_hostname"])
