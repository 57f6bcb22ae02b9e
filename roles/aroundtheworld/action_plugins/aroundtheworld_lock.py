"""Run the module of the same name for this run, in which state somebody wants the lock.

Takes ``site``, ``state`` and ``reason``. Which run this is, and whether another one is over, only
the controller knows.
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
from aroundtheworld_controller.fleet import Fleet
from aroundtheworld_controller.run import is_here, is_over, owner

MODULE = "aroundtheworld_lock"

display = Display()


class ActionModule(ActionBase):
    """The task ``aroundtheworld_lock``."""

    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the module's result."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        site, state = self._task.args["site"], self._task.args["state"]
        reason = str(self._task.args.get("reason", "")).strip()
        name = task_vars["inventory_hostname"]
        if state == "locked" and not reason:
            raise AnsibleActionFail(
                "Nothing was changed, because of this:\n  - aroundtheworld_lock_reason: is missing;"
                " others are told why they may not change the site: --tags lock -e "
                "aroundtheworld_lock_reason='…'."
            )
        arguments = {"site": site, "reason": reason, "lock": owner(site, name, state)}

        def module(**more: object) -> dict[str, Any]:
            done: dict[str, Any] = self._execute_module(
                module_name=MODULE, module_args={**arguments, **more}, task_vars=task_vars
            )
            return done

        if state == "released":
            if len(task_vars.get("ansible_play_hosts_all", ())) > 1 and not self._task.check_mode:
                alive = task_vars["ansible_play_hosts"]
                for sentence in Fleet(str(site)).over(name, alive):
                    display.display(sentence)
            return self._release(name, module)
        if state == "locked":
            return self._told(name, module(state=state))
        # What there is decides what may be ended.
        self._task.check_mode, check_mode = True, self._task.check_mode
        try:
            there = module(state=state)
        finally:
            self._task.check_mode = check_mode
        if there.get("failed") or check_mode:
            return there
        process = there["record"].get("process", {})
        if not there["hold"] and is_here(process) and not is_over(process):
            raise AnsibleActionFail(
                f"Nothing was changed: the run that owns {site} on {name} is alive, it is the "
                f"process {process['id']} of this machine. End that first."
            )
        ended = there["record"]["run"] if process and is_over(process) else ""
        return self._told(name, module(state=state, ended=ended))

    def _release(self, name: str, module: Any) -> dict[str, Any]:  # noqa: ANN401 - a closure
        """Let the site go; that it cannot is not what the run should end with."""
        if self._task.check_mode:
            return {"changed": False}  # nothing was taken
        done: dict[str, Any] = module(state="released")
        if done.get("failed"):
            display.warning(f"{name}: the lock of this run stays: {done.get('msg')}")
        return {"changed": False}

    @staticmethod
    def _told(name: str, done: dict[str, Any]) -> dict[str, Any]:
        for sentence in done.get("done", []):
            display.display(f"{name}: {sentence}")
        return done
