"""More workers, fewer workers, and workers elsewhere. Visitors notice nothing of it."""

import pytest

from tests.waiting import until

UNITS = "/etc/systemd/system"
DEFAULT = {"public": [10001, 10002, 10003], "admin": [10004]}
FIVE = {**DEFAULT, "reports": [10005]}
THREE = {"public": [10001, 10002], "admin": [10004]}
PATHS = {"public": "/", "admin": "/admin", "reports": "/countries"}


def pools(ports):
    """Return a value of the variable."""
    return [
        {"name": name, "ports": own, "paths": [PATHS[name]], "blocking": name != "public"}
        for name, own in ports.items()
    ]


PREPARATIONS = {f"aroundtheworld-{step}.service" for step in ("prepare", "migrate", "schema")}
# After they were in use, systemd has these loaded for as long as it pleases.
PERHAPS_LOADED = PREPARATIONS | {f"aroundtheworld-{name}.handover.slice" for name in DEFAULT}


def traces(host):
    """Return all that there is of workers and pools on the host."""
    commands = {
        "files": f"cd {UNITS} && find . -path '*aroundtheworld*' -printf '%P\\n'",
        "units": "systemctl list-units --all --plain --no-legend 'aroundtheworld*' | cut -d' ' -f1",
        "run": "ls /run/aroundtheworld",
        "processes": "pgrep --list-full --full aroundtheworld_runner | grep -o '/[0-9]*/control'",
    }
    found = {name: set(host.check_output(command).split()) for name, command in commands.items()}
    found["units"] -= PERHAPS_LOADED
    return found


def expected_traces(ports):
    """Return what `traces` finds on a host with these pools and nothing else."""
    numbers = [number for own in ports.values() for number in own]
    names = [f"aroundtheworld@{number}" for number in numbers]
    slices = {f"aroundtheworld-{name}.slice" for name in ports}
    shared = {"aroundtheworld@.service", "aroundtheworld@.socket"} | PREPARATIONS
    shared.add("aroundtheworld-handover@.service")
    metrics = {f"aroundtheworld-metrics.{kind}" for kind in ("service", "socket")}
    return {
        "files": shared
        | metrics
        | {"sockets.target.wants/aroundtheworld-metrics.socket"}
        | slices
        | {f"aroundtheworld-{name}.handover.slice" for name in ports}
        | {f"multi-user.target.wants/{name}.service" for name in names}
        | {f"sockets.target.wants/{name}.socket" for name in names}
        | {f"{name}.service.d" for name in names}
        | {f"{name}.service.d/pool.conf" for name in names},
        "units": slices
        | metrics
        | {"aroundtheworld.slice"}
        | {f"{name}.{kind}" for name in names for kind in ("service", "socket")},
        "run": {str(number) for number in numbers},
        "processes": {f"/{number}/control" for number in numbers},
    }


@pytest.mark.usefixtures("as_converged")
@pytest.mark.parametrize("ports", [FIVE, THREE], ids=["five workers", "three workers"])
def test_changing_the_number_of_workers_and_back(
    host, http, site, ansible_playbook, variables, visited, ports
):
    for there in (ports, DEFAULT):
        before = site.pids()
        arguments = () if there is DEFAULT else (variables(pools=pools(there)),)
        with visited(http, "/api/ping") as outcomes:
            run = ansible_playbook(*arguments)
            assert run.returncode == 0
        assert outcomes.keys() == {"200"}
        assert outcomes.total() > 20

        assert traces(host) == expected_traces(there)
        assert {port for _, port, _ in site.listeners()} == {22, 80, 9145, 9146} | set().union(
            *there.values()
        )
        for name, path in PATHS.items():
            assert site.ports(path) == set(there.get(name, there["public"])), path
        stayed = {port: pid for port, pid in before.items() if port in site.pids()}
        assert stayed.items() <= site.pids().items(), "a worker was restarted that nothing concerns"
    assert ansible_playbook().changed == 0


@pytest.mark.usefixtures("as_converged")
def test_a_changed_limit_is_the_kernels(host, site, ansible_playbook, variables):
    before = site.pids()
    limited = [
        {**pool, "memory_max": "300M"} if pool["name"] == "admin" else pool
        for pool in pools(DEFAULT)
    ]
    assert ansible_playbook(variables(pools=limited)).returncode == 0
    # Version 1 of cgroups and version 2 name it differently.
    files = "-name memory.limit_in_bytes -o -name memory.max"
    directory = "-path '*/aroundtheworld-admin.slice/*' -not -path '*.service/*'"
    find = f"find /sys/fs/cgroup {directory} '(' {files} ')' -exec cat {{}} +"
    assert host.check_output(find) == str(300 * 1024**2)
    assert {port for port, pid in site.pids().items() if pid != before[port]} == {10004}


@pytest.mark.usefixtures("as_converged")
def test_another_address(site, ansible_playbook, variables):
    for arguments, address in (
        ((variables(listen_address="127.0.0.2"),), "127.0.0.2"),
        ((), "127.0.0.1"),
    ):
        assert ansible_playbook(*arguments).returncode == 0
        listening = {found for found, port, _ in site.listeners() if port > 10000}
        assert listening == {address}
        assert site.ask("/").status == 200
        assert site.ask("/admin").status == 303


@pytest.fixture
def squatter(host):
    """Return the port that something else on the host listens on."""
    serve = "python3 -m http.server --bind 127.0.0.1 10005"
    host.check_output(f"systemd-run --quiet --unit=squatter {serve}")
    yield 10005
    host.check_output("systemctl stop squatter")


def test_a_port_that_something_else_has_is_refused(
    host, site, ansible_playbook, variables, squatter
):
    until(site.listeners, lambda found: ("127.0.0.1", squatter, "python3") in found)
    process = host.check_output("systemctl show -P MainPID squatter")
    before = (traces(host), site.pids())
    run = ansible_playbook(variables(pools=pools(FIVE)))
    assert (run.returncode, run.changed, run.failed) == (2, 0, 1)
    assert "aroundtheworld_pools: port 10005 on" in run.output
    assert f"python3 (process {process})" in run.output
    assert (traces(host), site.pids()) == before
