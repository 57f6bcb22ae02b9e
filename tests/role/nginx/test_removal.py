"""How a site leaves nginx, and Debian's welcome page goes and comes back."""

import json
import os

import pytest
from ansible.module_utils.aroundtheworld.nginx import service, site

from tests.role.nginx.process import fetch, needs_nginx, paths

pytestmark = needs_nginx


# --- Debian's welcome page ---


def test_the_welcome_page_stays_where_that_is_wanted(host, run):
    result = run(remove_default=False)
    assert paths(host)[2].is_symlink()
    assert not any("remove" in step for step in result["steps"])


@pytest.mark.parametrize("whose", ["edited", "a file", "another link"])
def test_a_default_site_that_is_somebodys_own_stays(host, run, whose):
    default = paths(host)[2]
    target = host.etc / "sites-available" / "default"
    if whose == "edited":
        target.write_text(target.read_text().replace("welcome", "own"))
    else:
        default.unlink()
        own = f"server {{ listen {host.default_port}; return 200 own; }}\n"
        if whose == "a file":
            default.write_text(own)
        else:
            (host.etc / "sites-available" / "own").write_text(own)
            default.symlink_to(host.etc / "sites-available" / "own")
    service.Service(host.run).reload(None)
    for content in (None, ""):
        run(content)
        assert os.path.lexists(default)
        assert fetch(host.default_port, "/", "x")[1] == "own"


def test_a_site_is_removed_and_the_welcome_page_is_there_again(host, run):
    available, enabled, default = paths(host)
    before = host.files()
    run()
    assert json.loads((host.own / "shop" / site.NOTE).read_text())
    steps = [f"remove {enabled}", f"remove {available}", f"link {default}", "reload nginx.service"]
    assert run("")["steps"] == steps
    assert host.files() == before
    assert fetch(host.default_port, "/", "x") == (200, "welcome")
    assert run("")["changed"] is False


def test_a_welcome_page_that_was_not_on_does_not_come(host, run):
    paths(host)[2].unlink()
    run()
    run("")
    assert not os.path.lexists(paths(host)[2])


def test_the_last_site_of_a_host_switches_the_welcome_page_on(host, run, port, claim):
    run()
    claim(host, "other", port)
    run("")
    assert not os.path.lexists(paths(host)[2])
    assert site.read_note("other", host.own)
    # It went with its data kept, so that its claim is still there but nginx has nothing of it.
    claim(host, "other", 0)
    assert not site.read_note("shop", host.own)


def test_a_welcome_page_that_nginx_would_not_accept_any_more_stays_off(host, run):
    run()
    own = host.etc / "conf.d" / "own.conf"
    own.write_text(f"server {{ listen {host.default_port} default_server; return 200 own; }}\n")
    result = run("")
    assert result["changed"]
    assert not os.path.lexists(paths(host)[2])
    assert not paths(host)[0].exists()
    assert host.restarts()


# --- Removal ---


@pytest.mark.parametrize("half", [0, 1])
def test_half_a_site_is_removed_as_well(host, run, port, half):
    run()
    paths(host)[half].unlink()
    assert run("")["steps"][-1] == "reload nginx.service"
    assert not any(os.path.lexists(path) for path in paths(host)[:2])
    host.until(lambda: not _answers(port))


def _answers(port):
    try:
        return fetch(port, "/", "shop.example")
    except OSError:
        return None


def test_a_removal_that_was_cut_off_before_the_reload_is_completed(host, run, port, claim):
    run()
    claim(host, "shop", port)
    for path in paths(host)[:2]:
        path.unlink()
    assert run("")["steps"][-1:] == ["reload nginx.service"]
    assert not _answers(port)
    assert run("")["changed"] is False


def test_a_site_that_nginx_cannot_do_without_stays(host, run, port, site_text):
    run(site_text() + "upstream shop_backends { server 127.0.0.1:9; }\n")
    neighbour = host.etc / "conf.d" / "blog.conf"
    neighbour.write_text("include ../sites-enabled/shop.conf*;\nlimit_req zone=gone;\n")
    neighbour.write_text("server { listen 127.0.0.1:9; proxy_pass_x on; }\n")
    files = host.files()
    with pytest.raises(run.failed, match="proxy_pass_x"):
        run("")
    assert host.files() == files
    assert fetch(port, "/", "shop.example") == (200, "first")


def test_nginx_that_does_not_run_is_not_started_for_a_removal(host, run):
    run()
    host.stop()
    host.verbs.clear()
    run("")
    assert host.verbs == []
    assert not paths(host)[0].exists()


def test_check_mode_only_says_what_a_removal_would_do(host, run):
    run()
    files = host.files()
    assert run("", check=True)["changed"]
    assert host.files() == files


def test_nothing_is_left_of_what_was_tried(host, run):
    run()
    assert not list(host.etc.rglob(".*"))
