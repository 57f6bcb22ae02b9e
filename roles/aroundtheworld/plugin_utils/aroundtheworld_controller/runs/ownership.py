"""Take a site on a host for this run: at once, instead of a run that is dead, or after a wait."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from time import monotonic, sleep
from typing import Any

from ansible.utils.display import Display

from aroundtheworld_controller.runs.run import is_over
from aroundtheworld_controller.variables import BadInputError

EVERY_SECONDS = 3.0
# What sudo, su and doas print, and Ansible about them, when they refuse to make the login root.
BECOME = re.compile(
    r"\b(sudo|su|doas|pkexec|become)\b[^\n]*(not found|password|allowed|permitted)", re.I
)

display = Display()

Result = dict[str, Any]


WAYS = (
    "Set `become: true` for the play or the role, or run with --become (-b), and with "
    "--ask-become-pass (-K) if sudo wants a password; or log in as root with ansible_user."
)


def root_problem(user: str, name: str) -> str:
    """Return what to say when the host `name` lets the play be `user` and not root."""
    return f"This needs root on {name}: the play is {user!r} there. {WAYS}"


def become_problem(result: Mapping[str, Any], name: str) -> str:
    """Return what to say when the module never began, because sudo or its like refused to run it.

    Empty where it failed in some other way.
    """
    words = str(result.get("module_stderr") or result.get("msg") or "").strip()
    if not result.get("failed") or not BECOME.search(words):
        return ""
    last = words.splitlines()[-1]
    return f"This needs root on {name}, and becoming it failed: {last!r}. {WAYS}"


def with_site(
    observe: Callable[[str], Result],
    name: str,
    wait: float,
    pause: Callable[[float], None] = sleep,
) -> Result:
    """Return what `observe` returns once this run owns the site on the host.

    Args:
        observe: Takes the site on the host, instead of the run with this id if that has it, and
            returns what the host module observed.
        name: The host's name.
        wait: For how many seconds to wait for another run or person.
        pause: Sleeps.

    Raises:
        BadInputError: Another run or a person has the site, or the play is not root.
    """
    deadline = monotonic() + wait
    instead_of = ""
    shown: Mapping[str, Any] | None = None
    while True:
        result = observe(instead_of)
        if problem := become_problem(result, name):
            raise BadInputError(problem)
        if result.get("failed") or result.get("unreachable"):
            return result
        if "user" in result:
            raise BadInputError(root_problem(result["user"], name))
        if "refused" not in result:
            if followed := result["followed"]:
                display.display(
                    f"{name}: follows a run that was cut off, {followed['doing']} by "
                    f"{followed['who']} since {followed['since']}"
                )
            return result
        holder = result["holder"]
        if holder.get("run") and holder["run"] != instead_of and is_over(holder.get("process", {})):
            instead_of = holder["run"]
            continue
        left = deadline - monotonic()
        if left <= 0:
            raise BadInputError(f"{name}: {result['refused']}")
        # Phases come and go; who has the site is shown once.
        identity = {key: holder.get(key) for key in ("who", "since")} | {"person": not holder}
        if identity != shown:
            shown = identity
            sentence = result["refused"].partition(" Nothing was changed")[0]
            display.display(f"{name}: waiting for at most {left:.0f} s, because {sentence}")
        pause(min(EVERY_SECONDS, left))
