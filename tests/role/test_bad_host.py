"""What keeps a site from a host is message with the host's name."""

import pytest

from aroundtheworld_controller.hosts import host_problems
from tests.role_files import load_yaml

HOST = {
    "distribution": "debian 12",
    "taken_ports": [],
    "unfit": [],
    "nginx": {"there": False, "problems": [], "warnings": [], "ports": {}},
}
TESTED = load_yaml("vars/main.yml")["__aroundtheworld_distributions"]


@pytest.mark.parametrize("distribution", TESTED)
def test_a_distribution_that_the_role_is_tested_on(distribution):
    assert list(host_problems(HOST | {"distribution": distribution}, "web1", TESTED)) == []


@pytest.mark.parametrize("distribution", ["debian 11", "debian 14", "ubuntu 24", "debian unknown"])
def test_a_distribution_that_it_is_not_tested_on(distribution):
    (problem,) = host_problems(HOST | {"distribution": distribution}, "web1", TESTED)
    assert f"web1 runs '{distribution}'" in problem
    assert "allowed: debian 12, debian 13" in problem


def test_what_the_host_says_against_a_site_is_passed_on():
    problems = ["aroundtheworld_user: …", "aroundtheworld_home: …"]
    assert list(host_problems(HOST | {"unfit": problems}, "web1", TESTED)) == problems


def test_a_port_that_something_else_on_the_host_has():
    taken = {
        "variable": "aroundtheworld_pools",
        "port": 10002,
        "address": "0.0.0.0",
        "process": "redis-server (process 812)",
    }
    (problem,) = host_problems(HOST | {"taken_ports": [taken]}, "web1", TESTED)
    assert "aroundtheworld_pools: port 10002 on web1 is already taken by redis-server" in problem
    assert "(process 812) (listening on 0.0.0.0); stop it, or choose another port" in problem


def test_what_the_hosts_nginx_has_against_the_site_is_passed_on():
    nginx = HOST["nginx"] | {"problems": ["nginx: no."], "warnings": ["nginx: careful."]}
    assert list(host_problems(HOST | {"nginx": nginx}, "web1", TESTED)) == ["nginx: no."]
