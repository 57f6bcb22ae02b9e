"""Going back, what is kept for that, and what the host shows of its releases."""

import json
import time

import pytest

HOME = "/var/lib/tornado/aroundtheworld"


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Leave the controller without a package index and without wheels it once fetched."""
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


NO_APP = "-earoundtheworld_app_dir=/nonexistent"


@pytest.mark.measures
def test_back_and_forth(load, app, ansible_playbook, site, offline, at_most):
    first = site.current
    assert ansible_playbook(app()).returncode == 0
    second = site.current
    bad = app({"    def set_default_headers": "    def prepare(self):\n        raise OSError\n\n"
               "    def set_default_headers"})  # fmt: skip
    assert ansible_playbook(bad).returncode != 0
    begun = time.monotonic()
    back = ansible_playbook("--tags", "rollback", NO_APP)
    took = time.monotonic() - begun
    assert back.returncode == 0
    site.runs(first)
    change = site.last_change
    assert (change["verb"], change["from"], change["to"]) == ("rollback", second, first)
    assert change["phases"][0]["name"] == "prepare"
    with load() as ledger:
        named = ansible_playbook("--tags", "rollback", NO_APP, f"-earoundtheworld_release={second}")
    assert named.returncode == 0
    assert len(ledger.failed()) == 0
    site.runs(second)
    print(f"rollback took {took:.1f} s: {change['phases']}")
    at_most(took, 10)


def test_going_back_skips_what_was_found_bad(app, ansible_playbook, site):
    older = site.current
    for _ in range(2):
        good = site.current
        assert ansible_playbook(app()).returncode == 0
    newer = site.current
    assert ansible_playbook("--tags", "rollback", NO_APP).returncode == 0
    assert site.current == good
    # `newer` was rolled back from, so the release before `good` is meant now.
    assert ansible_playbook("--tags", "rollback", NO_APP).returncode == 0
    assert site.current == older
    assert newer not in (good, older)


def test_an_unknown_release_is_refused(ansible_playbook, site):
    before = site.workers
    run = ansible_playbook("--tags", "rollback", NO_APP, "-earoundtheworld_release=0123456789ab")
    assert run.returncode != 0
    assert "'0123456789ab' is not on " in run.output
    assert site.current in run.output
    assert site.workers[10001]["pid"] == before[10001]["pid"]


def test_with_nothing_to_go_back_to_it_is_refused(ansible_playbook, site, host):
    current = site.current
    log = f"{HOME}/deploys.jsonl"
    host.check_output(f"mv {log} {log}.kept")
    try:
        run = ansible_playbook("--tags", "rollback", NO_APP)
    finally:
        host.check_output(f"mv {log}.kept {log}")
    assert run.returncode != 0
    assert "to go back to" in run.output
    site.runs(current)


def test_old_releases_are_pruned(app, ansible_playbook, site):
    previous = site.current
    run = ansible_playbook(app(), "-earoundtheworld_keep_releases=2")
    assert run.returncode == 0
    assert sorted(site.releases) == sorted([previous, site.current])


def test_the_status_shows_workers_and_changes(ansible_playbook, site):
    run = ansible_playbook("--tags", "status")
    assert (run.returncode, run.changed) == (0, 0)
    rows = [line.split() for line in run.output.splitlines()]
    for port, worker in site.workers.items():
        row = next(row for row in rows if row[:1] == [str(port)])
        assert row[1:4] == [worker["pool"], "ready", worker["release"]]
    assert f"current release: {site.current}" in run.output
    assert site.current in next(row for row in reversed(rows) if row[-1:] == ["done"])


def test_a_program_gets_the_status_as_json_and_an_exit_code(ansible_playbook, site, host):
    arguments = ("--tags", "status", "-earoundtheworld_status_format=json")
    port = max(site.workers)
    host.check_output(
        "systemctl stop aroundtheworld@%s.socket aroundtheworld@%s.service", *[str(port)] * 2
    )
    try:
        run = ansible_playbook(*arguments)
        line = next(line for line in run.output.splitlines() if line.startswith('{"host"'))
        assert json.loads(line)["problems"] == [f"aroundtheworld@{port} is inactive"]
        assert (run.returncode, run.failed) == (2, 1)
    finally:
        host.check_output(
            "systemctl start aroundtheworld@%s.socket aroundtheworld@%s.service", *[str(port)] * 2
        )
