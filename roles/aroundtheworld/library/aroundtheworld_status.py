#!/usr/bin/python
"""Ansible module: how a site's workers are, and what was changed last."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_status
short_description: Return the status of a site's workers, and the last changes
description:
  - Asks every worker on its private socket, which is answered even while its event loop is blocked.
options:
  site: {description: Name of the site., type: str, required: true}
  home: {description: Directory of the site., type: path, required: true}
  changes: {description: How many of the last changes to return., type: int, default: 5}
author: The Around The World authors
"""

EXAMPLES = r"""
- name: How the site is
  aroundtheworld_status:
    site: aroundtheworld
    home: /var/lib/tornado/aroundtheworld
"""

RETURN = r"""
served:
  description: Host names and ports by which visitors find the site; nothing if it is removed.
  type: dict
  returned: always
release: {description: The current release, type: str, returned: always}
closed: {description: Whether the site is closed for maintenance, type: bool, returned: always}
maintenance:
  description:
    - While it is closed, C(since), C(until), C(scope), C(pools), C(reason) and C(who).
  type: dict
  returned: always
certificate:
  description: Its C(names) and C(end), as nginx shows it, or nothing without HTTPS.
  type: dict
  returned: always
workers:
  description:
    - What systemd says of each worker, C(crashes) if it does, C(about) for people, and what it says
      of itself.
  type: list
  returned: always
jobs:
  description:
    - How the last run of each job went, if one is known since the host has booted, whether it runs,
      and when it runs next.
  type: list
  returned: always
not_enforced:
  description: Of each pool, the settings that this kernel cannot enforce.
  type: dict
  returned: always
directives:
  description: Of each pool with C(unit), the directives that the units of its workers have for it.
  type: dict
  returned: always
access:
  description: Of each pool that is not for everybody, who may ask it, where and how often.
  type: dict
  returned: always
backup:
  description: >-
    When the site is backed up, C(at), C(due), and C(repository), and how the C(last) one and the
    C(failed) one went; nothing where there was none.
  type: dict
  returned: always
locks: {description: "Who may change the site, each a sentence", type: list, returned: always}
changes: {description: "The last changes, oldest first", type: list, returned: always}
problems: {description: "What is wrong, each a sentence", type: list, returned: always}
"""

from pathlib import Path

from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.status import site_status
from ansible.module_utils.aroundtheworld.systemd import Systemd
from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "home": {"type": "path", "required": True},
            "changes": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    layout = SiteLayout(Path(module.params["home"]), module.params["site"])
    status = site_status(Systemd(module), layout, module.params["changes"])
    module.exit_json(changed=False, **status)


if __name__ == "__main__":
    main()
