"""Whatever fails, nginx and its files are as they were before."""

import os
import signal
import socket

import pytest
from ansible.module_utils.aroundtheworld.nginx import change, service, states

from tests.role.nginx.process import fetch, needs_nginx

pytestmark = needs_nginx


@pytest.mark.parametrize("before", ["bare", "deployed"])
@pytest.mark.parametrize("more", ["sever {}", "include /nowhere.conf;"])
def test_a_configuration_that_is_refused_leaves_everything_as_it_was(
    host, run, port, before, more, site_text
):
    if before == "deployed":
        run(site_text("second"))
    files = host.files()
    host.verbs.clear()
    with pytest.raises(run.failed, match=r"sever|nowhere"):
        run(site_text(more=more))
    assert (host.files(), host.verbs) == (files, [])
    assert host.restarts()
    run()
    assert fetch(port, "/", "shop.example") == (200, "first")


def test_what_is_refused_only_beside_the_others_leaves_everything_as_it_was(host, run, site_text):
    (host.etc / "conf.d" / "a.conf").write_text("upstream x { server 127.0.0.1:9; }\n")
    files = host.files()
    with pytest.raises(run.failed, match='duplicate upstream "x"'):
        run("upstream x { server 127.0.0.1:9; }\n" + site_text())
    assert host.files() == files
    assert host.restarts()


def test_a_port_that_nginx_cannot_bind_leaves_everything_as_it_was(host, run, port, site_text):
    run(site_text("second"))
    files, workers = host.files(), service.Service(host.run).workers()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        content = site_text(port=taken.getsockname()[1])
        with pytest.raises(run.failed, match=r"bind\(\) to .* failed") as failure:
            run(content)
        assert str(failure.value).endswith("nginx continues with that.")
        assert host.files() == files
        assert fetch(port, "/", "shop.example") == (200, "second")
        assert host.restarts()
    assert workers


def test_a_first_start_that_fails_leaves_nothing_that_would_stop_nginx(make_host, run, site_text):
    host = make_host(running=False)
    host.enabled = False
    files = host.files()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(run.failed, match=r"(?s)start nginx\.service failed.*journal says"):
            run(site_text(port=taken.getsockname()[1]))
        assert (host.files(), host.enabled, host.pid) == (files, False, 0)
        assert host.restarts()


@pytest.mark.parametrize("verb", ["reload", "enable"])
def test_a_verb_that_systemd_refuses_leaves_everything_as_it_was(host, run, port, verb, site_text):
    run(site_text("second"))
    host.enabled = verb != "enable"
    files, host.fails = host.files(), verb
    with pytest.raises(run.failed, match=f"systemctl {verb} nginx.service failed"):
        run()
    assert host.files() == files
    assert fetch(port, "/", "shop.example") == (200, "second")
    assert host.restarts()


def test_a_reload_that_does_not_come_about_leaves_everything_as_it_was(
    host, run, port, monkeypatch, site_text
):
    run(site_text("second"))
    files = host.files()
    monkeypatch.setattr(service.Service.reload, "__defaults__", (0.3,))
    monkeypatch.setattr(change, "REVERT_SECONDS", 0.3)
    host.ignores_reloads = True
    with pytest.raises(run.failed, match="nginx did not take its new configuration"):
        run()
    assert host.files() == files
    host.ignores_reloads = False
    run()
    assert fetch(port, "/", "shop.example") == (200, "first")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_run_that_is_ended_by_a_signal_leaves_everything_as_it_was(
    host, run, port, number, monkeypatch, site_text
):
    run(site_text("second"))
    files = host.files()
    whole = service.Service.reload

    def reload(self, *arguments, **more):
        monkeypatch.setattr(service.Service, "reload", whole)
        os.kill(os.getpid(), number)
        whole(self, *arguments, **more)

    monkeypatch.setattr(service.Service, "reload", reload)
    with pytest.raises(run.failed, match=signal.Signals(number).name):
        run()
    assert host.files() == files
    assert fetch(port, "/", "shop.example") == (200, "second")
    assert host.restarts()


def test_an_unexpected_error_leaves_everything_as_it_was(host, run, monkeypatch, site_text):
    run(site_text("second"))
    files = host.files()
    monkeypatch.setattr(service.Service, "try_all", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run()
    assert host.files() == files


def test_a_disk_that_is_full_leaves_everything_as_it_was(host, run, monkeypatch):
    files = host.files()
    link = states.link_atomically

    def full(path, target):
        if path.name == "shop.conf":
            raise OSError(28, "No space left on device")
        link(path, target)

    monkeypatch.setattr(states, "link_atomically", full)
    with pytest.raises(run.failed, match="No space left on device"):
        run()
    assert host.files() == files
