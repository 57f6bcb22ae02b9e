#!/usr/bin/python
"""Ansible module: take a site for a run, and read what the role has to know about the host.

The run owns the site before the module reads anything, so the plan fits until it is carried out. In
check mode the module only looks whether the run could own it.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_host
short_description: Take a site for a run, and read what the role has to know about its host
description:
  - Reports the distribution, Python, missing packages, and ports that something else listens on.
options:
  site: {description: Name of the site., type: str, required: true}
  home: {description: Directory of the site., type: path, required: true}
  address: {description: Address that the workers will listen on., type: str, required: true}
  worker_ports: {description: Ports of the workers., type: list, elements: int, required: true}
  claim: {description: What the site is to have on the host., type: dict, required: true}
  metrics:
    description: C(address) and C(port) of the metrics; nginx has the port after it. 0 is none.
    type: dict
    default: {address: 127.0.0.1, port: 0}
  tls:
    description: C(certificate) and C(key), paths of files that somebody else keeps on the host.
    type: dict
    default: {}
  remove_default: {description: Switch Debian's welcome page off., type: bool, default: true}
  decided:
    description: Directives of nginx's http block that the site decides about itself.
    type: list
    elements: str
    default: []
  temporary: {description: Where Ansible puts what it brings., type: str, default: "~"}
  packages: {description: Debian packages it needs., type: list, elements: str, required: true}
  app_packages:
    description: Debian packages that the app needs; each must be one that apt can install.
    type: list
    elements: str
    default: []
  lock: {description: The run that is to own the site., type: dict, required: true}
  instead_of: {description: Id of a run that the controller knows is over., type: str, default: ""}
author: The Around The World authors
"""

EXAMPLES = r"""
- name: What the host is
  aroundtheworld_host:
    site: aroundtheworld
    home: /var/lib/tornado/aroundtheworld
    address: 127.0.0.1
    worker_ports: [10001]
    claim: {site: aroundtheworld, home: /var/lib/tornado/aroundtheworld, http_port: 80}
    packages: [nginx]
    lock: {site: aroundtheworld, run: 0123456789ab, who: ada on desk, doing: deploy, process: {}}
"""

RETURN = r"""
distribution: {description: "Id and major version, as in C(debian 12)", type: str, returned: always}
python: {description: The host's own Python, type: dict, returned: always}
packages_missing: {description: Packages that are not installed, type: list, returned: always}
packages_unfinished:
  description: Packages that a run needs and an upgrade of Debian has not set up yet.
  type: list
  returned: always
taken_ports: {description: Ports that something else listens on, type: list, returned: always}
python3_apt: {description: Whether Ansible's apt can look at packages, type: bool, returned: always}
current: {description: Id of the current release or an empty text, type: str, returned: always}
restore_cut_off:
  description: Why nothing but a restore may change the site now, or an empty text
  type: str
  returned: always
releases: {description: Release ids to ids of their environments, type: dict, returned: always}
good_releases: {description: To go back to, the latest first, type: list, returned: always}
copies:
  description: >-
    Copies of the databases, oldest first, each with C(name), C(release), C(time), C(age) in seconds
    and the names of its C(databases).
  type: list
  returned: always
undoing:
  description: The release of an undo that was cut off, or an empty text.
  type: str
  returned: always
undo_cut_off:
  description: What completes an undo that was cut off, or an empty text.
  type: str
  returned: always
refused:
  description: Why the run may not have the site; then nothing else is read.
  type: str
  returned: when another run or a person has the site
holder:
  description: The record of the run that has the site, empty if a person has it.
  type: dict
  returned: when another run or a person has the site
followed:
  description: The record of the abandoned run that this one follows, or nothing.
  type: dict
  returned: when the run has the site
memory: {description: The host's memory in bytes, type: int, returned: always}
processes: {description: How many processes the kernel can have, type: int, returned: always}
tls:
  description: The text of the C(certificate) in C(tls), and C(problems) of both files, sentences.
  type: dict
  returned: always
hsts: {description: Seconds for which browsers may remember HTTPS, type: int, returned: always}
ipv6: {description: Whether the host has IPv6, type: bool, returned: always}
environments: {description: Ids of whole virtual environments, type: list, returned: always}
broken_environments:
  description: Ids of environments of releases with which no process starts, to why.
  type: dict
  returned: always
room: {description: "What is left on each file system, by use", type: dict, returned: always}
unfit: {description: Why the site cannot be on this host, type: list, returned: always}
nginx:
  description: >-
    Whether an nginx is C(there), its C(version) and that of its C(openssl), C(problems) and
    C(warnings) of its configuration as sentences, and about each of the site's C(ports) there
    whether it has to share a C(dual_stack) socket, where it is C(free) for unknown names, and who
    is there without HTTP/2.
  type: dict
  returned: always
acme:
  description: >-
    Paths of the C(certificate) and C(key) that nginx can have with C(acme) at once, empty texts
    when there are none, the site's names that are C(waiting), which that certificate is not for,
    and whether what certbot has under the site's name is the role's,
    C(is_own), or C(is_foreign).
  type: dict
  returned: always
user: {description: Whom it runs as, type: str, returned: if not root; then nothing else is read}
"""

import os
import pwd

from ansible.module_utils.aroundtheworld.host.describe import describe_host
from ansible.module_utils.aroundtheworld.lock import OPTION as LOCK
from ansible.module_utils.aroundtheworld.lock import LockedError, look, take
from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "home": {"type": "path", "required": True},
            "address": {"type": "str", "required": True},
            "worker_ports": {"type": "list", "elements": "int", "required": True},
            "claim": {"type": "dict", "required": True},
            "metrics": {"type": "dict", "default": {"address": "127.0.0.1", "port": 0}},
            "tls": {"type": "dict", "default": {}},
            "remove_default": {"type": "bool", "default": True},
            "decided": {"type": "list", "elements": "str", "default": []},
            "temporary": {"type": "str", "default": "~"},
            "packages": {"type": "list", "elements": "str", "required": True},
            "app_packages": {"type": "list", "elements": "str", "default": []},
            "lock": LOCK,
            "instead_of": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    if os.geteuid():  # without root nothing else here is reliable
        module.exit_json(changed=False, user=pwd.getpwuid(os.geteuid()).pw_name)
    take_site = look if module.check_mode else take
    try:
        followed = take_site(parameters["lock"], parameters["instead_of"])
    except LockedError as locked:
        module.exit_json(changed=False, refused=str(locked), holder=locked.record)
    except OSError as error:
        module.fail_json(msg=f"The site cannot be locked, so nothing was changed: {error}")
    facts = describe_host(parameters, module.run_command)
    module.exit_json(changed=False, followed=followed, **facts)


if __name__ == "__main__":
    main()
