"""Run the module of the same name; show its phases, and let several hosts take turns.

The host gets the program that copies databases, if the site has any.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ansible.utils.display import Display

# Ansible loads a plugin by its path, so what plugins share has to be made importable first.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin_utils"))
from aroundtheworld_controller.action import Result, TaskVars, is_alone
from aroundtheworld_controller.data.undo import minutes, to_copy
from aroundtheworld_controller.nginx.closing import ClosingAction
from aroundtheworld_controller.output.progress import shown
from aroundtheworld_controller.output.summary import replacements
from aroundtheworld_controller.runs.fleet import Fleet
from aroundtheworld_controller.runs.turns import failed_before, roll_out_in_turn

display = Display()


class ActionModule(ClosingAction):
    """The task ``aroundtheworld_workers``; takes what the module takes."""

    def act(self, task_vars: TaskVars) -> Result:
        """Return the module's result."""
        arguments = {**self._task.args, "data": to_copy(self._task.args.get("data") or {})}
        if arguments.get("undo"):
            arguments["closing"] = self.closing_of_all(task_vars, "")
        host = task_vars["inventory_hostname"]

        def rollout(*, begin: bool = True) -> Result:
            with shown(self._connection, host, arguments["site"], arguments["lock"]["run"]):
                result = self.module("workers", {**arguments, "begin": begin}, task_vars)
            if result.get("lost"):
                display.display(
                    f"{host}: the changes of the last {minutes(result['lost'])} before it was "
                    "closed are gone from the site. They are kept until the next time."
                )
            return result

        if self._task.check_mode:
            result = rollout()
            if result.get("replace") and not arguments.get("remove_orphans"):
                lines = replacements(result["replace"], host, arguments["release"])
                display.display("\n".join(lines))
            return result
        if is_alone(task_vars) or arguments.get("remove_orphans"):
            return rollout()
        site, release = str(arguments["site"]), str(arguments["release"])
        fleet = Fleet(site)
        if getattr(getattr(self._task, "play", None), "strategy", "") == "linear":
            for name, why in failed_before(site, task_vars).items():
                fleet.note(name, "failed", why=why)
        return roll_out_in_turn(fleet, host, release, rollout)
