#!/usr/bin/python
"""Ansible module: a release and its virtual environment, each whole or not there at all."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_release
short_description: Install a release and its virtual environment
description:
  - Without an archive, reports what of the release is missing; with one, installs it.
  - With O(migrate_check) in check mode, has the release say what its migration would do. It is
    unpacked for that and removed again.
  - Releases and environments are named by their content, owned by root, and never changed once
    they are whole.
  - The action plugin of the same name makes the archive on the controller.
options:
  home: {description: Directory of the site., type: path, required: true}
  release: {description: Id of the release., type: str, required: true}
  environment: {description: Id of the virtual environment., type: str, required: true}
  static:
    description: Directories of the app that nginx serves, each with C(url) and C(directory).
    type: list
    elements: dict
    default: []
  archive:
    description: Archive on the host with C(app), C(runner), C(wheels) and C(requirements.txt).
    type: path
  migrate_check:
    description: Words of the command that shows what the migration would do.
    type: list
    elements: str
    default: []
  process:
    description:
      - Lines of a unit's C([Service]) section that a process of the app runs with.
        C(${id}), C(${release}), C(${venv}) and C(${credentials}) stand for what a run finds out.
    type: list
    elements: str
    default: []
  secrets:
    description: Names of the site's secrets, some of which may not be on the host yet.
    type: list
    elements: str
    default: []
  lock: {description: The run that owns the site, type: dict, required: true}
author: The Around The World authors
"""

EXAMPLES = r"""
- name: The release is on the host
  aroundtheworld_release:
    home: /var/lib/tornado/aroundtheworld
    release: 0123456789ab
    environment: ba9876543210
    lock: "{{ __aroundtheworld_plan.lock }}"
"""

RETURN = r"""
missing:
  description: >-
    What was not there, of C(environment), C(interpreter), C(release), C(link) and C(assets).
  type: list
  returned: always
current: {description: Id of the release that runs now, type: str, returned: always}
migration: {description: What the migration would do, type: str, returned: in check mode}
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.installation import Installation
from ansible.module_utils.aroundtheworld.layout import HomeLayout
from ansible.module_utils.aroundtheworld.lock import OPTION as LOCK
from ansible.module_utils.aroundtheworld.lock import only_change, owned
from ansible.module_utils.aroundtheworld.migration_check import Process, check_migration
from ansible.module_utils.aroundtheworld.systemd import HostError
from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "home": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "environment": {"type": "str", "required": True},
            "static": {"type": "list", "elements": "dict", "default": []},
            "archive": {"type": "path"},
            "migrate_check": {"type": "list", "elements": "str", "default": []},
            "process": {"type": "list", "elements": "str", "default": []},
            "secrets": {"type": "list", "elements": "str", "default": []},
            "lock": LOCK,
        },
        supports_check_mode=True,
    )
    parameters: dict[str, Any] = module.params
    with owned(module, "installing a release" if parameters["archive"] else ""):
        work(module, parameters)


def work(module: AnsibleModule, parameters: Mapping[str, Any]) -> None:
    """Compare, install and end the task."""
    release, environment = parameters["release"], parameters["environment"]
    static, command = parameters["static"], parameters["migrate_check"]
    layout = HomeLayout(Path(parameters["home"]))
    installation = Installation(layout, release, environment, static, module.run_command)
    missing, migration = installation.missing(), ""
    archive = parameters["archive"] and Path(parameters["archive"])
    os.umask(0o022)  # the workers read what root writes here
    try:
        if module.check_mode and command:
            # Nothing is changed, but room beside the releases is taken for a while.
            with only_change(parameters["lock"], "looking what a release would do"):
                process = Process(parameters["process"], parameters["secrets"])
                migration = check_migration(installation, archive, command, process)
        elif archive and not module.check_mode:
            installation.install(archive)
    except HostError as failure:
        module.fail_json(msg=str(failure))
    except OSError as error:
        module.fail_json(
            msg=f"The release could not be written: {error}. What was there before still is."
        )
    about = {
        "release": release,
        "environment": environment,
        "interpreter": "by its version",
        "link": environment,
        "assets": f"below {', '.join(directory['url'] for directory in static) or 'nothing'}",
    }
    after = "".join(f"{part} {about[part]}\n" for part in missing)
    if migration:
        after += f"its migration:\n{migration}\n"
    module.exit_json(
        changed=bool(missing),
        missing=missing,
        current=layout.current_release(),
        migration=migration,
        diff={"before": "".join(f"no {part}\n" for part in missing), "after": after},
    )


if __name__ == "__main__":
    main()
