"""Several hosts get a release one after the other: a host's rollout begins when its turn comes.

One host gets the release first, and the rest when that went well. A host with nothing to change
does not wait, and no other waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

from ansible.utils.display import Display

from aroundtheworld_controller.runs.fleet import Fleet

EVERY_SECONDS = 0.5
# While a host waits, its run renews its record there so often, or another run would follow it.
RENEW_SECONDS = 240.0

display = Display()

Result = dict[str, Any]


class Rollout(Protocol):
    """What runs the module on a host."""

    def __call__(self, *, begin: bool = True) -> Result:
        """Return the module's result; without `begin` it changes nothing and only looks."""


def roll_out_in_turn(fleet: Fleet, host: str, release: str, rollout: Rollout) -> Result:
    """Return the module's result, or a failure when the host may not begin any more.

    Args:
        fleet: The hosts of this run that are the same site.
        host: The name of this one.
        release: The release that it is to run.
        rollout: What runs the module.
    """
    renew, shown = 0.0, ""
    while True:
        turn, about = fleet.turn(host, release)
        if turn == "go":
            return _roll_out(fleet, host, release, rollout)
        if time.monotonic() >= renew or turn == "stop":
            renew = time.monotonic() + RENEW_SECONDS
            result = rollout(begin=False)
            if result.get("failed") or not result.get("pending"):
                _note(fleet, host, release, result)
                return result
            fleet.note(host, "waiting", current=result["current"])
            if turn == "stop":
                message = fleet.turn(host, release)[1]
                return {**result, "failed": True, "changed": False, "msg": message}
        if about != shown:
            shown = about
            display.display(f"{host}: waits until {about} runs release {release}")
        time.sleep(EVERY_SECONDS)


def _roll_out(fleet: Fleet, host: str, release: str, rollout: Rollout) -> Result:
    result: Result = {"failed": True, "msg": "the connection was lost"}
    try:
        result = rollout()
    finally:
        _note(fleet, host, release, result)
    return result


def _note(fleet: Fleet, host: str, release: str, result: Result) -> None:
    if result.get("failed") or result.get("unreachable"):
        why = str(result.get("msg", ""))
        fleet.note(host, "failed", current=result.get("current"), why=why)
    else:
        fleet.proved(host, release, changed=bool(result.get("changed")))


def failed_before(site: str, task_vars: Mapping[str, Any]) -> dict[str, str]:
    """Return hosts of a site to which the release could not be brought, and why.

    Ansible does not say whose earlier tasks have failed while their rescue is to come. But where
    all hosts of a play are at the same task (strategy linear), a host without the release has
    failed on the way.
    """
    failed: dict[str, str] = {}
    if "__aroundtheworld_release" not in task_vars:
        return failed
    for host in task_vars.get("ansible_play_hosts", ()):
        plan, brought = (
            task_vars["hostvars"][host].get(f"__aroundtheworld_{step}") or {}
            for step in ("plan", "release")
        )
        if plan.get("lock", {}).get("site") != site:
            continue
        if not brought or brought.get("failed"):
            failed[host] = str(brought.get("msg", "a task before its rollout failed"))
    return failed
