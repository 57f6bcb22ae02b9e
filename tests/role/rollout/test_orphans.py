"""Workers and pools that are not listed any more, and what is not the site's."""

import re

import pytest
from ansible.module_utils.aroundtheworld import belongings

from tests.role.rollout.fake_host import EVERY_WORKER_ON_FIRST, FEWER, FIRST, SECOND, CutOffError


def test_workers_that_no_pool_lists_are_reported_and_left_alone_at_first(host, run):
    run()
    result = run(ports=FEWER)
    assert result["orphans"] == sorted(
        [
            "aroundtheworld-admin.slice",
            "aroundtheworld-admin.handover.slice",
            *(
                f"aroundtheworld@{port}.{kind}"
                for port in (10002, 10003, 10004)
                for kind in ("service", "socket")
            ),
        ]
    )
    assert host.releases() == EVERY_WORKER_ON_FIRST


def test_workers_that_no_pool_lists_are_stopped_and_leave_nothing_behind(host, run):
    run()
    run(ports=FEWER)
    result = run(ports=FEWER, remove_orphans=True)
    assert result["changed"]
    assert host.releases() == {10001: FIRST}
    assert list(host.listening) == ["aroundtheworld@10001.socket"]
    left = sorted(str(path.relative_to(host.units)) for path in host.units.rglob("*"))
    assert [path for path in left if re.search("1000[234]|admin", path)] == []
    assert run(ports=FEWER)["orphans"] == []


def test_sockets_of_orphans_are_stopped_before_their_services(host, run):
    run()
    run(ports=FEWER, remove_orphans=True)
    stops = [call for call in host.calls if call.startswith("stop ")]
    assert [stop.rpartition(".")[2] for stop in stops] == ["socket", "service", "slice"]


@pytest.mark.parametrize("step", range(6))
def test_a_removal_that_was_cut_off_anywhere_is_completed_by_the_next(host, run, step):
    run(queue=1, at=("03:00",))
    run(ports=FEWER)
    host.cut_off_at = step
    with pytest.raises(CutOffError):
        run(ports=FEWER, remove_orphans=True)
    host.cut_off_at = None
    run(ports=FEWER, remove_orphans=True)
    assert run(ports=FEWER)["orphans"] == []
    assert host.releases() == {10001: FIRST}
    assert (host.queue(), host.timers) == ({}, set())
    names = "1000[234]|admin|mail|nightly"
    assert not any(re.search(names, path.name) for path in host.units.rglob("*"))
    assert not host.stamp("aroundtheworld-job-nightly.timer").exists()


@pytest.fixture
def former(host, run):
    """Return the drop-in of a worker that there was, as the site wrote down."""
    run()
    drop_in = host.units / "aroundtheworld@10009.service.d" / "pool.conf"
    belongings.take("aroundtheworld", [drop_in], root=host.root)
    return drop_in


@pytest.mark.usefixtures("former")
def test_a_link_that_is_left_over_is_an_orphan(host, run):
    host._enable("aroundtheworld@10009.service")
    assert run()["orphans"] == ["aroundtheworld@10009.service"]


@pytest.mark.usefixtures("former")
def test_a_unit_that_is_only_in_memory_is_an_orphan(host, run):
    host.listening["aroundtheworld@10009.socket"] = "127.0.0.1:10009"
    assert run()["orphans"] == ["aroundtheworld@10009.socket"]


# What an operator may have, with names that a pattern would take for the site's.
OPERATORS = (
    "aroundtheworld-backup.slice",
    "aroundtheworld-backup.service",
    "aroundtheworld-metrics.timer",
    "aroundtheworld@10009.service",
    "aroundtheworld@10010.service.d/pool.conf",
    "aroundtheworld-handover@10010.service.d/pool.conf",
    "aroundtheworld-admin.slice.d/override.conf",
    "aroundtheworld@10004.service.d/override.conf",
    "aroundtheworld-handover@10004.service.d/override.conf",
    "aroundtheworld@.service.d/override.conf",
)


def test_what_an_operator_made_is_no_orphan_and_stays(host, run):
    for name in OPERATORS:
        path = host.units / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("[Unit]\nDescription=of the operator\n")
    run()
    host.listening["aroundtheworld@10010.socket"] = "127.0.0.1:10010"
    host.running["aroundtheworld@10009.service"] = ({}, 0)
    host._enable("aroundtheworld@10010.service")
    assert run()["orphans"] == []
    run(SECOND)
    fewer = run(SECOND, ports=FEWER)["orphans"]
    assert not any("10009" in name or "10010" in name or "backup" in name for name in fewer)
    run(SECOND, ports=FEWER, remove_orphans=True)
    assert [name for name in OPERATORS if not (host.units / name).exists()] == []
    assert "aroundtheworld@10010.socket" in host.listening
    assert (host.units / "multi-user.target.wants/aroundtheworld@10010.service").is_symlink()


def test_what_the_site_has_is_written_down_before_it_is_made(host, run):
    host.cut_off_at = 0
    with pytest.raises(CutOffError):
        run()
    host.cut_off_at = None
    run()
    listed = belongings.files("aroundtheworld", host.root)
    made = {path for path in host.units.rglob("*") if path.is_file() and not path.is_symlink()}
    assert made
    assert made <= listed


def test_a_run_that_changes_nothing_writes_nothing_down(host, run):
    run()
    run(SECOND)
    before = host.claim.stat().st_mtime_ns
    run(SECOND)
    assert host.claim.stat().st_mtime_ns == before
