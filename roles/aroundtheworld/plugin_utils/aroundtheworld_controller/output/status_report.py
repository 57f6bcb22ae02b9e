"""The status of a site for people and for programs, from what its module returns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from aroundtheworld_controller.output.backups import size
from aroundtheworld_controller.output.summary import address
from aroundtheworld_controller.output.table import table

Status = Mapping[str, Any]


def json_line(host: str, site: str, status: Status) -> str:
    """Return the status as one line of JSON, which a program can find among others."""
    keys = (
        "release",
        "closed",
        "maintenance",
        "certificate",
        "backup",
        "problems",
        "workers",
        "jobs",
        "not_enforced",
        "directives",
        "access",
        "locks",
        "changes",
    )
    served = {"address": site_address(status, host)} if status["served"] else {}
    known = {key: status[key] for key in keys}
    return json.dumps({"host": host, "site": site, **served, **known})


def report(host: str, site: str, status: Status, width: int = 0) -> Iterator[str]:
    """Yield the lines of the report.

    Args:
        host: The host's name in the inventory.
        site: The site's name.
        status: What the module `aroundtheworld_status` returned.
        width: How many characters a line may have; 0 means as many as the terminal has.
    """
    yield f"Site {site} on {host}"
    if status["served"]:
        yield f"  address: {site_address(status, host)}"
    yield f"  current release: {status['release'] or 'none'}"
    yield f"  maintenance: {maintenance_text(status['maintenance'])}"
    if certificate := status["certificate"]:
        yield f"  certificate: for {', '.join(certificate['names'])}, until {certificate['end']}"
    if status["backup"]:
        yield from backup_lines(status["backup"])
    for line in status["locks"]:
        yield f"  {line}"
    for pool, settings in status["not_enforced"].items():
        yield f"  pool {pool}: this kernel does not enforce {', '.join(settings)}"
    for pool, directives in status["directives"].items():
        yield f"  pool {pool}: its units have {', '.join(directives)}"
    for pool, access in status["access"].items():
        yield f"  pool {pool}: is asked {access}"
    for problem in status["problems"]:
        yield f"  PROBLEM: {problem}"
    if status["workers"]:
        yield ""
        yield from workers_table(status, width)
    if status["jobs"]:
        yield ""
        yield from jobs_table(status, width)
    if status["changes"]:
        yield ""
        yield from changes_table(status, width)
    yield ""


def maintenance_text(maintenance: Mapping[str, Any]) -> str:
    """Return whether the site is closed; what, since when, by whom, until when and why."""
    if not maintenance:
        return "open"
    since, until = (
        maintenance[key][:16].replace("T", " ") + " UTC" if maintenance[key] else ""
        for key in ("since", "until")
    )
    scope, who, reason = (maintenance[key] for key in ("scope", "who", "reason"))
    parts = [
        "closed",
        f"({scope})" if scope else "",
        f"since {since}",
        f"by {who}," if who else "",
        f"until {until}" if until else "without an end",
    ]
    return " ".join(filter(None, parts)) + (f": {reason}" if reason else "")


def backup_lines(backup: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the last backup was, and when there is one."""
    at = f"at {backup['at']}" if backup["at"] else "only by --tags backup"
    if last := backup["last"]:
        where = f"{minute(last['time'])} UTC in {backup['repository']}"
        yield f"  backup: {last['id']} of {where}, {at}"
        took = f"{last['seconds']:.1f} s"
        yield f"  backup: {size(last['bytes'])}, {size(last['added'])} of them new, {took}"
    else:
        yield f"  backup: none yet, {at}"
    drill = backup["drill"]
    at = f"at {drill['at']}" if drill["at"] else "only by --tags drill"
    if last := drill["last"]:
        databases = ", ".join(f"{entry['name']} {entry['how']}" for entry in last["databases"])
        took = f"{last['seconds']:.1f} s"
        yield f"  drill: of {last['id']} on {minute(last['time'])} UTC, {took}, {at}"
        yield f"  drill: files {last['files']}, databases: {databases or 'none'}"
    elif drill["at"]:
        yield f"  drill: none yet, {at}"


def site_address(status: Status, host: str) -> str:
    """Return where visitors find the site, by the certificate that nginx shows."""
    return address(status["served"], host, https=bool(status["certificate"]))


def workers_table(status: Status, width: int = 0) -> list[str]:
    """Return a table with a row for each worker."""
    headings = ["worker", "pool", "state", "release", "up", "requests", "in flight", "doing"]
    rows = []
    for worker in status["workers"]:
        measured = bool(worker["state"])
        rows.append(
            [
                worker["unit"].partition("@")[2].removesuffix(".service"),
                worker["pool"],
                worker["state"] or worker["active"],
                worker["release"],
                duration(worker["uptime_seconds"]) if measured else "",
                worker["requests_total"] if measured else "",
                worker["requests_in_flight"] if measured else "",
                worker["about"],
            ]
        )
    return table(headings, rows, width, numbers=("up", "requests", "in flight"))


def jobs_table(status: Status, width: int = 0) -> list[str]:
    """Return a table with a row for each job."""
    headings = ["job", "state", "last began (UTC)", "took", "next (UTC)", "result"]
    rows = []
    for job in status["jobs"]:
        waits = "waits" if job["scheduled"] else "off"
        rows.append(
            [
                job["pool"],
                "runs" if job["running"] else waits,
                minute(job["began"]),
                "" if job["seconds"] is None else duration(job["seconds"]),
                minute(job["next"]),
                job["about"] or job["result"],
            ]
        )
    return table(headings, rows, width, numbers=("took",))


def minute(time: str) -> str:
    """Return a time of ISO 8601 as people read it, without its seconds."""
    return time[:16].replace("T", " ")


def changes_table(status: Status, width: int = 0) -> list[str]:
    """Return a table with a row for each change, oldest first."""
    headings = ["changed (UTC)", "verb", "by", "release", "seconds", "outcome"]
    rows = []
    for entry in status["changes"]:
        seconds = sum(phase["seconds"] for phase in entry["phases"])
        cause = entry["cause"].splitlines()[:1]
        rows.append(
            [
                minute(entry["time"]),
                entry["verb"],
                entry["who"],
                entry["to"],
                f"{seconds:.1f}",
                ": ".join([entry["outcome"], *cause]),
            ]
        )
    return table(headings, rows, width, numbers=("seconds",))


def duration(seconds: float) -> str:
    """Return a time as a person would write it, in its largest unit."""
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
