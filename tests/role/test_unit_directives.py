"""Directives of the operator's own in the units of a pool's workers, and those that are refused."""

import re

import pytest

from aroundtheworld_controller import unit_directives
from tests.render import ADMIN, PUBLIC, evaluate, variables_for
from tests.role.refusals import pools, problems_with
from tests.role.rendered import units_of
from tests.role_files import ROLE

NO_CODE = "root runs no code that came with a release"
USER = "every process of the site runs as aroundtheworld_user"
RIGHTS = "a worker must not get rights of root's"
LIFE = "a rollout relies on how a worker starts and ends"
SOCKET = "systemd passes a worker the socket of its port"
PLACE = "a worker runs in its release"

REFUSED = {
    "User": USER,
    "Group": USER,
    "SupplementaryGroups": USER,
    "DynamicUser": USER,
    "PAMName": USER,
    "ExecStart": NO_CODE,
    "ExecStartPre": NO_CODE,
    "ExecStartPost": NO_CODE,
    "ExecCondition": NO_CODE,
    "ExecReload": NO_CODE,
    "ExecStop": NO_CODE,
    "ExecStopPost": NO_CODE,
    "NoNewPrivileges": RIGHTS,
    "AmbientCapabilities": RIGHTS,
    "CapabilityBoundingSet": RIGHTS,
    "PrivateUsers": RIGHTS,
    "RestrictSUIDSGID": RIGHTS,
    "PermissionsStartOnly": RIGHTS,
    "Delegate": RIGHTS,
    "Slice": "the pool's slice has its limits",
    "Sockets": SOCKET,
    "NonBlocking": SOCKET,
    "StandardInput": SOCKET,
    "Type": LIFE,
    "NotifyAccess": LIFE,
    "Restart": LIFE,
    "RestartSec": LIFE,
    "KillMode": LIFE,
    "KillSignal": LIFE,
    "TimeoutSec": LIFE,
    "RuntimeMaxSec": LIFE,
    "StartLimitBurst": LIFE,
    "RootDirectory": PLACE,
    "RootImage": PLACE,
    "WorkingDirectory": PLACE,
    "RuntimeDirectory": "a worker's control socket is there",
    "StandardError": "a rollout that fails shows what the worker wrote to the journal",
    "Environment": "use aroundtheworld_environment",
    "EnvironmentFile": "use aroundtheworld_environment",
    "UnsetEnvironment": "use aroundtheworld_environment",
    "TimeoutStartSec": "use the pool's setting start_timeout",
    "TimeoutStopSec": "use the pool's setting drain_timeout",
    "WatchdogSec": "use the pool's setting watchdog",
    "Nice": "use the pool's setting nice",
    "CPUSchedulingPolicy": "use the pool's setting cpu_scheduling",
    "OOMScoreAdjust": "use the pool's setting oom_score_adjust",
}


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_a_directive_that_breaks_a_promise_is_refused_with_the_reason(name, reason):
    (problem,) = problems_with(pools(admin={"unit": {name: "x"}}))
    assert problem.startswith(f"aroundtheworld_pools[1].unit.{name}: is not allowed; ")
    assert reason in problem


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "it must be a text, a number, true or false, or a list of them"),
        ([], "it must be a text, a number, true or false, or a list of them"),
        (None, "it must be a text, a number, true or false, or a list of them"),
        ({"a": 1}, "it must be a text, a number, true or false, or a list of them"),
        ([["a"]], "it must be a text, a number, true or false, or a list of them"),
        ("a\nUser=root", "it must be one line, without control characters"),
        (["b", "a\rb"], "it must be one line, without control characters"),
        ("a\\", "it must not end with a backslash, which would take the next line too"),
        (" ", "it must be a text, a number, true or false, or a list of them"),
    ],
)
def test_a_value_that_is_not_one_line_is_refused(value, reason):
    (problem,) = problems_with(pools(admin={"unit": {"LimitNOFILE": value}}))
    assert problem.startswith("aroundtheworld_pools[1].unit.LimitNOFILE: ")
    assert reason in problem


@pytest.mark.parametrize("name", ["", "user", "Limit NOFILE", "Nice=1\nUser", "[Install]", 5, "#A"])
def test_what_is_no_name_of_a_directive_is_refused(name):
    (problem,) = problems_with(pools(admin={"unit": {name: "x"}}))
    assert problem.startswith(f"aroundtheworld_pools[1].unit: the name {name!r} is not allowed")
    assert "as in LimitNOFILE" in problem


