"""How a site is: its workers, pools, lock and recent changes, and what is wrong with it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.certificate import served
from ansible.module_utils.aroundtheworld.changelog import read_log
from ansible.module_utils.aroundtheworld.crashes import PROPERTIES, Crashes, crashing
from ansible.module_utils.aroundtheworld.data.journal import restore_cut_off
from ansible.module_utils.aroundtheworld.data.state import backup_status
from ansible.module_utils.aroundtheworld.data.undo_copies import undo_cut_off
from ansible.module_utils.aroundtheworld.files import read_exactly
from ansible.module_utils.aroundtheworld.host.packages import upgrade_problems
from ansible.module_utils.aroundtheworld.interpreters import python_problems
from ansible.module_utils.aroundtheworld.jobs import job_problems, observe_jobs
from ansible.module_utils.aroundtheworld.journal import journal_lines
from ansible.module_utils.aroundtheworld.layout import SiteLayout, SystemLayout
from ansible.module_utils.aroundtheworld.lock import is_under_way, status_lines
from ansible.module_utils.aroundtheworld.maintenance.state import read_state
from ansible.module_utils.aroundtheworld.nginx.site import host_name
from ansible.module_utils.aroundtheworld.rollout.units import stated
from ansible.module_utils.aroundtheworld.running import Running
from ansible.module_utils.aroundtheworld.systemd import Systemd
from ansible.module_utils.aroundtheworld.untrusted import printable
from ansible.module_utils.aroundtheworld.worker_client import WorkerStatus, read_statuses

# By setting of a pool, the files of a control group by which a kernel enforces it; which of them
# there are depends on the version of control groups, and on the controllers that the kernel has.
ENFORCED_BY = {
    "cpu_weight": ["cpu.weight", "cpu.shares"],
    "io_weight": ["io.weight", "io.bfq.weight", "blkio.weight", "blkio.bfq.weight"],
    "memory_high": ["memory.high"],
    "memory_max": ["memory.max", "memory.limit_in_bytes"],
    "tasks_max": ["pids.max"],
}


# What of a claim says where visitors find the site; of a removed one, nothing is left.
SERVED = ("server_names", "http_port", "https_port")


def site_status(systemd: Systemd, layout: SiteLayout, changes: int) -> dict[str, Any]:
    """Return the status of a site, as the module `aroundtheworld_status` returns it.

    Args:
        systemd: How to ask systemd.
        layout: Where everything of the site is.
        changes: How many of the last changes are in it.
    """
    # An operator may have units with names like the site's.
    files = sorted(belongings.files(layout.name, layout.root))
    own = Running(systemd, layout.name, files, layout.root).names
    workers = observe_workers(systemd, layout, own)
    release = layout.current_release()
    log = read_log(layout.home)[-changes:]
    entries = [{**entry, "cause": printable(entry["cause"])} for entry in log]
    rollout = is_under_way(layout.name)
    maintenance = read_state(layout.home)
    jobs = observe_jobs(systemd, layout, own)
    problems = [*worker_problems(workers, release, rollout=rollout)]
    problems += job_problems(jobs, rollout=rollout)
    units = [layout.drop_in(worker.unit) for worker in workers]
    units += [layout.units / job.unit for job in jobs]
    problems += python_problems(layout, units, layout.root)
    problems += upgrade_problems(systemd.module.run_command)
    if systemd.show(["nginx.service"])["nginx.service"]["ActiveState"] != "active":
        problems.append("nginx does not run")
    if log and log[-1]["outcome"] == "failed":
        problems.append("the last change failed, and so did its revert")
    if not rollout:
        problems += filter(None, [restore_cut_off(layout), undo_cut_off(layout)])
    claim = belongings.read_claim(layout.name, layout.root)
    certificate, wrong = certificate_status(claim)
    backup, missed = backup_status(layout, time.time())
    return {
        "served": {key: claim[key] for key in SERVED if claim.get(key)},
        "release": release,
        "closed": bool(maintenance),
        "maintenance": maintenance,
        "certificate": certificate,
        "backup": backup,
        "workers": [worker.to_json() for worker in workers],
        "jobs": [job.to_json() for job in jobs],
        "not_enforced": unenforced_limits(systemd, layout, own),
        "directives": own_directives(units),
        "access": access(layout),
        "locks": status_lines(layout.name),
        "changes": entries,
        "problems": [*problems, *wrong, *missed],
    }


def certificate_status(claim: Mapping[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the certificate that visitors get, if the site has HTTPS, and what is wrong with it.

    It is what nginx shows: a new one that nginx has not read does not count.
    """
    if not (port := claim.get("https_port", 0)):
        return None, []
    names = [name for name in claim["server_names"] if name != "_"]
    try:
        certificate = served(port, host_name(names[0], claim["site"]) if names else "")
    except OSError as error:
        return None, [f"nginx shows no certificate on port {port} ({error})"]
    problems = []
    if lacking := certificate.lacks(names):
        problems.append(f"the certificate is not for {', '.join(lacking)}")
    end = datetime.fromtimestamp(certificate.end, UTC).isoformat()
    if certificate.late(time.time()):
        problems.append(
            f"the certificate ends at {end}, and half of the last third of its lifetime is gone"
        )
    return {"names": list(certificate.names), "end": end}, problems


