#!/usr/bin/python
"""Ansible module: close a site for maintenance, and open it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_maintenance
short_description: Close a site for maintenance, or open it
description:
  - nginx looks for the switch, a file, in every request, so it is not reloaded. The lock is not
    needed, because you must be able to close the site while a run hangs.
  - With O(until), a timer of systemd opens the site.
options:
  site: {description: Name of the site., type: str, required: true}
  home: {description: Directory of the site., type: path, required: true}
  state: {description: How the site is to be., type: str, choices: [closed, open], required: true}
  scope: {description: "What closes: V(public), V(all) or a pool.", type: str, default: public}
  pools:
    description: The pools that close, each with C(name), C(ports) and C(command).
    type: list
    elements: dict
    default: []
  allow: {description: Who may come in., type: list, elements: str, default: []}
  reason: {description: Why it is closed., type: str, default: ""}
  until: {description: When it opens, as ISO 8601 in UTC., type: str, default: ""}
  retry_after: {description: Value of the header C(Retry-After)., type: str, default: ""}
  page: {description: What people see., type: str, default: ""}
  json: {description: What programs see., type: str, default: ""}
  who: {description: Who closes it., type: str, default: ""}
  name: {description: The host name of the way in., type: str, default: ""}
author: The Around The World authors
"""

EXAMPLES = r"""
- name: The public side is open
  aroundtheworld_maintenance:
    site: aroundtheworld
    home: /var/lib/tornado/aroundtheworld
    state: open
"""

RETURN = r"""
notes: {description: "What else is to be said, each a sentence", type: list, returned: always}
https: {description: Whether nginx has a certificate for that name, type: bool,
        returned: when O(state=closed)}
token: {description: "What makes the way in secret; the action plugin takes it out", type: str,
        returned: when O(state=closed)}
"""

import os
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.maintenance.toggle import (
    RefusedError,
    close_site,
    open_site,
)
from ansible.module_utils.aroundtheworld.systemd import HostError, Systemd
from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Run the module."""
    text = {"type": "str", "default": ""}
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "home": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["closed", "open"], "required": True},
            "scope": {"type": "str", "default": "public"},
            "pools": {"type": "list", "elements": "dict", "default": []},
            "allow": {"type": "list", "elements": "str", "default": []},
            **dict.fromkeys(
                ("reason", "until", "retry_after", "page", "json", "who", "name"), text
            ),
        },
        supports_check_mode=True,
    )
    parameters: dict[str, Any] = module.params
    os.umask(0o022)  # nginx reads what root writes here
    layout = SiteLayout(Path(parameters["home"]), parameters["site"])
    toggle = close_site if parameters["state"] == "closed" else open_site
    try:
        result = toggle(layout, Systemd(module), parameters, check_mode=module.check_mode)
    except RefusedError as problem:
        module.fail_json(msg=f"Nothing was changed: {problem}")
    except (HostError, OSError) as failure:
        module.fail_json(msg=f"The site could not be changed to {parameters['state']}: {failure}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
