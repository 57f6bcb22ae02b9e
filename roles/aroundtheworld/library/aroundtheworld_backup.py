#!/usr/bin/python
"""Ansible module: back a site up at once, or try its last backup, as the timers do."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_backup
short_description: Back a site up, or try its last backup
description:
  - Writes the program, the settings and the units of backups, then starts the service and waits for
    it. The service takes the site itself, so the run gives it up first. It goes on when the
    controller goes away.
options:
  site: {description: Name of the site., type: str, required: true}
  home: {description: Directory of the site., type: path, required: true}
  who: {description: Who asks for the backup., type: str, required: true}
  drill:
    description: Whether to try the last backup instead of making one.
    type: bool
    default: false
  backup:
    description: What makes backups, as one text of JSON; the action plugin adds it.
    type: str
    required: true
  lock: {description: The run that owns the site., type: dict, required: true}
author: The Around The World authors
"""

EXAMPLES = r"""
- name: There is a backup
  aroundtheworld_backup:
    site: shop
    home: /var/lib/tornado/shop
    who: "{{ __aroundtheworld_plan.who }}"
    lock: "{{ __aroundtheworld_plan.lock }}"
"""

RETURN = r"""
last:
  description:
    - Of the backup, C(time), C(id), C(seconds), C(bytes), C(added) and C(notes).
    - Of the drill, C(time), C(id), C(of), C(seconds), C(bytes), C(files), C(databases), C(notes).
  type: dict
  returned: unless in check mode
repository: {description: Where the backup is, type: str, returned: unless in check mode}
"""

import json
import os
from pathlib import Path

from ansible.module_utils.aroundtheworld.data.schedule import (
    DRILL,
    Schedule,
    back_up_now,
    do_now,
)
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.lock import OPTION as LOCK
from ansible.module_utils.aroundtheworld.lock import owned, release
from ansible.module_utils.aroundtheworld.systemd import HostError, Systemd
from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "home": {"type": "path", "required": True},
            "who": {"type": "str", "required": True},
            "drill": {"type": "bool", "default": False},
            "backup": {"type": "str", "required": True, "no_log": True},
            "lock": LOCK,
        },
        supports_check_mode=True,
    )
    parameters = module.params
    os.umask(0o022)  # systemd and status read what root writes here
    layout, systemd = SiteLayout(Path(parameters["home"]), parameters["site"]), Systemd(module)
    schedule = Schedule(layout, systemd, check_mode=module.check_mode)
    try:
        with owned(module):
            schedule.converge(json.loads(parameters["backup"]))
        diff = {"before": "", "after": "".join(f"{each}\n" for each in schedule.changes)}
        if module.check_mode:
            module.exit_json(changed=True, diff=diff)
        release(parameters["lock"])
        if parameters["drill"]:
            state = do_now(DRILL, layout, systemd)
        else:
            state = back_up_now(layout, systemd, parameters["who"])
    except (HostError, OSError) as failure:
        what = "The drill failed" if parameters["drill"] else "There is no backup"
        module.fail_json(msg=f"{what}: {failure}")
    repository = json.loads(parameters["backup"])["settings"]["repository"]
    module.exit_json(changed=True, diff=diff, last=state["last"], repository=repository)


if __name__ == "__main__":
    main()
