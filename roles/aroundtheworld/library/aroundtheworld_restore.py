#!/usr/bin/python
"""Ansible module: lay a backup of a site beside it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_restore
short_description: Lay a backup of a site into a directory
description:
  - Writes the copies of databases and the files of C(shared) of a backup, checks them, and touches
    nothing else. The host may be one that never had the site.
options:
  to: {description: The directory, which is made or empty., type: path, required: true}
  which:
    description: The beginning of a backup's id, a time with its offset, or nothing for the last.
    type: str
    default: ""
  backup:
    description: What makes backups, as one text of JSON; the action plugin adds it.
    type: str
    required: true
  lock: {description: The run that owns the site., type: dict, required: true}
author: The Around The World authors
"""

EXAMPLES = r"""
- name: Yesterday is beside the site
  aroundtheworld_restore:
    to: /root/yesterday
    lock: "{{ __aroundtheworld_plan.lock }}"
"""

RETURN = r"""
backup: {description: Which one it is, type: str, returned: always}
"""

import json
import os
import socket
from pathlib import Path

from ansible.module_utils.aroundtheworld.data.beside import lay_beside, problem_with, remove_half
from ansible.module_utils.aroundtheworld.data.chosen import choose, told
from ansible.module_utils.aroundtheworld.data.workspace import restic_in, workspace
from ansible.module_utils.aroundtheworld.lock import OPTION as LOCK
from ansible.module_utils.aroundtheworld.lock import owned
from ansible.module_utils.aroundtheworld.systemd import HostError
from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "to": {"type": "path", "required": True},
            "which": {"type": "str", "default": ""},
            "backup": {"type": "str", "required": True, "no_log": True},
            "lock": LOCK,
        },
        supports_check_mode=True,
    )
    os.umask(0o077)
    brought, target = json.loads(module.params["backup"]), Path(module.params["to"])
    settings = brought["settings"]
    if problem := problem_with(target):
        module.fail_json(
            msg=f"Nothing was changed: aroundtheworld_restore_to: {str(target)!r}: {problem}."
        )
    try:
        with owned(module), workspace(settings["site"]) as work:
            restic = restic_in(work, brought)
            restic.check()
            host, site = socket.gethostname(), settings["site"]
            snapshot = choose(restic.snapshots(), site, host, module.params["which"])
            if not module.check_mode:
                remove_half(target)
                lay_beside(restic, snapshot, target)
    except (HostError, OSError) as failure:
        module.fail_json(msg=f"Nothing was restored: {failure}")
    after = f"{told(snapshot)} is in {target}\n"
    module.exit_json(changed=True, backup=told(snapshot), diff={"before": "", "after": after})


if __name__ == "__main__":
    main()
