"""The scenario of apps that others wrote: each app has all that it needs, and its turn."""

import re

import pytest
import yaml

from tests.role_files import CHECKOUT, load_file

SCENARIO = CHECKOUT / "molecule" / "apps"
inventory = load_file("test_apps_inventory", SCENARIO / "inventory.py")
visits = load_file("test_apps_visits", SCENARIO / "tests" / "visits.py")
DOCUMENT = (CHECKOUT / "docs" / "another-app.md").read_text()


@pytest.fixture(autouse=True)
def _nobody_has_chosen(monkeypatch):
    monkeypatch.delenv("APPS", raising=False)
    monkeypatch.delenv("MATRIX", raising=False)


def test_two_commits_take_all_apps_between_them(monkeypatch):
    taken = []
    for commit in ("0", "1"):
        monkeypatch.setattr("tests.matrix.commit", lambda commit=commit: commit)
        taken.append(inventory.in_this_run())
    assert [len(apps) for apps in taken] == [4, 4]
    assert sorted([*taken[0], *taken[1]]) == sorted(inventory.apps())


def test_whoever_asks_gets_all_or_some(monkeypatch):
    monkeypatch.setenv("MATRIX", "all")
    assert inventory.in_this_run() == inventory.apps()
    monkeypatch.setenv("APPS", "thumbor luigi")
    assert inventory.in_this_run() == ["luigi", "thumbor"]
    monkeypatch.setenv("APPS", "luigi gopher")
    with pytest.raises(SystemExit, match="there is no gopher, only bokeh, luigi"):
        inventory.in_this_run()


def test_each_app_is_on_each_host(monkeypatch):
    monkeypatch.setenv("APPS", "flower thumbor")
    found = inventory.inventory()
    assert found["aroundtheworld"]["children"] == ["thumbor", "flower"]
    assert found["flower"] == {"hosts": ["flower-debian12", "flower-debian13"]}
    assert found["_meta"]["hostvars"]["thumbor-debian13"] == {"ansible_host": "debian13"}


def test_each_app_is_tried():
    assert sorted(visits.APPS) == sorted(inventory.apps())
    assert all(app.uses for app in visits.APPS.values())


def test_apps_share_no_port_and_their_hosts_publish_them():
    variables = [inventory.variables(app) for app in inventory.apps()]
    in_nginx = [each["aroundtheworld_http_port"] for each in variables]
    of_workers = [
        port
        for each in variables
        for pool in each["aroundtheworld_pools"]
        for port in pool.get("ports", [])
    ]
    assert len({*in_nginx, *of_workers}) == len(in_nginx + of_workers)
    scenario = yaml.safe_load((SCENARIO / "molecule.yml").read_text())
    for platform in scenario["platforms"]:
        assert platform["publish"] == [str(port) for port in in_nginx]


@pytest.mark.parametrize("app", inventory.apps())
def test_an_app_is_locked_by_hashes_and_without_an_address(app):
    lock = (SCENARIO / app / "requirements.txt").read_text()
    assert "--hash=sha256:" in lock
    assert "://" not in lock


@pytest.mark.parametrize("app", inventory.apps())
def test_the_document_has_the_app_and_what_it_says_of_its_variables_is_so(app):
    (row,) = (line for line in DOCUMENT.splitlines() if f"group_vars/{app}.yml)" in line)
    text = (SCENARIO / "group_vars" / f"{app}.yml").read_text()
    settings = re.findall(r"`(\w+: [^`]+)`", row)
    assert [setting for setting in settings if setting not in text] == []
    loses = row.split("|")[-2].strip()
    pools = inventory.variables(app)["aroundtheworld_pools"]
    is_away = any(pool.get("binds") and len(pool["ports"]) == 1 for pool in pools)
    assert loses.startswith("what comes until it is back" if is_away else "nothing")
