"""Run the module of the same name for this run: lock a site, unlock it, or release a run's lock.

Takes ``site``, ``state`` and ``reason``. Which run this is, and whether another run is over, only
the controller knows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.action import Result, RoleAction, TaskVars, is_alone
from aroundtheworld_controller.runs.fleet import Fleet
from aroundtheworld_controller.runs.run import is_here, is_over, owner
from aroundtheworld_controller.variables import BadInputError

display = Display()

Module = Callable[..., Result]


class ActionModule(RoleAction):
    """The task ``aroundtheworld_lock``."""

    def act(self, task_vars: TaskVars) -> Result:
        """Return the module's result."""
        site, state = self._task.args["site"], self._task.args["state"]
        reason = str(self._task.args.get("reason", "")).strip()
        host = task_vars["inventory_hostname"]
        if state == "locked" and not reason:
            raise BadInputError(
                "aroundtheworld_lock_reason: is missing; it tells others why they may not change "
                "the site: --tags lock -e aroundtheworld_lock_reason='…'."
            )
        arguments = {"site": site, "reason": reason, "lock": owner(site, host, state)}

        def module(**more: object) -> Result:
            return self.module("lock", {**arguments, **more}, task_vars)

        if state == "released":
            if not is_alone(task_vars) and not self._task.check_mode:
                for sentence in Fleet(str(site)).over(host, task_vars["ansible_play_hosts"]):
                    display.display(sentence)
            return self._release(host, module)
        if state == "locked":
            return self._shown(host, module(state=state))
        return self._unlock(site, host, module)

    def _unlock(self, site: str, host: str, module: Module) -> Result:
        """Unlock the site, unless a run that is alive has it."""
        self._task.check_mode, check_mode = True, self._task.check_mode
        try:
            found = module(state="unlocked")
        finally:
            self._task.check_mode = check_mode
        if found.get("failed") or check_mode:
            return found
        process = found["record"].get("process", {})
        if not found["hold"] and is_here(process) and not is_over(process):
            raise AnsibleActionFail(
                f"Nothing was changed: the run that owns {site} on {host} is alive, it is the "
                f"process {process['id']} of this machine. End that first."
            )
        ended = found["record"]["run"] if process and is_over(process) else ""
        return self._shown(host, module(state="unlocked", ended=ended))

    def _release(self, host: str, module: Module) -> Result:
        """Release the site; if that fails, warn, because the run should end with its own result."""
        if self._task.check_mode:
            return {"changed": False}  # nothing was taken
        result = module(state="released")
        if result.get("failed"):
            display.warning(f"{host}: the lock of this run stays: {result.get('msg')}")
        return {"changed": False}

    @staticmethod
    def _shown(host: str, result: Result) -> Result:
        """Print what was done, and return the result."""
        for sentence in result.get("done", []):
            display.display(f"{host}: {sentence}")
        return result
