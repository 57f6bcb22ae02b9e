"""How a site is, for people: a line about each worker, pool, lock and recent change."""

from __future__ import annotations

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

# By setting of a pool, the files of a control group by which a kernel enforces it; which of them
# there are depends on the version of control groups, and on the controllers that the kernel has.
ENFORCED_BY = {
    "cpu_weight": ["cpu.weight", "cpu.shares"],
    "io_weight": ["io.weight", "io.bfq.weight", "blkio.weight", "blkio.bfq.weight"],
    "memory_high": ["memory.high"],
    "memory_max": ["memory.max", "memory.limit_in_bytes"],
    "tasks_max": ["pids.max"],
}


def site_status(systemd: Systemd, layout: SiteLayout, changes: int) -> dict[str, Any]:
    """Return what is known of a site: C(workers), the last C(changes), and C(lines) for people."""
    # An operator may have units that are called alike.
    own = Running(systemd, layout.name, sorted(belongings.files(layout.name))).names
    units = sorted(own & systemd.loaded(layout.service("*")))
    states = systemd.show(units, PROPERTIES)
    workers, lines = [], []
    answers = healths({unit: layout.private(unit, "control") for unit in units})
    for unit, health in answers.items():
        active, crashes = states[unit]["ActiveState"], crashing(states[unit])
        # Its own last line: systemd's would be that it ended.
        last = journal_lines([f"_SYSTEMD_UNIT={unit}"], 1) if crashes else ""
        about = {"unit": unit, "active": active, "crashes": crashes and crashes._asdict()}
        workers.append({**about, **health.to_json()})
        lines.append(worker_line(unit, active, health, crashes, last))
    for name in sorted(own & systemd.loaded(layout.slice("*"))):
        group = systemd.call("show", "--property=ControlGroup", "--value", "--", name).strip()
        if group and (missing := not_enforced(group)):
            pool = name.removeprefix(layout.slice("").removesuffix(".slice")).removesuffix(".slice")
            lines.append(f"pool {pool}: this kernel does not enforce {', '.join(missing)}")
    lines.append(f"current release: {layout.current_release() or 'none'}")
    lines.append(f"maintenance: {'closed' if layout.maintenance.exists() else 'open'}")
    lines += status_lines(layout.name)
    log = read_log(layout.home)[-changes:]
    lines += map(change_line, log)
    return {"lines": lines, "workers": workers, "changes": log}


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
        health: Its answer on its control socket.
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
    # Written by root, but a cause may quote a worker.
    cause = f": {printable(entry['cause'].splitlines()[0])}" if entry["cause"] else ""
    return (
        f"{entry['time']} {entry['verb']} by {entry['who']}, {entry['from'] or 'nothing'} to "
        f"{entry['to']}, {seconds:.1f} s, {entry['outcome']}{cause}"
    )