@dataclass(frozen=True)
class ObservedWorker:
    """A worker as systemd and the worker itself see it.

    Attributes:
        unit: The name of its service.
        port: Where it serves; None of one that takes work from a queue.
        active: The state of its service, such as ``active``.
        crashes: How it crashes, if it does.
        status: What it answers.
        about: What else there is to say of it.
    """

    unit: str
    port: int | None
    active: str
    crashes: Crashes | None
    status: WorkerStatus
    about: str

    def to_json(self) -> dict[str, Any]:
        """Describe it."""
        crashes = self.crashes and self.crashes._asdict()
        known = {"unit": self.unit, "port": self.port, "active": self.active, "crashes": crashes}
        return {**known, **self.status.to_json(), "about": self.about}


def observe_workers(systemd: Systemd, layout: SiteLayout, own: set[str]) -> list[ObservedWorker]:
    """Return the workers of a site: those that are in memory, and those that should be.

    Args:
        systemd: How to ask systemd.
        layout: Where everything of the site is.
        own: The names of the site's units.
    """
    sockets = belongings.read_claim(layout.name, layout.root).get("sockets", [])
    ports = {socket["port"] for socket in sockets if socket["variable"] == "aroundtheworld_pools"}
    units = {layout.service(port) for port in ports} | own & systemd.loaded(layout.service("*"))
    # Of workers without ports, the claim has nothing.
    units |= {unit for unit in own if unit.startswith(f"{layout.name}@") and not port_of(unit)}
    units = {unit for unit in units if unit.endswith(".service")}
    states = systemd.show(sorted(units), PROPERTIES)
    answers = read_statuses({unit: layout.private(unit, "control") for unit in states})
    workers = []
    for unit, status in answers.items():
        port = port_of(unit)
        crashes, active = crashing(states[unit]), states[unit]["ActiveState"]
        more = about(unit, status, crashes)
        workers.append(ObservedWorker(unit, port, active, crashes, status, more))
    return sorted(workers, key=lambda worker: (worker.port is None, worker.port, worker.unit))


def port_of(unit: str) -> int | None:
    """Return the port in the name of a worker's service, if it has one."""
    instance = unit.removesuffix(".service").rpartition("@")[2]
    return int(instance) if instance.isdigit() else None


