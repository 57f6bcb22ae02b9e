"""What the tags of a run of the project's playbook name, and which of them are refused."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator

VERBS = (
    "maintenance_on",
    "maintenance_off",
    "rollback",
    "backup",
    "drill",
    "restore",
    "status",
    "advise",
    "lock",
    "unlock",
    "remove",
)
OPPOSITES = (("maintenance_on", "maintenance_off"), ("lock", "unlock"))
# Ansible's own; a plain run has the first.
SPECIAL = ("all", "always", "never", "tagged", "untagged")
# Those by which tasks without a tag, so a deployment, are chosen.
PLAIN = {"all", "untagged"}


def tag_problems(tags: Collection[str], *, alone: bool) -> Iterator[str]:
    """Yield why a run with these tags is refused before it does anything.

    Args:
        tags: What ``--tags`` names.
        alone: Whether the project's playbook is all that runs. In a playbook of the operator's,
            tags may name what we do not know.
    """
    named = set(tags)
    beside = ", ".join(sorted(named - {"remove", "always"}))
    deploying = ", ".join(sorted(named - {*VERBS, "always", "never"}))
    if "remove" in named and beside:
        yield f"--tags: remove together with {beside} is not allowed; remove a site by itself."
    elif "rollback" in named and deploying:
        yield (
            f"--tags: rollback together with {deploying} is not allowed; that would deploy what "
            "the rollback then takes back."
        )
    for first, second in OPPOSITES:
        if {first, second} <= named:
            yield f"--tags: {first} together with {second} is not allowed; name only one."
    if not alone:
        return
    for unknown in sorted(named - {*VERBS, *SPECIAL}):
        near = difflib.get_close_matches(unknown, VERBS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(VERBS)}."
        yield f"--tags: there is no tag {unknown!r}; {hint}"
    if named <= set(SPECIAL) and not named & PLAIN:
        yield (
            f"--tags: {', '.join(sorted(named))} names nothing to do; without --tags the site is "
            "deployed."
        )
