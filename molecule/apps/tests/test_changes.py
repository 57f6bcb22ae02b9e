"""What happens to a site of a host does not touch the other sites."""

import secrets
import shutil
import time
from pathlib import Path

import httpx
import pytest

from tests.role_files import load_file

HERE = Path(__file__).resolve().parent
visits = load_file("apps_visits", HERE / "visits.py")
inventory = load_file("apps_inventory", HERE.parent / "inventory.py")

RATE = 50  # requests a second
START_TIMEOUT = 30  # seconds in which a worker must have started, by default


@pytest.fixture
def new_release(app, tmp_path):
    """The argument that brings a copy of the app, as a release that is not there yet."""
    copy = tmp_path / app
    shutil.copytree(HERE.parent / app, copy)
    (copy / "edition.txt").write_text(secrets.token_hex())
    return f"-earoundtheworld_app_dir={copy}"


def changed(before, after):
    """The sites with workers that were started or stopped."""
    return {unit.partition("@")[0] for unit, pid in {*before.items()} ^ {*after.items()}}


def promised(app):
    """The answers that docs/another-app.md promises, and how many requests may be lost."""
    for pool in inventory.variables(app)["aroundtheworld_pools"]:
        if pool.get("binds") and len(pool["ports"]) == 1:
            # Nobody listens until the only worker is back.
            return {"200", "502"}, RATE * pool.get("start_timeout", START_TIMEOUT)
    return {"200"}, 0


def test_a_release_is_exchanged_for_another_and_loses_what_is_promised(
    app, name, site, play, new_release, processes, visited, record_property
):
    tried, before = visits.APPS[app], processes()
    with (
        tried.meanwhile(site),
        visited(site.url, *tried.asked(site), rate=RATE, headers=tried.headers) as outcomes,
    ):
        began = time.monotonic()
        run = play(app, new_release)
        took = time.monotonic() - began
        assert run.returncode == 0, run.output
    lost = outcomes.total() - outcomes["200"]
    record_property(
        "exchange", f"{app:11} {name}: {took:5.1f} s, {outcomes.total():5} requests, {lost:3} lost"
    )
    answers, at_most = promised(app)
    assert outcomes.keys() <= answers
    assert lost <= at_most
    assert changed(before, processes()) == {app}


@pytest.fixture
def removed(published, play):
    """The site that a test may remove: the last; it is there again afterwards."""
    app = inventory.in_this_run()[-1]
    yield app
    assert play(app).returncode == 0
    port = inventory.variables(app)["aroundtheworld_http_port"]
    assert httpx.get(published(port), timeout=60).status_code < 500


def test_a_site_is_removed_and_its_data_only_when_asked(host, published, play, processes, removed):
    home = f"/var/lib/tornado/{removed}"
    host.check_output(f"setpriv --reuid={removed} --clear-groups touch {home}/shared/kept")

    def left():
        places = (
            f"{home} /etc/{removed} /run/{removed} "
            f"$(find /etc/systemd /etc/nginx -name '*{removed}*')"
        )
        return set(host.run(f"ls --directory --almost-all {places} {home}/*").stdout.split())

    ports = {
        app: inventory.variables(app)["aroundtheworld_http_port"] for app in inventory.in_this_run()
    }
    before = processes()
    dry = play(removed, "--tags", "remove", "--check")
    assert dry.returncode == 0
    assert dry.changed > 0
    assert processes() == before
    assert play(removed, "--tags", "remove").returncode == 0
    assert changed(before, processes()) == {removed}
    with pytest.raises(httpx.HTTPError):
        httpx.get(published(ports[removed]), timeout=5)
    for other in ports.keys() - {removed}:
        assert httpx.get(published(ports[other]), timeout=60).status_code < 500
    assert host.file(f"{home}/shared/kept").exists
    kept = {f"/etc/{removed}", home, f"{home}/shared", f"{home}/deploys.jsonl"}
    assert left() == kept

    assert play(removed, "--tags", "remove", "-earoundtheworld_remove_data=true").changed > 0
    assert left() == set()
    assert not host.user(removed).exists
    assert play(removed, "--tags", "remove", "-earoundtheworld_remove_data=true").changed == 0
