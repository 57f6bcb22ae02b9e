#!/usr/bin/python
"""Ansible module: nginx serves a site.

A configuration is tried alone before it lands, and with everything else before nginx reads it.
Whether nginx still has to read it follows from the site's own response through nginx, not from
what changed in this run.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_nginx
short_description: Have nginx serve a site
description:
  - Writes C(sites-available/SITE.conf) and links it from C(sites-enabled), or writes
    C(conf.d/SITE.conf) where this nginx includes that, and reloads nginx.
  - Succeeds when the site itself has responded through nginx to its own host names.
  - A failure leaves the host as it was.
  - Sites of one host come one after the other.
options:
  site: {description: Name of the site., type: str, required: true}
  content:
    description: The configuration; an empty text removes the site from nginx.
    type: str
    required: true
  private:
    description:
      - What else the configuration needs, as a text of JSON, path to content. Only the root user
        may read these files; their content is in no result and no diff.
    type: str
    default: "{}"
  passwords:
    description:
      - The same for files that nginx's own processes read too, which is what it asks for passwords.
    type: str
    default: "{}"
  media:
    description: Directories in C(shared/) that nginx reads, relative to it; they are made.
    type: list
    elements: str
    default: []
  shared: {description: Where C(shared/) is., type: path, default: ""}
  remove_default:
    description: >-
      Whether Debian's welcome page is switched off while it is as Debian brought it. When the site
      is removed, it is switched on again.
    type: bool
    default: false
  lock: {description: The run that owns the site, type: dict, required: true}
author: The Around The World authors
"""

EXAMPLES = r"""
- name: The site is served
  aroundtheworld_nginx:
    site: aroundtheworld
    content: "{{ lookup('ansible.builtin.template', 'site.conf.j2') }}"
    lock: "{{ __aroundtheworld_plan.lock }}"
"""

RETURN = r"""
steps: {description: "What is done, in order, each a sentence", type: list, returned: always}
"""

import json
from contextlib import nullcontext
from pathlib import Path

from ansible.module_utils.aroundtheworld.host_lock import only_site
from ansible.module_utils.aroundtheworld.lock import OPTION as LOCK
from ansible.module_utils.aroundtheworld.lock import owned
from ansible.module_utils.aroundtheworld.media import Media
from ansible.module_utils.aroundtheworld.nginx.change import SiteChange
from ansible.module_utils.aroundtheworld.systemd import HostError
from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "content": {"type": "str", "required": True},
            "private": {"type": "str", "default": "{}", "no_log": True},
            "passwords": {"type": "str", "default": "{}", "no_log": True},
            "media": {"type": "list", "elements": "str", "default": []},
            "shared": {"type": "path", "default": ""},
            "remove_default": {"type": "bool", "default": False},
            "lock": LOCK,
        },
        supports_check_mode=True,
    )
    with owned(module):
        work(module)


def work(module: AnsibleModule) -> None:
    """Compare, change and end the task."""
    try:
        with nullcontext() if module.check_mode else only_site():
            change = SiteChange(
                module.run_command,
                module.params["site"],
                module.params["content"],
                remove_default=module.params["remove_default"],
                private=json.loads(module.params["private"]),
                passwords=json.loads(module.params["passwords"]),
            )
            media = Media(Path(module.params["shared"]), module.params["media"], change.group)
            steps = [*media.steps(), *change.steps()]
            if steps and not module.check_mode:
                media.carry_out()
                change.carry_out()
    except HostError as failure:
        module.fail_json(msg=str(failure))
    module.exit_json(
        changed=bool(steps),
        steps=steps,
        diff=[
            {
                "before_header": str(change.place.file),
                "after_header": str(change.place.file),
                "before": change.content_before,
                "after": change.content,
            },
            {"prepared": "\n".join(steps)},
        ]
        if steps
        else [],
    )


if __name__ == "__main__":
    main()
