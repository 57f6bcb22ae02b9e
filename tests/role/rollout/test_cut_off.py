"""A run that was cut off anywhere is completed by the next."""

import contextlib

import pytest

from tests.matrix import chosen
from tests.role.rollout.fake_host import EVERY_WORKER_ON_FIRST, FIRST, SECOND, CutOffError

CHANGES = {
    "bare host": {},
    "other release": {"release": SECOND},
    "other address": {"address": "10.0.0.1"},
    "other workers": {"ports": ((10001, 10005), (10004, 10006)), "release": SECOND},
}


@pytest.mark.parametrize("step", range(10))
@pytest.mark.parametrize("change", CHANGES)
def test_a_run_that_was_cut_off_anywhere_is_completed_by_the_next(host, run, change, step):
    if change != "bare host":
        run(FIRST)
    options = CHANGES[change]
    host.cut_off_at = step
    # The shortest of these runs tells systemd five things.
    with pytest.raises(CutOffError) if step < 5 else contextlib.suppress(CutOffError):
        run(**options)
    host.cut_off_at = None
    run(**options)
    assert run(**options)["steps"] == []
    release, address = options.get("release", FIRST), options.get("address", "127.0.0.1")
    ports = [port for pool in options.get("ports", [EVERY_WORKER_ON_FIRST]) for port in pool]
    assert {port: host.releases()[port] for port in ports} == dict.fromkeys(ports, release)
    assert {f"{address}:{port}" for port in ports} <= host.addresses()
    assert host.read.items() <= host._files().items()
    assert host.prepared[-1] == release


def test_workers_that_a_failed_run_left_on_the_old_address_are_found(host, run):
    run()
    host.broken.add("aroundtheworld@10004.service")
    with pytest.raises(run.failed):
        run(address="10.0.0.1")
    host.broken.clear()
    run(address="10.0.0.1")
    assert {f"10.0.0.1:{port}" for port in EVERY_WORKER_ON_FIRST} <= host.addresses()


@pytest.mark.parametrize("after", ["runner", "takes", "binds"])
@pytest.mark.parametrize("before", ["runner", "takes", "binds"])
@pytest.mark.parametrize("step", chosen([*range(14), None]))
def test_a_pool_becomes_another_kind_also_when_the_run_is_cut_off(host, run, before, after, step):
    run(FIRST, kinds=("runner", before))
    host.cut_off_at = step
    with contextlib.suppress(CutOffError):
        run(SECOND, kinds=("runner", after))
    host.cut_off_at = None
    result = run(SECOND, kinds=("runner", after))
    if result["orphans"]:
        run(SECOND, kinds=("runner", after), remove_orphans=True)
    result = run(SECOND, kinds=("runner", after))
    assert (result["steps"], result["orphans"]) == ([], [])
    assert host.releases() == dict.fromkeys(EVERY_WORKER_ON_FIRST, SECOND)
    assert ("aroundtheworld@10004.socket" in host.listening) is (after != "binds")
