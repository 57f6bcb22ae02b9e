"""Closing the site for maintenance and opening it again, by the operator's own commands."""

import pytest

PUBLIC_PATHS = ("/", "/quiz", "/login", "/static/style.css", "/api/ping", "/nothing/here")


@pytest.fixture(scope="module")
def door(site, ansible_playbook):
    """Return a function that opens or closes the site, if it is not so yet; it ends open."""

    def be(verb, status):
        if site.ask("/").status != status:
            assert ansible_playbook("--tags", f"maintenance_{verb}").returncode == 0

    yield be
    be("off", 200)


@pytest.fixture
def closed(door):
    """Have the site closed."""
    door("on", 503)


@pytest.fixture
def opened(door):
    """Have the site open."""
    door("off", 200)


def test_closing(opened, site, ansible_playbook):
    run = ansible_playbook("--tags", "maintenance_on")
    assert (run.returncode, run.changed) == (0, 1)
    assert site.ask("/").status == 503


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_closed_site_refuses_every_method(closed, site, method):
    for path in PUBLIC_PATHS:
        answer = site.ask(path, method, b"x=1" if method in ("POST", "PUT", "PATCH") else None)
        assert answer.status == 503, path
        assert answer.headers.get_all("Retry-After") == ["600"], path
        assert answer.headers.get_all("Cache-Control") == ["no-store"], path
        assert answer.headers.get_content_type() == "text/html", path
        assert (b"It will be back" in answer.body) == (method != "HEAD"), path


def test_a_closed_site_asks_no_public_worker(closed, site):
    assert site.ports("/") == {0}
    assert site.ports("/quiz") == {0}


def test_the_admin_side_goes_on(closed, site, administrator):
    assert administrator.get("/admin").status_code == 200
    # It needs nothing of the public side, nor does the login.
    assert site.ask("/admin/login").status == 200
    assert site.ask("/admin/static/style.css").status == 200
    assert site.ports("/admin") == {10004}


def test_closing_again_changes_nothing(closed, site, ansible_playbook):
    run = ansible_playbook("--tags", "maintenance_on")
    assert (run.returncode, run.changed) == (0, 0)
    assert site.ask("/").status == 503


def test_a_closed_site_stays_closed_in_a_plain_run(closed, site, ansible_playbook):
    run = ansible_playbook()
    assert (run.returncode, run.changed) == (0, 0)
    assert site.ask("/").status == 503


def test_opening(closed, site, ansible_playbook):
    run = ansible_playbook("--tags", "maintenance_off")
    assert (run.returncode, run.changed) == (0, 1)
    for path in PUBLIC_PATHS[:-1]:
        assert site.ask(path).status == 200


def test_opening_again_changes_nothing(opened, site, ansible_playbook):
    run = ansible_playbook("--tags", "maintenance_off")
    assert (run.returncode, run.changed) == (0, 0)
    assert site.ask("/").status == 200
