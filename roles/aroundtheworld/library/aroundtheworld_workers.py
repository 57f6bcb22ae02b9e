#!/usr/bin/python
"""Ansible module: every worker of a site runs the expected release with the expected settings.

What is done follows from the state of the host and not from what changed in this run: unit files
are compared with what they should be, and each worker reports on its control socket which release
and settings it runs. So a run that was cut off anywhere is completed by the next. How workers are
replaced is in `module_utils/aroundtheworld/rollout/`.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_workers
short_description: Run a site's workers as systemd services
description:
  - Writes the unit files, and starts or replaces each worker that does not run what it should; one
    at a time, until a public one does.
  - A worker counts as started when its status is ready, with the expected release, and it answers
    the health check.
  - Before the first one starts, the units C(SITE-prepare.service), C(SITE-migrate.service) and
    C(SITE-trial.service) have to succeed, as far as there are any.
  - C(current) is switched when all workers run the release. A failure puts every touched one back.
options:
  site: {description: Name of the site and prefix of its units., type: str, required: true}
  home: {description: Directory of the site., type: path, required: true}
  release: {description: Id of the expected release., type: str, required: true}
  address:
    description: Address of the listening sockets, IPv6 in brackets.
    type: str
    required: true
  units:
    description:
      - All unit files in the format of C(systemctl cat). C(@CONFIG@) in them stands for a worker's
        settings.
    type: str
    required: true
  workers:
    description:
      - In the order in which they are replaced, each with C(instance), its port or what else its
        units are called by, C(pool), C(blocking), C(kind), C(start_timeout), C(sticky), and
        C(health), the health check - the request (C(path), C(host), C(scheme)) and which responses
        are right (C(statuses)).
    type: list
    elements: dict
    required: true
  watch:
    description: Files and directories whose content makes workers restart when it changes.
    type: list
    elements: path
    default: []
  key:
    description: File with the key of the hash that makes settings ids; it is made when missing.
    type: path
    required: true
  health_timeout:
    description: Seconds in which a new process must answer its health path.
    type: int
    default: 5
  canary_seconds:
    description: How long the first public worker is watched before the others follow.
    type: int
    default: 0
  keep_releases: {description: How many releases stay on the host., type: int, default: 5}
  migrate:
    description:
      - Whether the database is migrated in any case, and not only for a release that is deployed
        for the first time.
    type: bool
    default: false
  data:
    description:
      - What it takes to copy the databases before a migration - C(settings) of the site, the
        C(program) in base64, and C(copied), the names of the databases. Nothing is copied without.
    type: dict
    default: {}
  undo:
    description:
      - The name of a copy of the databases to go back to, with a release that ran then. The site is
        closed as O(closing) says meanwhile, and none of its processes runs.
    type: str
    default: ""
  closing: {description: How the site is closed, type: dict, default: {}}
  verb: {description: What the log calls this change., type: str, default: deploy}
  who: {description: Who makes this change., type: str, default: somebody}
  lock: {description: The run that owns the site, type: dict, required: true}
  begin:
    description: Whether to change anything, and not only to look.
    type: bool
    default: true
  remove_orphans:
    description: Only remove workers and pools that are not listed any more.
    type: bool
    default: false
author: The Around The World authors
"""

EXAMPLES = r"""
- name: Every worker runs the release
  aroundtheworld_workers:
    site: aroundtheworld
    home: /var/lib/tornado/aroundtheworld
    release: 0123456789ab
    address: 127.0.0.1
    lock: "{{ __aroundtheworld_plan.lock }}"
    units: "{{ lookup('ansible.builtin.template', 'units.j2') }}"
    workers:
      - instance: "10001"
        pool: public
        blocking: false
        kind: runner
        health: {path: /, host: shop.example.org, scheme: http, statuses: [2xx, 3xx]}
        start_timeout: 30
        sticky: false
"""

RETURN = r"""
steps: {description: "What is done, in order, each a sentence", type: list, returned: always}
replace:
  description: Workers that are replaced, each with C(worker), C(pool) and C(why).
  type: list
  returned: always
phases: {description: "What was done, each with its seconds", type: list, returned: always}
lost:
  description: Seconds of changes that the databases do not have any more, 0 without O(undo).
  type: float
  returned: always
current: {description: The release that C(current) leads to, type: str, returned: always}
pending: {description: Whether something is to be changed, type: bool, returned: not O(begin)}
orphans: {description: Units that no pool lists any more, type: list, returned: always}
"""

import os
from pathlib import Path

from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.lock import owned
from ansible.module_utils.aroundtheworld.rollout.host import Host, HostSockets
from ansible.module_utils.aroundtheworld.rollout.task import OPTIONS, carry_out
from ansible.module_utils.aroundtheworld.systemd import HostError, Systemd
from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    options = module.params
    site = SiteLayout(Path(options["home"]), options["site"])
    os.umask(0o022)  # systemd and nginx read what root writes here
    with owned(module, f"{options['verb']} of release {options['release']}") as report:
        host = Host(site, Systemd(module), HostSockets())
        try:
            result = carry_out(host, options, report, check_mode=module.check_mode)
        except HostError as failure:
            module.fail_json(msg=str(failure), current=site.current_release())
        module.exit_json(**result)


if __name__ == "__main__":
    main()
