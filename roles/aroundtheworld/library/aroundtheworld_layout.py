#!/usr/bin/python
"""Ansible module: what a site has beside units and releases, all in one task."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_layout
short_description: Make a site's user, directories, environment file, secrets, command, logs, timer
description:
  - Environment file and secrets are readable by root alone; systemd hands them to the workers. What
    else is in the directory of secrets is removed.
  - Neither their values nor a generated secret appear in a result or a diff.
  - The site's claim comes first; nothing is made when another site on the host has some of it.
    Everything that is made is in it first.
  - A user who is there already stays as they are.
options:
  claim: {description: What the site has for itself on the host., type: dict, required: true}
  directories:
    description:
      - Each with C(path), C(owner) and C(mode), parents before children. Their group is the owner's
        own. A directory that is older than the site is left as it is.
    type: list
    elements: dict
    required: true
  settings:
    description:
      - C(environment) and C(secrets), each names to values, as one text of JSON; for the value
        C(generate) a secret is made, once. Ansible hides each value that it must not show wherever
        it appears in a result or a log, so one that is a usual word would hide paths. One text
        appears nowhere else.
    type: str
    required: true
  script:
    description: Text of the command that runs what the app brings as its workers run.
    type: str
    required: true
  rotation:
    description: Text of the entry by which logrotate rotates the site's logs.
    type: str
    required: true
  log_days:
    description: How many former days of logs it keeps. Those from when it kept more are removed.
    type: int
    required: true
  backup:
    description:
      - What makes backups on the host by a timer, as one text of JSON, which the action plugin of
        the same name adds. Empty means that no timer does.
    type: str
    default: ""
  lock: {description: The run that owns the site, type: dict, required: true}
author: The Around The World authors
"""

EXAMPLES = r"""
- name: The site has its directories, environment and secrets
  aroundtheworld_layout:
    claim: "{{ __aroundtheworld_plan.claim }}"
    directories: [{path: /srv/site, owner: root, mode: "0755"}]
    settings: '{"environment": {"LANG": "C.UTF-8"}, "secrets": {"cookie_secret": "generate"}}'
    script: "{{ lookup('ansible.builtin.template', 'run.sh.j2') }}"
    rotation: "{{ lookup('ansible.builtin.template', 'logrotate.j2') }}"
    log_days: 14
    lock: "{{ __aroundtheworld_plan.lock }}"
"""

RETURN = r"""# """

import os

from ansible.module_utils.aroundtheworld.groundwork import Groundwork
from ansible.module_utils.aroundtheworld.lock import OPTION as LOCK
from ansible.module_utils.aroundtheworld.lock import owned
from ansible.module_utils.aroundtheworld.systemd import HostError
from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "claim": {"type": "dict", "required": True},
            "directories": {"type": "list", "elements": "dict", "required": True},
            "settings": {"type": "str", "required": True, "no_log": True},
            "script": {"type": "str", "required": True},
            "rotation": {"type": "str", "required": True},
            "log_days": {"type": "int", "required": True},
            "backup": {"type": "str", "default": "", "no_log": True},
            "lock": LOCK,
        },
        supports_check_mode=True,
    )
    os.umask(0o022)  # the workers enter the site by directories that may be made on the way
    with owned(module):
        groundwork = Groundwork(module)
        try:
            groundwork.converge()
        except (HostError, OSError) as failure:
            message = f"What the site has beside its releases could not be made: {failure}"
            module.fail_json(msg=message)
        after = "".join(f"{change}\n" for change in groundwork.changes)
        module.exit_json(changed=bool(groundwork.changes), diff={"before": "", "after": after})


if __name__ == "__main__":
    main()
