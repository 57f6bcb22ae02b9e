"""Refuse tags that name nothing or too much, and find out whether the login has to become root.

For the project's playbook alone, whose tags and whose login are the operator's. Whoever uses the
role in a play of their own says there what to do and as whom.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.tags import tag_problems

CHECKOUT = Path(__file__).resolve().parents[3]
PLAYBOOKS = {CHECKOUT / "site.yml", CHECKOUT / "playbooks" / "site.yml"}


class ActionModule(ActionBase):
    """The task ``aroundtheworld_invoked``; its result says whether to ``become`` root."""

    _requires_connection = True
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return whether to become root, or fail before anything is done."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        tags = (task_vars or {}).get("ansible_run_tags", ["all"])
        named = {Path(path).resolve() for path in context.CLIARGS.get("args") or ()}
        if problems := list(tag_problems(tags, alone=bool(named) and named <= PLAYBOOKS)):
            raise AnsibleActionFail(
                "Nothing was changed, because of this:\n"
                + "\n".join(f"  - {problem}" for problem in problems)
            )
        return {**result, "changed": False, "become": not self._is_root()}

    def _is_root(self) -> bool:
        """Tell whether the login is root's; only the host knows it where ssh_config decides."""
        if self._connection.transport == "local":
            return os.geteuid() == 0
        if user := self._play_context.remote_user:
            return bool(user == "root")
        look: Callable[..., dict[str, Any]] = self._low_level_execute_command
        return str(look("id -u", sudoable=False).get("stdout", "")).strip() == "0"
