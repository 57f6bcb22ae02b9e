"""Get a site on a host for this run: at once, instead of a run that is dead, or after a wait."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from time import monotonic, sleep
from typing import Any

from ansible.utils.display import Display

from aroundtheworld_controller.run import is_over
from aroundtheworld_controller.variables import BadInputError

EVERY_SECONDS = 3.0
# What sudo, su and doas say, and Ansible of them, when they do not make root of the login.
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


def become_problem(said: Mapping[str, Any], name: str) -> str:
    """Return what to say when the module never began, because sudo or its like refused to run it.

    Empty where it failed in some other way.
    """
    words = str(said.get("module_stderr") or said.get("msg") or "").strip()
    if not said.get("failed") or not BECOME.search(words):
        return ""
    last = words.splitlines()[-1]
    return f"This needs root on {name}, and becoming it failed: {last!r}. {WAYS}"


def with_site(
    ask: Callable[[str], Result],
    name: str,
    wait: float,
    pause: Callable[[float], None] = sleep,
) -> Result:
    """Return what the host says once this run owns the site there.

    Args:
        ask: Asks the host for the site, instead of the run with this id, if that has it.
        name: The host's name.
        wait: For how many seconds to wait for another run or person.
        pause: Sleeps.

    Raises:
        BadInputError: Another run or a person has the site, or the play is not root.
    """
    deadline = monotonic() + wait
    instead_of = ""
    told: Mapping[str, Any] | None = None
    while True:
        said = ask(instead_of)
        if problem := become_problem(said, name):
            raise BadInputError(problem)
        if said.get("failed") or said.get("unreachable"):
            return said
        if "user" in said:
            raise BadInputError(root_problem(said["user"], name))
        if "refused" not in said:
            if followed := said["followed"]:
                display.display(
                    f"{name}: follows a run that was cut off, {followed['doing']} by "
                    f"{followed['who']} since {followed['since']}"
                )
            return said
        holder = said["holder"]
        if holder.get("run") and holder["run"] != instead_of and is_over(holder.get("process", {})):
            instead_of = holder["run"]
            continue
        left = deadline - monotonic()
        if left <= 0:
            raise BadInputError(f"{name}: {said['refused']}")
        # Phases come and go; who it is that one waits for should be said once.
        identity = {key: holder.get(key) for key in ("who", "since")} | {"person": not holder}
        if identity != told:
            told = identity
            sentence = said["refused"].partition(" Nothing was changed")[0]
            display.display(f"{name}: waiting for at most {left:.0f} s, because {sentence}")
        pause(min(EVERY_SECONDS, left))
