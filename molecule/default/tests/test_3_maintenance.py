"""Closing the site for maintenance and opening it again, by the operator's own commands.

The tests of this module build on each other, in this order.
"""

import pytest

PUBLIC_PATHS = ("/", "/quiz", "/login", "/static/style.css", "/api/ping", "/nothing/here")


def test_closing(site, administrator, ansible_playbook):
    run = ansible_playbook("--tags", "maintenance_on")
    assert (run.returncode, run.changed) == (0, 1)
    assert site.ask("/").status == 503


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_closed_site_refuses_every_method(site, method):
    for path in PUBLIC_PATHS:
        answer = site.ask(path, method, b"x=1" if method in ("POST", "PUT", "PATCH") else None)
        assert answer.status == 503, path
        assert answer.headers.get_all("Retry-After") == ["600"], path
        assert answer.headers.get_all("Cache-Control") == ["no-store"], path
        assert answer.headers.get_content_type() == "text/html", path
        assert (b"It will be back" in answer.body) == (method != "HEAD"), path


def test_a_closed_site_asks_no_public_worker(site):
    assert site.ports("/") == {0}
    assert site.ports("/quiz") == {0}


def test_the_admin_side_goes_on(site, administrator):
    assert administrator.get("/admin").status_code == 200
    # It needs nothing of the public side, nor does the login.
    assert site.ask("/admin/login").status == 200
    assert site.ask("/admin/static/style.css").status == 200
    assert site.ports("/admin") == {10004}


def test_closing_again_changes_nothing(site, ansible_playbook):
    run = ansible_playbook("--tags", "maintenance_on")
    assert (run.returncode, run.changed) == (0, 0)
    assert site.ask("/").status == 503


def test_a_closed_site_stays_closed_in_a_plain_run(site, ansible_playbook):
    run = ansible_playbook()
    assert (run.returncode, run.changed) == (0, 0)
    assert site.ask("/").status == 503


def test_opening(site, ansible_playbook):
    run = ansible_playbook("--tags", "maintenance_off")
    assert (run.returncode, run.changed) == (0, 1)
    for path in PUBLIC_PATHS[:-1]:
        assert site.ask(path).status == 200


def test_opening_again_changes_nothing(site, ansible_playbook):
    run = ansible_playbook("--tags", "maintenance_off")
    assert (run.returncode, run.changed) == (0, 0)
    assert site.ask("/").status == 200
