"""New releases, good ones, bad ones and some that were cut off. Visitors notice nothing of it."""

import threading

import pytest

from tests.waiting import until

HOME = "/var/lib/tornado/aroundtheworld"
PORTS = {10001, 10002, 10003, 10004}


def app_option(directory):
    return f"-earoundtheworld_app_dir={directory}"


def break_syntax(app):
    with (app / "aroundtheworld" / "app.py").open("a") as file:
        file.write("\nthis is no Python\n")


def break_migration(app):
    module = app / "aroundtheworld" / "db" / "migrate.py"
    module.write_text("raise SystemExit('the moon is in the way')\n")


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [(break_syntax, "invalid syntax"), (break_migration, "the moon is in the way")],
)
def test_a_release_that_cannot_run_is_refused_and_not_run_later_either(
    host, site, ansible_playbook, changed_app, spoil, cause
):
    before, release = site.pids(), site.release()
    spoil(changed_app)
    run = ansible_playbook(app_option(changed_app))
    assert run.returncode == 2
    assert "so no worker was restarted" in run.output
    assert cause in run.output
    assert site.pids() == before
    assert site.release() == release

    # A worker that dies after the refusal, or a host that reboots, keeps the old release.
    host.check_output("systemctl kill --signal=KILL aroundtheworld@10001.service")
    until(site.pids, lambda pids: pids[10001] not in (0, before[10001]))
    until(site.releases, lambda releases: releases.get(10001) == release)
    after = site.pids()
    assert ansible_playbook().returncode == 0
    assert site.pids() == after


@pytest.fixture
def good_app(changed_app):
    """Return a copy of the app whose pages say something new."""
    page = changed_app / "aroundtheworld" / "templates" / "base.html"
    page.write_text(page.read_text().replace("<footer>", "<footer><p>Second edition</p>"))
    return changed_app


def test_a_dry_run_says_what_the_migration_would_do(host, site, ansible_playbook, good_app, name):
    versions = good_app / "aroundtheworld" / "migrations" / "versions"
    newest = max(path.name[:4] for path in versions.glob("0*.py"))
    (versions / "9000_moons.py").write_text(
        '"""Moons, too."""\n\n'
        f'revision, down_revision = "9000", "{newest}"\n'
        "branch_labels = depends_on = None\n\n\n"
        "def upgrade():\n    raise SystemExit('this was to be a dry run')\n"
    )
    before = host.check_output(f"ls -A {HOME}/releases {HOME}/environments")
    workers = site.pids()
    run = ansible_playbook(app_option(good_app), "--check")
    assert run.returncode == 0
    assert f"{name}: the migration would do this:" in run.output
    assert f"From revision {newest} to 9000:\n  9000: Moons, too.\n" in run.output
    assert host.check_output(f"ls -A {HOME}/releases {HOME}/environments") == before
    assert site.pids() == workers


def cut_off_at(host, port):
    """Kill what Ansible runs on the host while it restarts the worker of a port."""
    restart = f"systemctl restart -- aroundtheworld@{port}.service"
    waiting = (
        f"while [ $SECONDS -lt 120 ]; do child=$(pgrep --full --exact '{restart}') && "
        'exec kill -KILL "$(ps -o ppid= -p $child | tr -d " ")"; sleep 0.01; done; exit 1'
    )
    return threading.Thread(target=host.run, args=("bash -c %s", waiting))


@pytest.mark.usefixtures("as_converged")
def test_a_new_release(host, http, site, ansible_playbook, good_app, visited):
    first = site.release()
    environments = host.check_output(f"ls {HOME}/environments")
    with visited(http, "/api/ping") as outcomes:
        killer = cut_off_at(host, 10001)
        killer.start()
        assert ansible_playbook(app_option(good_app)).returncode != 0
        killer.join()
        ran = site.releases()
        assert ran[10004] != first, "the run was cut off before it began"
        assert ran[10002] == ran[10003] == first, "the run was not cut off"
        assert site.release() == first

        assert ansible_playbook(app_option(good_app)).returncode == 0
        second = site.release()
        assert second == ran[10004]
        assert site.releases() == dict.fromkeys(PORTS, second)
        assert {b"Second edition" in site.ask("/").body for _ in range(20)} == {True}
        before = site.pids()
        assert ansible_playbook(app_option(good_app)).changed == 0
        assert site.pids() == before

        assert {first, second} <= set(host.check_output(f"ls {HOME}/releases").split())
        assert host.check_output(f"ls {HOME}/environments") == environments

        assert ansible_playbook().returncode == 0
        assert site.releases() == dict.fromkeys(PORTS, first)
        assert site.release() == first
        assert {b"Second edition" in site.ask("/").body for _ in range(20)} == {False}
    assert outcomes.keys() == {"200"}
    assert outcomes.total() > 100
