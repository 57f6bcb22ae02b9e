"""Pools with a command of their own."""

import pytest

from tests.role.rollout.fake_host import EVERY_WORKER_ON_FIRST, FIRST, SECOND, replacement_calls


def test_commands_are_replaced_alone(host, run):
    run(ports=((10001, 10002, 10003), ()), kinds=("takes", "runner"))
    run(SECOND, ports=((10001, 10002, 10003), ()), kinds=("takes", "runner"))
    assert host.restarts()[1:] == replacement_calls(10001, 10002, 10003)


def test_a_command_is_replaced_behind_a_stand_in_on_its_socket(host, run):
    run(kinds=("runner", "takes"), release=FIRST)
    run(kinds=("runner", "takes"), release=SECOND)
    assert host.restarts()[1:5] == replacement_calls(10004)
    assert host.releases() == dict.fromkeys(EVERY_WORKER_ON_FIRST, SECOND)
    assert run(kinds=("runner", "takes"), release=SECOND)["steps"] == []


def test_a_command_that_binds_its_port_has_no_socket_and_is_restarted(host, run):
    run(kinds=("runner", "binds"), release=FIRST)
    assert "aroundtheworld@10004.socket" not in host.listening
    assert not list(host.units.glob("*.wants/aroundtheworld@10004.socket"))
    run(kinds=("runner", "binds"), release=SECOND)
    assert host.restarts()[1:3] == [
        "stop aroundtheworld@10004.service aroundtheworld@10004.socket",
        "start aroundtheworld@10004.service",
    ]
    assert host.releases()[10004] == SECOND
    assert run(kinds=("runner", "binds"), release=SECOND)["steps"] == []


@pytest.mark.parametrize("after", ["takes", "binds"])
@pytest.mark.parametrize("before", ["runner", "takes", "binds"])
@pytest.mark.parametrize("fault", ["ends", "answers with errors"])
def test_a_command_that_fails_is_replaced_again(host, run, before, after, fault):
    run(FIRST, kinds=("runner", before))
    original, worker = host._start, "aroundtheworld@10004.service"

    def start(name):
        of_second = SECOND in host._text(name) if name == worker else False
        if not (fault == "ends" and of_second):
            original(name)

    host._start = start
    if fault != "ends":
        host.sick.add(SECOND)
    message = "its command has ended" if fault == "ends" else "it answers / with status 500"
    with pytest.raises(run.failed, match=message) as failure:
        run(SECOND, kinds=("runner", after))
    assert f"{worker} of pool admin is not ready" in str(failure.value)
    assert f"(the journal of {worker})" in str(failure.value)
    host.sick.clear()
    assert host.releases() == EVERY_WORKER_ON_FIRST
    assert ("aroundtheworld@10004.socket" in host.listening) is (before != "binds")
    assert run(FIRST, kinds=("runner", before))["steps"] == []


def test_a_command_has_no_canary(host, run):
    run(FIRST, kinds=("takes", "takes"))
    run(SECOND, kinds=("takes", "takes"), canary_seconds=5)
    assert host.releases() == dict.fromkeys(EVERY_WORKER_ON_FIRST, SECOND)
    assert not any(phase["name"].startswith("watch") for phase in host.log()[-1]["phases"])