def test_all_other_directives_are_added_to_the_units_of_the_pools_workers():
    unit = {
        "LimitNOFILE": 65536,
        "MemoryDenyWriteExecute": False,
        "ReadWritePaths": ["/srv/films", "-/srv/music"],
        "CPUQuota": "50%",
    }
    variables = {"aroundtheworld_pools": [PUBLIC, {**ADMIN, "unit": unit, "ports": [10004, 10005]}]}
    plan, units = units_of(variables)
    assert problems_with(variables) == []
    lines = [
        "LimitNOFILE=65536",
        "MemoryDenyWriteExecute=no",
        "ReadWritePaths=/srv/films",
        "ReadWritePaths=-/srv/music",
        "CPUQuota=50%",
    ]
    assert [pool["directives"] for pool in plan["pools"]] == [[], lines]
    for port in (10004, 10005):
        drop_in = units[f"aroundtheworld@{port}.service.d/pool.conf"]
        found = drop_in.sections["Service"]
        assert [f"{name}={value}" for name in unit for value in found[name]] == lines
    public = units["aroundtheworld@10001.service.d/pool.conf"].sections["Service"]
    assert not set(unit) & set(public)


def test_what_tries_a_release_has_the_directives_of_the_workers_that_it_tries():
    command = {"name": "desk", "ports": [10005], "paths": ["/desk"], "command": "serve"}
    pools = [
        {**PUBLIC, "unit": {"LimitNOFILE": 1}},
        {**ADMIN, "unit": {"MemoryDenyWriteExecute": False}},
        {**command, "unit": {"LimitNPROC": 2}},
    ]
    _, units = units_of({"aroundtheworld_pools": pools})
    prepare, trial = (units[f"aroundtheworld-{step}.service"] for step in ("prepare", "trial"))
    assert prepare.all("Service", "LimitNOFILE")[-1] == "1"
    assert prepare.all("Service", "MemoryDenyWriteExecute")[-1] == "no"  # after the sandbox's own
    assert prepare.all("Service", "LimitNPROC") == []
    assert trial.all("Service", "LimitNPROC") == ["2"]
    assert trial.all("Service", "LimitNOFILE") == ["524288"]
    assert trial.all("Service", "MemoryDenyWriteExecute") == ["yes"]


def test_what_opens_the_sandbox_of_a_pool_opens_it_for_the_sites_other_processes():
    """A migration imports what a worker imports; limits are the pool's own."""
    opened = {"MemoryDenyWriteExecute": False, "DeviceAllow": "/dev/fuse", "LimitNOFILE": 100}
    pools = [
        {**PUBLIC, "unit": {"ReadWritePaths": ["/srv/a", "%S/b"], "IPAddressDeny": "any"}},
        {**ADMIN, "unit": opened},
        {**PUBLIC, "name": "strict", "ports": [10005], "paths": ["/s"]}
        | {"unit": {"MemoryDenyWriteExecute": True, "DeviceAllow": "/dev/fuse"}},
    ]
    plan, units = units_of({"aroundtheworld_pools": pools})
    lines = ["MemoryDenyWriteExecute=yes", "ReadWritePaths=/srv/a", "ReadWritePaths=%S/b"]
    lines += ["DeviceAllow=/dev/fuse", "MemoryDenyWriteExecute=no"]
    assert plan["directives"]["sandbox"] == lines
    migrate = units["aroundtheworld-migrate.service"]
    assert migrate.all("Service", "MemoryDenyWriteExecute")[-1] == "no"
    assert migrate.all("Service", "ReadWritePaths")[1:] == ["/srv/a", "%S/b"]
    assert migrate.all("Service", "DeviceAllow") == ["/dev/fuse"]
    assert migrate.all("Service", "IPAddressDeny") == []
    assert migrate.all("Service", "LimitNOFILE") == ["524288"]
    transient = evaluate(
        "__aroundtheworld_transient", variables_for({"aroundtheworld_pools": pools})
    )
    # A transient unit knows no %S.
    assert transient[-len(lines) :] == [line.replace("%S", "/var/lib") for line in lines]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("MemoryDenyWriteExecute", [True, False]),
        ("RestrictNamespaces", [True, "user net", False]),
        ("ProtectSystem", ["strict", "full", True, "false"]),
        ("ProtectHome", ["yes", "tmpfs", "read-only", "no"]),
        ("ProtectProc", ["noaccess", "invisible", "ptraceable", "default"]),
        ("DevicePolicy", ["strict", "closed", "auto"]),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_where_pools_contradict_each_other_all_but_workers_have_the_open_one(name, values, order):
    pools = [
        {**PUBLIC, "name": f"p{index}", "ports": [10001 + index], "paths": [f"/{index or ''}"]}
        | {"unit": {name: value}}
        for index, value in enumerate(values[::order])
    ]
    plan, units = units_of({"aroundtheworld_pools": pools})
    last = {True: "yes", False: "no"}.get(values[-1], values[-1])
    assert units["aroundtheworld-migrate.service"].all("Service", name)[-1] == last
    assert units["aroundtheworld-prepare.service"].all("Service", name)[-1] == last
    assert plan["directives"]["transient"][-1] == f"{name}={last}"


