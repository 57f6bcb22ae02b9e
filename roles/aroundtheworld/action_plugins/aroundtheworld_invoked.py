"""Refuse tags that name nothing or too much, and find out whether the login has to become root.

For the project's playbook alone, whose tags and whose login are the operator's. A play of your own
says what to do and as whom.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible import context

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.action import Result, RoleAction, TaskVars
from aroundtheworld_controller.tags import VERBS, tag_problems
from aroundtheworld_controller.variables import refuse

CHECKOUT = Path(__file__).resolve().parents[3]
PLAYBOOKS = {CHECKOUT / "site.yml", CHECKOUT / "playbooks" / "site.yml"}


class ActionModule(RoleAction):
    """The task ``aroundtheworld_invoked``: which ``verbs`` there are, and whether to ``become``."""

    _requires_connection = True

    def act(self, task_vars: TaskVars) -> Result:
        """Return the verbs that the tags name and whether to become root, or fail."""
        tags = task_vars.get("ansible_run_tags", ["all"])
        named = {Path(path).resolve() for path in context.CLIARGS.get("args") or ()}
        refuse(tag_problems(tags, alone=bool(named) and named <= PLAYBOOKS))
        verbs = [verb for verb in VERBS if verb in tags]
        return {"changed": False, "verbs": verbs, "become": not self._is_root()}

    def _is_root(self) -> bool:
        """Tell whether the login is root's; only the host knows it where ssh_config decides."""
        if self._connection.transport == "local":
            return os.geteuid() == 0
        if user := self._play_context.remote_user:
            return bool(user == "root")
        execute: Callable[..., dict[str, Any]] = self._low_level_execute_command
        return str(execute("id -u", sudoable=False).get("stdout", "")).strip() == "0"
