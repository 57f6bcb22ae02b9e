#!/usr/bin/python
"""Ansible module: a site has a certificate from an ACME CA for its names, or none any more.

Debian's certbot asks for it and renews it. A CA is asked when there is no certificate, when the
names differ, and when the CA is another one; a run without a reason does not reach it. What fails
at the CA does not fail the run: the site goes on with what it has, and the next run asks again.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_certificate
short_description: Have a certificate from an ACME CA
description:
  - Asks a CA for a certificate for the site's names when there is a reason, through C(certbot).
  - Without O(names) it deletes the certificate, if the role had it made.
options:
  site: {description: Name of the site., type: str, required: true}
  home: {description: Directory of the site., type: path, required: true}
  host: {description: "What the inventory calls the host, for warnings", type: str, default: ""}
  names:
    description: Host names that the certificate is for; none when the site is to have none.
    type: list
    elements: str
    default: []
  directory: {description: URL of the CA's directory., type: str, default: ""}
  email: {description: Where the CA can reach the operator., type: str, default: ""}
  hook: {description: The command that runs after each renewal., type: str, default: ""}
  port: {description: Port on which nginx shows the certificate., type: int, default: 443}
  lock: {description: The run that owns the site, type: dict, required: true}
author: The Around The World authors
"""

EXAMPLES = r"""
- name: The site has a certificate
  aroundtheworld_certificate:
    site: aroundtheworld
    home: /var/lib/tornado/aroundtheworld
    names: [www.example.org]
    directory: https://acme-v02.api.letsencrypt.org/directory
    hook: "{{ lookup('ansible.builtin.template', 'certificate-renewed.sh.j2') }}"
    lock: "{{ __aroundtheworld_plan.lock }}"
"""

RETURN = r"""
steps: {description: "What is done, in order, each a sentence", type: list, returned: always}
certificate: {description: Path of the certificate or an empty text, type: str, returned: always}
key: {description: Path of its private key or an empty text, type: str, returned: always}
is_wider:
  description: Whether it is for all names, and there was none before or one without some of them.
  type: bool
  returned: always
"""

from collections.abc import Sequence
from pathlib import Path

from ansible.module_utils.aroundtheworld.acme.change import CertificateChange
from ansible.module_utils.aroundtheworld.certificate import Certificate
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.lock import OPTION as LOCK
from ansible.module_utils.aroundtheworld.lock import owned
from ansible.module_utils.aroundtheworld.systemd import HostError
from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "home": {"type": "path", "required": True},
            "host": {"type": "str", "default": ""},
            "names": {"type": "list", "elements": "str", "default": []},
            "directory": {"type": "str", "default": ""},
            "email": {"type": "str", "default": ""},
            "hook": {"type": "str", "default": ""},
            "port": {"type": "int", "default": 443},
            "lock": LOCK,
        },
        supports_check_mode=True,
    )
    with owned(module):
        work(module)


def work(module: AnsibleModule) -> None:
    """Compare, change and end the task."""
    layout = SiteLayout(Path(module.params["home"]), module.params["site"])
    try:
        change = CertificateChange(module.run_command, layout, module.params)
        steps, before, names = change.steps(), change.current, module.params["names"]
        problem = change.carry_out() if steps and not module.check_mode else ""
    except (HostError, OSError) as failure:
        module.fail_json(msg=f"The site has no certificate, or not the right one: {failure}")
    # certbot may also fail once it has the certificate; nginx has read that by now.
    if problem and change.request:
        steps.remove(change.request)
        module.warn(
            f"{module.params['host']}: no certificate from {module.params['directory']}: {problem}."
            " The site goes on as it is; the next run asks again."
        )
    for warning in change.warnings():
        module.warn(f"{module.params['host']}: {warning}")
    now = change.lineage.current()
    module.exit_json(
        changed=bool(steps),
        steps=steps,
        certificate=str(change.lineage.certificate) if now else "",
        key=str(change.lineage.key) if now else "",
        is_wider=is_complete(now, names) and not is_complete(before, names),
        diff={"prepared": "\n".join(steps)} if steps else {},
    )


def is_complete(certificate: Certificate | None, names: Sequence[str]) -> bool:
    """Tell whether there is a certificate for all names."""
    return certificate is not None and not certificate.lacks(names)


if __name__ == "__main__":
    main()
