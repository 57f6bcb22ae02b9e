#!/usr/bin/python
"""Ansible module: a backup takes the place of a site's data."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_replace
short_description: Put a backup in the place of a site's data
description:
  - With O(step=examine), finds the backup and whether it can be restored here; nothing is changed,
    but a restore that was cut off is taken back.
  - With O(step=replace), writes the backup beside the data and checks it, then closes the site,
    stops it, and exchanges the data. A failure leaves the site as it was. After a success it stands
    still.
  - With O(step=finish), opens the site, or closes it as it was before. Then the app says what in
    its data does not fit together, which fails nothing.
options:
  step:
    description: What to do.
    type: str
    choices: [examine, replace, finish]
    required: true
  which:
    description: The beginning of a backup's id, a time with its offset, or nothing for the last.
    type: str
    default: ""
  backup:
    description: What makes and reads backups, as one text of JSON; the action plugin adds it.
    type: str
    required: true
  closing:
    description: How the site is closed meanwhile; the action plugin adds it.
    type: dict
    default: {}
  generated:
    description: The names of secrets that only hosts know; the action plugin adds them.
    type: list
    elements: str
    default: []
  data_check:
    description: The words of the app's command that checks its data; none without one.
    type: list
    elements: str
    default: []
  who: {description: Who restores., type: str, default: ""}
  lock: {description: The run that owns the site., type: dict, required: true}
author: The Around The World authors
"""

EXAMPLES = r"""
- name: The site has the data of the last backup
  aroundtheworld_replace:
    step: replace
    lock: "{{ __aroundtheworld_plan.lock }}"
"""

RETURN = r"""
backup: {description: Which one it is, type: str, returned: always}
release: {description: Which release ran then, type: str, returned: always}
environment: {description: That release's virtual environment, type: str, returned: always}
notes: {description: "What else is to be said, each a sentence", type: list, returned: always}
"""

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld.data.findings import findings
from ansible.module_utils.aroundtheworld.data.restoring import Request, Restore, examine
from ansible.module_utils.aroundtheworld.data.settings import Settings
from ansible.module_utils.aroundtheworld.data.workspace import restic_in, workspace
from ansible.module_utils.aroundtheworld.lock import OPTION as LOCK
from ansible.module_utils.aroundtheworld.lock import owned
from ansible.module_utils.aroundtheworld.maintenance.standstill import Standstill
from ansible.module_utils.aroundtheworld.maintenance.switch import Closing
from ansible.module_utils.aroundtheworld.systemd import HostError, Systemd
from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "step": {"type": "str", "choices": ["examine", "replace", "finish"], "required": True},
            "which": {"type": "str", "default": ""},
            "backup": {"type": "str", "required": True, "no_log": True},
            "closing": {"type": "dict", "default": {}},
            "generated": {"type": "list", "elements": "str", "default": []},
            "data_check": {"type": "list", "elements": "str", "default": []},
            "who": {"type": "str", "default": ""},
            "lock": LOCK,
        },
        supports_check_mode=True,
    )
    os.umask(0o022)  # nginx and the workers read what root writes here
    step = module.params["step"]
    doing = {"replace": "restore"}.get(step, "")
    site = json.loads(module.params["backup"])["settings"]["site"]
    try:
        with owned(module, doing) as note_phase, workspace(site) as work:
            result = work_on(module, work, note_phase)
    except (HostError, OSError) as failure:
        module.fail_json(msg=f"Nothing was restored: {failure}")
    module.exit_json(**result)


def work_on(module: AnsibleModule, work: Path, note_phase: Callable[[str], None]) -> dict[str, Any]:
    """Do the step, and return the module's result."""
    parameters = module.params
    brought = json.loads(parameters["backup"])
    settings = Settings(**brought["settings"])
    standstill = Standstill(settings.layout, Systemd(module))
    if parameters["step"] == "finish":
        notes = []
        if not module.check_mode:
            standstill.end()
            notes = [*findings(module.run_command, settings, parameters["data_check"])]
        return {"changed": True, "backup": "", "release": "", "environment": "", "notes": notes}
    # The site's user runs it: for others to read, and below a directory that they may enter.
    work.chmod(0o711)
    program = work / "program"
    program.write_bytes(base64.b64decode(brought["program"]))
    program.chmod(0o755)
    restore = Restore(settings, program, standstill, note_phase)
    notes = []
    if not module.check_mode and restore.take_back_cut_off():
        notes.append("A restore that was cut off was taken back first.")
    restic = restic_in(work, brought)
    found = examine(restic, settings, parameters["which"])
    result = {"changed": False, "notes": notes, **found.result}
    if parameters["step"] == "replace" and not module.check_mode:
        closing = Closing(**parameters["closing"])
        request = Request(parameters["who"], closing, parameters["generated"])
        notes += restore.restore(restic, found.snapshot, request).notes
    if parameters["step"] == "replace":
        layout = settings.layout
        after = f"{layout.shared} and databases of the backup {result['backup']}\n"
        result |= {"changed": True, "diff": {"before": "", "after": after}}
    return result


if __name__ == "__main__":
    main()
