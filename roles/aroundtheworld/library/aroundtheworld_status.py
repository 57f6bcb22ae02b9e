#!/usr/bin/python
"""Ansible module: how a site's workers are, and what was changed last."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aroundtheworld_status
short_description: Tell how a site's workers are, and what was changed last
description:
  - Asks every worker on its private socket, which is answered even while its event loop is blocked.
options:
  site: {description: Name of the site., type: str, required: true}
  home: {description: Directory of the site., type: path, required: true}
  changes: {description: How many of the last changes to tell., type: int, default: 5}
author: The Around The World authors
"""

EXAMPLES = r"""
- name: How the site is
  aroundtheworld_status:
    site: aroundtheworld
    home: /var/lib/tornado/aroundtheworld
"""

RETURN = r"""
lines: {description: The same for people, type: list, returned: always}
workers:
  description: What systemd says of each worker, C(crashes) if it does, and what it says of itself.
  type: list
  returned: always
changes: {description: The last changes, oldest first, type: list, returned: always}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.changelog import read_log
from ansible.module_utils.aroundtheworld.crashes import PROPERTIES, Crashes, crashing
from ansible.module_utils.aroundtheworld.journal import journal_lines
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.lock import status_lines
from ansible.module_utils.aroundtheworld.running import Running
from ansible.module_utils.aroundtheworld.systemd import Systemd
from ansible.module_utils.aroundtheworld.untrusted import printable
from ansible.module_utils.aroundtheworld.worker_client import WorkerHealth, healths
from ansible.module_utils.basic import AnsibleModule


def crash_text(crashes: Crashes, last_line: str) -> str:
    """Return how a worker crashes, when it starts again, and what it left in the journal."""
    times = f"crashed {crashes.times} times" if crashes.times > 1 else "crashed"
    cause = f" ({crashes.cause})" if crashes.cause else ""
    start = "" if crashes.next_start is None else f", next start in {crashes.next_start:.0f} s"
    return f"{times}{cause}{start}{f': {printable(last_line)}' if last_line else ''}"


def worker_line(
    unit: str, active: str, health: WorkerHealth, crashes: Crashes | None = None, last: str = ""
) -> str:
    """Return one line about a worker: where it is, what it runs, and what it is doing.

    Args:
        unit: Its service.
        active: The state of that.
        health: What it says of itself.
        crashes: How it crashes, if it does.
        last: The last line that it left in the journal.
    """
    name = f"{unit.removesuffix('.service'):28}"
    if crashes:
        return f"{name} {health.pool or active:10} {crash_text(crashes, last)}"
    if health.silent:
        return f"{name} {active}, does not answer on its private socket"
    if not health.state:
        return f"{name} {health.pool:10} {active:9} release {health.release}, a command of its own"
    busy = (
        f", busy for {health.busy_seconds:.1f} s in {health.busy_in or 'unknown'}"
        if health.busy_seconds
        else ""
    )
    return (
        f"{name} {health.pool:10} {health.state:9} release {health.release}, "
        f"up {health.uptime_seconds / 3600:.1f} h, {health.requests_total} requests, "
        f"{health.requests_in_flight} in flight{busy}"
    )


# By setting of a pool, the files of a control group by which a kernel enforces it; which of them
# there are depends on the version of control groups, and on the controllers that the kernel has.
ENFORCED_BY = {
    "cpu_weight": ["cpu.weight", "cpu.shares"],
    "io_weight": ["io.weight", "io.bfq.weight", "blkio.weight", "blkio.bfq.weight"],
    "memory_high": ["memory.high"],
    "memory_max": ["memory.max", "memory.limit_in_bytes"],
    "tasks_max": ["pids.max"],
}


def not_enforced(group: str, root: Path = Path("/sys/fs/cgroup")) -> list[str]:
    """Return the settings that the kernel cannot enforce on the control group of a pool."""
    # Version 1 has a tree for each controller, version 2 one for all; hybrids have both.
    directories = [root / group.strip("/"), *(tree / group.strip("/") for tree in root.glob("*"))]
    return [
        setting
        for setting, files in ENFORCED_BY.items()
        if not any((directory / file).exists() for directory in directories for file in files)
    ]


def change_line(entry: Mapping[str, Any]) -> str:
    """Return one line about a change."""
    seconds = sum(phase["seconds"] for phase in entry["phases"])
    # Written by root, but a cause may quote what a worker said.
    cause = f": {printable(entry['cause'].splitlines()[0])}" if entry["cause"] else ""
    return (
        f"{entry['time']} {entry['verb']} by {entry['who']}, {entry['from'] or 'nothing'} to "
        f"{entry['to']}, {seconds:.1f} s, {entry['outcome']}{cause}"
    )


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
    site, home = module.params["site"], Path(module.params["home"])
    layout = SiteLayout(home, site)
    systemd = Systemd(module)
    # An operator may have units that are called alike.
    own = Running(systemd, site, sorted(belongings.files(site))).names
    units = sorted(own & systemd.loaded(f"{site}@*.service"))
    state = systemd.show(units, PROPERTIES)
    workers = []
    lines = []
    answers = healths({unit: layout.private(unit, "control") for unit in units})
    for unit, health in answers.items():
        active, crashes = state[unit]["ActiveState"], crashing(state[unit])
        # Its own last line: systemd's would be that it ended.
        last = journal_lines([f"_SYSTEMD_UNIT={unit}"], 1) if crashes else ""
        known = {"unit": unit, "active": active, "crashes": crashes and crashes._asdict()}
        workers.append({**known, **health.to_json()})
        lines.append(worker_line(unit, active, health, crashes, last))
    for name in sorted(own & systemd.loaded(f"{site}-*.slice")):
        group = systemd.call("show", "--property=ControlGroup", "--value", "--", name).strip()
        if group and (missing := not_enforced(group)):
            pool = name.removeprefix(f"{site}-").removesuffix(".slice")
            lines.append(f"pool {pool}: this kernel does not enforce {', '.join(missing)}")
    lines.append(f"current release: {layout.current_release() or 'none'}")
    lines.append(f"maintenance: {'closed' if layout.maintenance.exists() else 'open'}")
    lines += status_lines(site)
    changes = read_log(home)[-module.params["changes"] :]
    lines += [change_line(entry) for entry in changes]
    module.exit_json(changed=False, lines=lines, workers=workers, changes=changes)


if __name__ == "__main__":
    main()
