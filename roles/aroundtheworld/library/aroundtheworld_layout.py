#!/usr/bin/python
"""Ansible module: the site's directories, environment and secrets, all in one task."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_layout
short_description: Make a site's directories, its environment file and its secrets
description:
  - Environment file and secrets are readable by root alone; systemd hands them to the workers.
  - Neither their values nor a generated secret appear in a result or a diff.
  - The site's claim comes first; nothing is made when another site on the host has what it wants.
options:
  claim: {description: What the site has for itself on the host., type: dict, required: true}
  directories:
    description: Each with C(path), C(owner), C(group) and C(mode), parents before children.
    type: list
    elements: dict
    required: true
  environment_file: {description: Where the environment goes., type: path, required: true}
  environment: {description: Names to values., type: dict, required: true}
  secrets_directory:
    description: Where the secrets go; other files in it are removed.
    type: path
    required: true
  secrets:
    description: Names to values; C(generate) has one made, once.
    type: dict
    required: true
author: The Around The World authors
"""

EXAMPLES = r"""
- name: The site has its directories, environment and secrets
  aroundtheworld_layout:
    claim: "{{ __aroundtheworld_plan.claim }}"
    directories: [{path: /srv/site, owner: root, group: root, mode: "0755"}]
    environment_file: /etc/site/environment
    environment: {LANG: C.UTF-8}
    secrets_directory: /etc/site/secrets
    secrets: {cookie_secret: generate}
"""

RETURN = r"""# """

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.claims import (
    claim_path,
    claim_text,
    collisions,
    read_claims,
)
from ansible.module_utils.aroundtheworld.files import write_atomically
from ansible.module_utils.aroundtheworld.lock import only_site
from ansible.module_utils.aroundtheworld.systemd import HostError
from ansible.module_utils.basic import AnsibleModule

GENERATE = "generate"


def environment_text(environment: Mapping[str, Any]) -> str:
    """Return the text of an environment file for systemd (systemd.exec(5), EnvironmentFile=)."""
    quoted = {
        name: re.sub(r'([\\"$`])', r"\\\1", str(value)) for name, value in environment.items()
    }
    return "".join(f'{name}="{value}"\n' for name, value in sorted(quoted.items()))


def wanted_secrets(given: Mapping[str, str], directory: Path) -> dict[Path, str]:
    """Return the secret files with their contents; one that was generated before stays as it is."""
    wanted = {}
    for name, value in given.items():
        path = directory / name
        if value == GENERATE:
            value = path.read_text() if path.exists() else secrets.token_urlsafe(48)
        wanted[path] = value
    return wanted


def make_claim(claim: Mapping[str, Any]) -> None:
    """Write the claim; raises `HostError` when another site was faster than the plan's look."""
    with only_site():
        if problems := list(collisions(claim, read_claims())):
            raise HostError("Nothing was changed, because of this:\n" + "\n".join(problems))
        path = claim_path(claim["site"])
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, claim_text(claim), 0o644)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "claim": {"type": "dict", "required": True},
            "directories": {"type": "list", "elements": "dict", "required": True},
            "environment_file": {"type": "path", "required": True},
            "environment": {"type": "dict", "required": True, "no_log": True},
            "secrets_directory": {"type": "path", "required": True},
            "secrets": {"type": "dict", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    given: dict[str, Any] = module.params
    changes: list[str] = []
    os.umask(0o022)  # the workers enter the site by directories that may be made on the way

    claim = claim_path(given["claim"]["site"])
    if not claim.exists() or claim.read_text() != claim_text(given["claim"]):
        changes.append(f"content of {claim}")
        if not module.check_mode:
            try:
                make_claim(given["claim"])
            except HostError as failure:
                module.fail_json(msg=str(failure))
    for directory in given["directories"]:
        path = Path(directory["path"])
        if not path.is_dir():
            changes.append(f"directory {path}")
            if module.check_mode:
                continue
            path.mkdir(parents=True)
        attributes = module.load_file_common_arguments(module.params | directory)
        if module.set_fs_attributes_if_different(attributes, changed=False):
            changes.append(f"owner and mode of {path}")

    secrets_directory = Path(given["secrets_directory"])
    files = wanted_secrets(given["secrets"], secrets_directory)
    files[Path(given["environment_file"])] = environment_text(given["environment"])
    for path, text in files.items():
        if not path.exists() or path.read_text() != text or path.stat().st_mode & 0o777 != 0o600:
            changes.append(f"content of {path} (not shown)")
            if not module.check_mode:
                write_atomically(path, text, 0o600)
    orphans = set(secrets_directory.glob("*")) - set(files)
    for path in sorted(orphans):
        changes.append(f"no {path}")
        if not module.check_mode:
            path.unlink()

    module.exit_json(
        changed=bool(changes), diff={"before": "", "after": "".join(f"{one}\n" for one in changes)}
    )


if __name__ == "__main__":
    main()
