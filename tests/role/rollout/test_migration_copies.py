"""Before a migration the databases are copied, while all workers serve."""

import pytest
from ansible.module_utils.aroundtheworld.data.undo_copies import read_copies
from ansible.module_utils.aroundtheworld.layout import SiteLayout

from tests.role.rollout.fake_host import FIRST, SECOND

THIRD = "333333333333"


@pytest.fixture
def copies(host):
    """Returns the copies there are."""
    return lambda: read_copies(SiteLayout(host.home, "aroundtheworld", host.root))


def test_they_are_copied_after_the_import_and_before_the_migration(host, run, data, copies):
    run(data=data)
    assert copies() == []  # there was nothing to go back to
    result = run(SECOND, data=data)
    order = [call for call in host.calls if "@" not in call and call.startswith(("start ", "run "))]
    steps = [
        "start aroundtheworld-prepare.service",
        "run copy",
        "start aroundtheworld-migrate.service",
    ]
    assert order == steps
    [copy] = copies()
    assert (copy.release, copy.following, copy.done) == (FIRST, SECOND, True)
    assert copy.migrated == [FIRST]
    assert [database["name"] for database in copy.databases] == ["shop"]
    phases = [phase["name"] for phase in result["phases"]]
    assert "copy the databases, without new, not there yet" in phases


def test_without_a_migration_nothing_is_copied(host, run, data, copies):
    run(data=data)
    run(SECOND, data=data)
    run(FIRST, data=data, verb="rollback")
    run(SECOND, data=data)
    assert [copy.following for copy in copies()] == [SECOND]


def test_without_a_copy_there_is_no_migration(host, run, data, copies):
    run(data=data)
    before = host.snapshot()
    (host.home / "shared/shop.db").write_bytes(b"SQLite format 3\0" + bytes(4096))
    with pytest.raises(run.failed) as caught:
        run(SECOND, data=data)
    assert "no worker was restarted" in str(caught.value)
    assert "there is no copy of 'shop'" in str(caught.value)
    assert "aroundtheworld_migrate_copy: false" in str(caught.value)
    assert host.migrated == [FIRST]
    assert host.snapshot() == before
    assert copies() == []


def test_the_copy_of_a_migration_that_failed_stays_beside_the_next(host, run, data, copies):
    run(data=data)
    host.unmigratable.add(SECOND)
    for _ in range(3):
        with pytest.raises(run.failed):
            run(SECOND, data=data)
    host.unmigratable.clear()
    run(SECOND, data=data)
    assert [copy.done for copy in copies()] == [False, True]


def test_a_copy_goes_with_its_release(host, run, data, copies):
    run(data=data)
    run(SECOND, data=data)
    (host.home / "releases" / THIRD).mkdir()
    (host.home / "releases" / THIRD / "venv").symlink_to("../../environments/e")
    run(THIRD, data=data, keep_releases=2)
    assert [copy.release for copy in copies()] == [SECOND]
