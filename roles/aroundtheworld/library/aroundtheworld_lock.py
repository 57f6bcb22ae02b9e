#!/usr/bin/python
"""Ansible module: who may change a site."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_lock
short_description: Let a site go after a run, or hold it for a person
description:
  - The lock of a run is taken by M(aroundtheworld_host) and ends with O(state=released).
  - The lock of a person has a reason, and lasts until O(state=unlocked), over a restart too.
options:
  site: {description: Name of the site., type: str, required: true}
  state:
    description:
      - V(released) ends the lock of the run in O(lock), and of no other.
      - V(locked) has the person in O(lock) hold the site, V(unlocked) ends that. Where no person
        holds it, V(unlocked) forgets a run that was cut off.
    type: str
    choices: [released, locked, unlocked]
    required: true
  lock: {description: The run that this is part of, type: dict, required: true}
  reason: {description: Why the person holds the site., type: str, default: ""}
  ended:
    description: Id of a run of which the controller knows that it is over.
    type: str
    default: ""
author: The Around The World authors
"""

EXAMPLES = r"""
- name: Others may change the site again
  aroundtheworld_lock:
    site: aroundtheworld
    state: released
    lock: "{{ __aroundtheworld_plan.lock }}"
"""

RETURN = r"""
done: {description: "What was done, each a sentence", type: list, returned: always}
hold: {description: The person that held the site before, type: dict, returned: always}
record: {description: The run that owned the site before, type: dict, returned: always}
"""

from typing import Any

from ansible.module_utils.aroundtheworld.hold import hold_site, hold_state, read_hold
from ansible.module_utils.aroundtheworld.lock import OPTION as LOCK
from ansible.module_utils.aroundtheworld.lock import read_record, release, state, unlock
from ansible.module_utils.aroundtheworld.systemd import HostError
from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "state": {
                "type": "str",
                "choices": ["released", "locked", "unlocked"],
                "required": True,
            },
            "lock": LOCK,
            "reason": {"type": "str", "default": ""},
            "ended": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    parameters: dict[str, Any] = module.params
    site = parameters["site"]
    before = {"hold": read_hold(site), "record": read_record(site)}
    done: list[str] = []
    changed = False
    try:
        if module.check_mode:
            changed = parameters["state"] == "locked" or any(before.values())
        elif parameters["state"] == "released":
            release(parameters["lock"])  # this does not change the site
        elif parameters["state"] == "locked":
            changed = hold_site(site, parameters["lock"]["who"], parameters["reason"])
            done = [hold_state(read_hold(site))]
            if before["record"]:
                done.append(f"{state(before['record'])} That run goes on to its end.")
        else:
            done = unlock(site, parameters["ended"])
            changed = bool(done)
    except (HostError, OSError) as failure:
        module.fail_json(msg=str(failure))
    module.exit_json(changed=changed, done=done, **before)


if __name__ == "__main__":
    main()
