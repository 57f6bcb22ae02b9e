"""How the status of a site is shown on the controller."""

from __future__ import annotations

import json

import pytest

from aroundtheworld_controller.output.status_report import duration, json_line, report

WORKER = {
    "unit": "shop@10001.service",
    "port": 10001,
    "pool": "public",
    "state": "ready",
    "active": "active",
    "release": "0123456789ab",
    "uptime_seconds": 4320.0,
    "requests_total": 12,
    "requests_in_flight": 1,
    "about": "busy for 12.3 s in Report.get",
}
COMMAND = {
    **WORKER,
    "unit": "shop@mail-1.service",
    "port": None,
    "pool": "mail",
    "state": "",
    "about": "takes work from a queue",
}
JOB = {
    "pool": "nightly",
    "running": False,
    "scheduled": True,
    "result": "success",
    "began": "2026-11-26T03:00:00+00:00",
    "seconds": 90.0,
    "next": "2026-11-27T03:00:00+00:00",
    "about": "",
}
JOBS = [
    JOB,
    {**JOB, "pool": "hourly", "result": "exit-code", "about": "failed (status 1): no disk"},
    {**JOB, "pool": "daily", "running": True, "result": "", "seconds": None, "next": ""},
    {**JOB, "pool": "yearly", "scheduled": False, "began": "", "seconds": None, "next": ""},
]
CHANGE = {
    "time": "2026-11-26T08:00:00+00:00",
    "verb": "deploy",
    "who": "ada",
    "from": "",
    "to": "0123456789ab",
    "phases": [{"name": "try", "seconds": 1.25}, {"name": "start", "seconds": 2.0}],
    "outcome": "reverted",
    "cause": "no database\nand a traceback",
}
BACKUP = {
    "at": "03:15",
    "due": 1795752914.0,
    "repository": "/var/backups/shop",
    "last": {
        "time": "2026-11-26T03:15:12+00:00",
        "id": "8e5b80f3",
        "seconds": 7.04,
        "bytes": 76285678,
        "added": 997,
        "notes": [],
    },
    "failed": {},
    "drill": {
        "at": "Sun 04:30",
        "due": None,
        "last": {
            "time": "2026-11-22T04:30:12+00:00",
            "id": "2c41aa0f",
            "of": "2026-11-22T03:15:09+00:00",
            "seconds": 21.5,
            "bytes": 76285678,
            "files": "restored",
            "databases": [{"name": "shop", "how": "restored", "tables": 3, "rows": 70}],
            "notes": [],
        },
        "failed": {},
    },
}
STATUS = {
    "served": {"server_names": ["shop.example.org"], "http_port": 80, "https_port": 443},
    "release": "0123456789ab",
    "closed": False,
    "maintenance": {},
    "certificate": {"names": ["www.example.org"], "end": "2027-02-24T08:00:00+00:00"},
    "backup": BACKUP,
    "workers": [WORKER, COMMAND],
    "jobs": JOBS,
    "not_enforced": {"desk": ["memory_high"]},
    "directives": {"desk": ["LimitNOFILE=65536", "CPUQuota=50%"]},
    "access": {"desk": "from 192.0.2.0/24; at 30/m an address"},
    "locks": ["ada has locked this site."],
    "changes": [CHANGE],
    "problems": ["nginx does not run"],
}


def test_people_get_a_line_for_each_worker_and_change():
    lines = [" ".join(line.split()) for line in report("www1", "shop", STATUS, 200)]
    assert lines == [
        "Site shop on www1",
        "address: https://shop.example.org/",
        "current release: 0123456789ab",
        "maintenance: open",
        "certificate: for www.example.org, until 2027-02-24T08:00:00+00:00",
        "backup: 8e5b80f3 of 2026-11-26 03:15 UTC in /var/backups/shop, at 03:15",
        "backup: 76.3 MB, 997 bytes of them new, 7.0 s",
        "drill: of 2c41aa0f on 2026-11-22 04:30 UTC, 21.5 s, at Sun 04:30",
        "drill: files restored, databases: shop restored",
        "ada has locked this site.",
        "pool desk: this kernel does not enforce memory_high",
        "pool desk: its units have LimitNOFILE=65536, CPUQuota=50%",
        "pool desk: is asked from 192.0.2.0/24; at 30/m an address",
        "PROBLEM: nginx does not run",
        "",
        "worker pool state release up requests in flight doing",
        "10001 public ready 0123456789ab 1.2 h 12 1 busy for 12.3 s in Report.get",
        "mail-1 mail active 0123456789ab takes work from a queue",
        "",
        "job state last began (UTC) took next (UTC) result",
        "nightly waits 2026-11-26 03:00 1.5 min 2026-11-27 03:00 success",
        "hourly waits 2026-11-26 03:00 1.5 min 2026-11-27 03:00 failed (status 1): no disk",
        "daily runs 2026-11-26 03:00",
        "yearly off success",
        "",
        "changed (UTC) verb by release seconds outcome",
        "2026-11-26 08:00 deploy ada 0123456789ab 3.2 reverted: no database",
        "",
    ]


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({}, "closed since 2026-11-26 08:00 UTC without an end"),
        (
            {
                "until": "2026-11-26T17:30:00+00:00",
                "scope": "all",
                "reason": "New disks",
                "who": "ada on desk",
            },
            "closed (all) since 2026-11-26 08:00 UTC by ada on desk, until 2026-11-26 17:30 UTC: "
            "New disks",
        ),
    ],
    ids=["by hand", "by the role"],
)
def test_a_closed_site_says_since_when_until_when_what_and_why(more, line):
    usual = dict.fromkeys(("until", "scope", "reason", "who"), "")
    maintenance = {"since": "2026-11-26T08:00:01+00:00", **usual, **more}
    lines = report("www1", "shop", {**STATUS, "closed": True, "maintenance": maintenance}, 200)
    assert f"  maintenance: {line}" in lines


def test_a_site_that_is_not_there_has_no_tables():
    nothing = {
        **STATUS,
        "served": {},
        "release": "",
        "certificate": None,
        "backup": {},
        "workers": [],
        "jobs": [],
        "changes": [],
        "not_enforced": {},
        "directives": {},
        "access": {},
    }
    lines = list(report("www1", "shop", {**nothing, "locks": [], "problems": []}, 80))
    assert lines == [
        "Site shop on www1",
        "  current release: none",
        "  maintenance: open",
        "",
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_the_report_is_no_wider_than_the_terminal(width):
    long = {**STATUS, "workers": [{**WORKER, "about": "word " * 50}], "changes": []}
    assert max(map(len, report("www1", "shop", long, width))) <= width


def test_programs_get_one_line_with_all_of_it():
    line = json_line("www1", "shop", {**STATUS, "failed": False, "invocation": {}})
    known = {key: value for key, value in STATUS.items() if key != "served"}
    where = {"host": "www1", "site": "shop", "address": "https://shop.example.org/"}
    assert json.loads(line) == {**where, **known}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (90, "1.5 min"), (4320, "1.2 h"), (129600, "1.5 d")],
)
def test_a_duration_is_in_its_largest_unit(seconds, text):
    assert duration(seconds) == text