def test_of_limits_that_differ_the_trial_has_those_of_the_pool_that_serves_the_site():
    limits = [
        {**ADMIN, "unit": {"LimitNOFILE": 1, "LimitNPROC": [3, 4], "LimitCORE": 5}},
        {**PUBLIC, "unit": {"LimitNOFILE": 2}},
        {**PUBLIC, "name": "api", "ports": [10009], "paths": ["/api"], "unit": {"LimitCORE": 6}},
        {"name": "desk", "ports": [10005], "paths": ["/desk"], "command": "serve"}
        | {"unit": {"LimitNOFILE": 7}},
    ]
    plan, units = units_of({"aroundtheworld_pools": limits})
    lines = ["LimitCORE=5", "LimitNOFILE=2", "LimitNPROC=3", "LimitNPROC=4"]
    assert plan["directives"]["prepare"] == lines
    assert plan["directives"]["trial"] == ["LimitNOFILE=7"]
    assert units["aroundtheworld-prepare.service"].all("Service", "LimitNOFILE")[-1] == "2"


def test_what_names_a_worker_is_for_that_worker():
    unit = {"ReadWritePaths": ["/srv/%i", "/srv/100%%i", "%t/films"]}
    plan, _ = units_of({"aroundtheworld_pools": [PUBLIC, {**ADMIN, "unit": unit}]})
    lines = [f"ReadWritePaths={value}" for value in unit["ReadWritePaths"]]
    assert plan["pools"][1]["directives"] == lines
    assert plan["directives"]["sandbox"] == plan["directives"]["prepare"] == lines[1:]
    assert plan["directives"]["transient"] == [
        "ReadWritePaths=/srv/100%i",
        "ReadWritePaths=/run/films",
    ]


@pytest.mark.parametrize("value", ["/srv/%H", "/srv/%", "/srv/%%%z", ["/a", "%h/films"]])
def test_what_only_a_hosts_unit_file_knows_does_not_open_the_sandbox(value):
    (problem,) = problems_with(pools(admin={"unit": {"ReadWritePaths": value}}))
    assert problem == (
        f"aroundtheworld_pools[1].unit.ReadWritePaths: {value!r} is not allowed; what opens the "
        "sandbox may have %%, %t, %S, %C, %L, %E, and for the workers alone those that "
        "name the worker, such as %i; write the value itself, and %% for a percent sign."
    )
    assert problems_with(pools(admin={"unit": {"SyslogIdentifier": value}})) == []


@pytest.mark.parametrize(
    ("line", "transient"),
    [
        ("DeviceAllow='/dev/dri/card0'   rw", "DeviceAllow=/dev/dri/card0 rw"),
        ("DeviceAllow=/dev/fuse", "DeviceAllow=/dev/fuse"),
        ("DeviceAllow=char-pts rw", "DeviceAllow=char-pts rw"),
        ("BindPaths='/srv/a b':/b", "BindPaths='/srv/a b':/b"),
        ("ReadWritePaths=/srv/$x", "ReadWritePaths=/srv/$$x"),
    ],
)
def test_systemd_run_takes_a_line_as_a_unit_file_does(line, transient):
    assert unit_directives.transient_line(line) == transient


def test_every_directive_of_the_sandbox_opens_it_or_is_refused():
    text = (ROLE / "templates" / "sandbox.j2").read_text()
    names = {line.partition("=")[0] for line in text.splitlines() if line[:1].isalpha()}
    assert len(names) > 20
    for name in names - unit_directives.SANDBOX:
        assert any(re.fullmatch(refused, name) for refused in unit_directives.REFUSED), name