def about(unit: str, status: WorkerStatus, crashes: Crashes | None) -> str:
    """Return what else there is to say of a worker: how it crashes, or what it is doing."""
    if crashes:
        # Its own last line: systemd's would be that it ended.
        return crash_text(crashes, journal_lines([f"_SYSTEMD_UNIT={unit}"], 1))
    if status.silent:
        return "does not answer on its control socket"
    if not status.state:
        return "a command of its own" if port_of(unit) else "takes work from a queue"
    if status.busy_seconds:
        return f"busy for {status.busy_seconds:.1f} s in {status.busy_in or 'unknown'}"
    return ""


def crash_text(crashes: Crashes, last_line: str) -> str:
    """Return how a worker crashes, when it starts again, and its last line in the journal."""
    times = f"crashed {crashes.times} times" if crashes.times > 1 else "crashed"
    cause = f" ({crashes.cause})" if crashes.cause else ""
    start = "" if crashes.next_start is None else f", next start in {crashes.next_start:.0f} s"
    return f"{times}{cause}{start}{f': {printable(last_line)}' if last_line else ''}"


def worker_problems(
    workers: Sequence[ObservedWorker], release: str, *, rollout: bool
) -> Iterator[str]:
    """Yield what is wrong with the workers of a site.

    Args:
        workers: As `observe_workers` returns them.
        release: The current release.
        rollout: Whether a run is under way, in which workers are replaced.
    """
    if not release:
        yield "no release is deployed"
    for worker in workers:
        name, status = worker.unit.removesuffix(".service"), worker.status
        if worker.crashes:
            yield f"{name} {worker.about}"
        elif rollout:
            continue
        elif worker.active != "active":
            yield f"{name} is {worker.active}"
        elif status.silent:
            yield f"{name} {worker.about}"
        elif status.release != release:
            yield f"{name} runs release {status.release}, not {release}"
        elif status.state not in ("ready", ""):
            yield f"{name} is {status.state}"


def own_directives(paths: Iterable[Path]) -> dict[str, list[str]]:
    """Return the name of each pool to the directives of `unit` that the files of its units have."""
    found = {}
    for text in map(read_exactly, paths):
        if part := re.search(r"^# From `unit` of the pool:\n((?:.+\n)+)", text, re.MULTILINE):
            found[stated(text, "AROUNDTHEWORLD_POOL")] = part[1].splitlines()
    return found


def access(layout: SystemLayout) -> dict[str, str]:
    """Return the name of each pool that is not for everybody to whom it is, by what nginx has."""
    found: dict[str, str] = {}
    elsewhere = layout.root / "etc" / "nginx" / "conf.d" / f"{layout.name}.conf"  # nginx.org's
    for text in map(read_exactly, [*layout.nginx_files, elsewhere]):
        found |= dict(re.findall(r"^# Pool (\w+) is asked (.+)\.$", text, re.MULTILINE))
    return found


def unenforced_limits(systemd: Systemd, layout: SiteLayout, own: set[str]) -> dict[str, list[str]]:
    """Return the name of each pool to the settings of it that this kernel cannot enforce."""
    found = {}
    start, end = layout.slice("*").split("*")
    # Those of stand-ins have the same limits.
    stand_ins = layout.stand_in_slice("*").split("*")[1]
    for name in sorted(own & systemd.loaded(layout.slice("*"))):
        if name.endswith(stand_ins):
            continue
        group = systemd.call("show", "--property=ControlGroup", "--value", "--", name).strip()
        if group and (missing := not_enforced(group)):
            found[name.removeprefix(start).removesuffix(end)] = missing
    return found


def not_enforced(group: str, root: Path = Path("/sys/fs/cgroup")) -> list[str]:
    """Return the settings that the kernel cannot enforce on the control group of a pool."""
    # Version 1 has a tree for each controller, version 2 one for all; hybrids have both.
    directories = [root / group.strip("/"), *(tree / group.strip("/") for tree in root.glob("*"))]
    return [
        setting
        for setting, files in ENFORCED_BY.items()
        if not any((directory / file).exists() for directory in directories for file in files)
    ]
