"""The import, the migration and the trial, before any worker is touched."""

import pytest
from ansible.module_utils.aroundtheworld.changelog import last_good

from tests.role.rollout.fake_host import FIRST, SECOND


def test_the_migration_runs_once_for_each_release(host, run):
    run()
    run()
    run(SECOND)
    assert host.migrated == [FIRST, SECOND]
    order = [call for call in host.calls if call.startswith("start ") and "@" not in call]
    assert order == [f"start aroundtheworld-{step}.service" for step in ("prepare", "migrate")]


def test_no_repair_and_no_other_setting_migrates(host, run):
    run()
    host._stop("aroundtheworld@10003.service")
    run()
    (host.secrets / "cookie_secret").write_text("other")
    assert run()["changed"]
    assert host.migrated == [FIRST]


@pytest.mark.parametrize("marked", [True, False], ids=["new", "from a role without marks"])
def test_going_back_does_not_migrate_and_neither_does_going_forth_again(host, run, marked):
    run()
    run(SECOND)
    if not marked:
        for path in host.home.glob("releases/*/.migrated"):
            path.unlink()
    run(FIRST, verb="rollback")
    run(SECOND)
    assert host.migrated == [FIRST, SECOND]


def test_a_revert_does_not_migrate(host, run):
    run()
    host.broken.add("aroundtheworld-handover@10002.service")
    with pytest.raises(run.failed):
        run(SECOND)
    host.broken.clear()
    run(SECOND)
    assert host.migrated == [FIRST, SECOND]  # it was done before the first try failed


def test_the_migration_can_be_forced(host, run):
    run()
    assert run(migrate=True)["steps"] == ["start aroundtheworld-migrate.service"]
    run(SECOND)
    run(FIRST, verb="rollback", migrate=True)
    assert host.migrated == [FIRST, FIRST, SECOND, FIRST]
    assert run(FIRST, check=True)["steps"] == []


def test_a_migration_that_fails_touches_no_worker_and_is_tried_again(host, run):
    run()
    before = host.snapshot()
    host.unmigratable.add(SECOND)
    with pytest.raises(run.failed, match=r"restarted\. The journal of aroundtheworld-migrate\.ser"):
        run(SECOND)
    assert host.snapshot() == before
    host.unmigratable.clear()
    run(SECOND)
    assert host.migrated == [FIRST, SECOND]


@pytest.mark.parametrize(
    ("step", "variable", "seconds"),
    [
        ("prepare", "aroundtheworld_import_timeout", 120),
        ("migrate", "aroundtheworld_migrate_timeout", 1800),
    ],
)
def test_what_takes_too_long_names_the_variable(host, run, monkeypatch, step, variable, seconds):
    def call(*arguments, check=True):
        if arguments[:2] == ("show", "--property=Result"):
            return "timeout\n"
        return original(*arguments, check=check)

    original = host.call
    monkeypatch.setattr(host, "call", call)
    (host.refused if step == "prepare" else host.unmigratable).add(FIRST)
    with pytest.raises(run.failed, match=f"longer than {variable} allows, {seconds} s"):
        run()


def test_commands_are_tried_after_the_migration(host, run):
    run(kinds=("runner", "takes"))
    order = [call for call in host.calls if call.startswith("start ") and "@" not in call]
    steps = ("prepare", "migrate", "trial")
    assert order == [f"start aroundtheworld-{step}.service" for step in steps]


def test_a_release_that_cannot_be_run_touches_no_worker(host, run):
    run()
    before = host.snapshot()
    host.refused.add(SECOND)
    with pytest.raises(run.failed) as caught:
        run(SECOND)
    assert f"The release {SECOND} cannot be run, so no worker was restarted" in str(caught.value)
    assert "(the journal of aroundtheworld-prepare.service)" in str(caught.value)
    assert host.restarts() == ["start aroundtheworld-prepare.service"]
    assert host.snapshot() == before


@pytest.mark.parametrize(
    ("wrote", "sentence"),
    [
        (
            "psycopg.errors.LockNotAvailable: canceling statement due to lock timeout",
            r"waited for 5 s \(aroundtheworld_migrate_lock_timeout\) for a lock that another ",
        ),
        ("FEHLER: Anfrage wird storniert (SQLSTATE 55P03)", "for a lock that another session"),
        ("sqlite3.OperationalError: database is locked", "longer than the app's busy timeout"),
    ],
)
def test_a_migration_that_gives_up_on_a_lock_says_so(host, run, wrote, sentence):
    run()
    host.unmigratable.add(SECOND)
    host.wrote = wrote
    with pytest.raises(run.failed, match=sentence):
        run(SECOND)


def test_no_other_failure_speaks_of_locks(host, run):
    host.unmigratable.add(FIRST)
    host.wrote = "ValueError: the block is locked 155P031"
    with pytest.raises(run.failed) as caught:
        run()
    assert "wait" not in str(caught.value)


CHECK = "python -m shop check"


def test_another_release_is_asked_whether_it_can_run_on_the_database_after_its_migration(host, run):
    run(schema=CHECK)
    run(SECOND, schema=CHECK)
    order = [call for call in host.calls if call.startswith("start ") and "@" not in call]
    steps = ("prepare", "migrate", "schema")
    assert order == [f"start aroundtheworld-{step}.service" for step in steps]
    run(FIRST, verb="rollback", schema=CHECK)
    assert host.asked == [FIRST, SECOND, FIRST]


def test_the_release_that_runs_is_not_asked(host, run):
    run(schema=CHECK)
    host.unfit.add(FIRST)
    (host.secrets / "cookie_secret").write_text("other")
    assert run(schema=CHECK)["replace"]
    assert host.asked == [FIRST]


def test_a_rollback_to_a_release_that_cannot_run_on_the_database_touches_no_worker(host, run):
    run(schema=CHECK)
    run(SECOND, schema=CHECK)
    before = host.snapshot()
    host.unfit.add(FIRST)
    with pytest.raises(run.failed) as caught:
        run(FIRST, verb="rollback", schema=CHECK)
    unasked = f"-e aroundtheworld_release={FIRST} -e aroundtheworld_schema_check_command="
    assert unasked in str(caught.value)
    assert "(the journal of aroundtheworld-schema.service)" in str(caught.value)
    assert host.snapshot() == before
    assert host.log()[-1]["outcome"] == "refused"
    assert last_good(host.home, SECOND) == [FIRST]  # it is as good as it was
    run(FIRST, verb="rollback")  # without the command
    assert host.log()[-1]["outcome"] == "done"


def test_a_deployment_of_a_release_that_cannot_run_on_the_database_speaks_of_its_migration(
    host, run
):
    run(schema=CHECK)
    host.unfit.add(SECOND)
    with pytest.raises(run.failed, match="-e aroundtheworld_migrate=true"):
        run(SECOND, schema=CHECK)
