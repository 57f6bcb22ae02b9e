#!/usr/bin/python
"""Ansible module: remove a site from its host, and its data too where you say so.

What the site's claim lists is removed, so a site that was made by half can be removed as well, and
the next run completes one that was cut off. Files that only have similar names stay. The claim is
removed last: while it is there, the host knows that something is left.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_remove
short_description: Remove a site that nginx serves no more
description:
  - Stops the workers, which finish what they have, and removes units, releases and settings.
  - Only what the site's claim lists is removed.
  - Data stays unless O(data) is true, and with it the secrets, the user, the logs and the claim.
options:
  site: {description: Name of the site., type: str, required: true}
  home: {description: Directory of the site., type: path, required: true}
  user: {description: User that the workers run as., type: str, required: true}
  data:
    description: Whether to remove the app's data, its secrets and logs too.
    type: bool
    default: false
  who: {description: Who makes this change., type: str, default: somebody}
  lock: {description: The run that owns the site, type: dict, required: true}
author: The Around The World authors
"""

EXAMPLES = r"""
- name: Nothing of the site is left but its data
  aroundtheworld_remove:
    site: aroundtheworld
    home: /var/lib/tornado/aroundtheworld
    user: tornado
    lock: "{{ __aroundtheworld_plan.lock }}"
"""

RETURN = r"""
steps: {description: "What is done, in order, each a sentence", type: list, returned: always}
kept: {description: "What is left of the site, each a sentence", type: list, returned: always}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.lock import OPTION as LOCK
from ansible.module_utils.aroundtheworld.lock import owned
from ansible.module_utils.aroundtheworld.remains import Remains
from ansible.module_utils.aroundtheworld.removal import carry_out, removal_steps
from ansible.module_utils.aroundtheworld.systemd import HostError, Systemd
from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "home": {"type": "path", "required": True},
            "user": {"type": "str", "required": True},
            "data": {"type": "bool", "default": False},
            "who": {"type": "str", "default": "somebody"},
            "lock": LOCK,
        },
        supports_check_mode=True,
    )
    parameters: dict[str, Any] = module.params
    with owned(module, "removal"):
        work(module, parameters)


def work(module: AnsibleModule, parameters: Mapping[str, Any]) -> None:
    """Find what there is, remove it, and end the task."""
    layout = SiteLayout(Path(parameters["home"]), parameters["site"])
    try:
        remains = Remains(layout, parameters["user"], data=parameters["data"])
        plan, kept = removal_steps(remains, Systemd(module)), remains.kept()
        if plan and not module.check_mode:
            carry_out(plan, remains, parameters["who"])
    except (HostError, OSError) as failure:
        module.fail_json(msg=f"The site was not removed, or not all of it: {failure}")
    steps = [sentence for sentence, _ in plan]
    module.exit_json(
        changed=bool(steps),
        steps=steps,
        kept=kept,
        diff={"prepared": "\n".join(steps)} if steps else {},
    )


if __name__ == "__main__":
    main()
