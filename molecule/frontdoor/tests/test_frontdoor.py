"""The site answers under each of its names."""

import pytest


@pytest.mark.parametrize("site_name", ["www.example.org", "example.org"])
def test_the_site_answers_under_each_of_its_names(get, site_name):
    response = get("/", name=site_name)
    assert response.status == 200
    assert b"Around The World" in response.body


def test_nothing_is_left_to_do(ansible_playbook):
    run = ansible_playbook("--check", "--diff")
    assert (run.returncode, run.changed) == (0, 0)
