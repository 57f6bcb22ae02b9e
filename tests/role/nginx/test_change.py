"""How a site comes into a real nginx, and where its file goes."""

import fcntl
import json
import os
import signal
import threading

import pytest
from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.nginx import change, service, site

from tests.role.nginx.process import NGINX_ORG, fetch, needs_nginx, paths

pytestmark = needs_nginx


def test_the_site_is_written_linked_and_served(host, run, port):
    available, enabled, default = paths(host)
    main = host.pid
    assert run()["steps"] == [
        f"write {available}",
        f"link {enabled}",
        f"remove {default}",
        "reload nginx.service",
    ]
    assert fetch(port, "/", "shop.example") == (200, "first")
    assert (enabled.resolve(), host.pid) == (available, main)
    assert not default.exists()


def test_an_empty_log_that_a_former_configuration_made_goes_with_it(host, run):
    logs = host.own.parent / "var" / "log" / "nginx"
    logs.mkdir(parents=True)
    (logs / "shop.access.log").touch()
    (logs / "shop.error.log").write_text("what somebody may want to read")
    run()
    assert [path.name for path in logs.iterdir()] == ["shop.error.log"]


def test_a_second_run_does_nothing(host, run):
    run()
    host.verbs.clear()
    result = run()
    assert (result["changed"], result["steps"], host.verbs) == (False, [], [])


def test_another_content_is_served_when_the_run_has_ended(host, run, port, site_text):
    for number in range(5):
        run(site_text(f"body-{number}"))
        assert fetch(port, "/", "shop.example") == (200, f"body-{number}")


def test_no_request_is_lost_while_nginx_reloads(host, run, port, site_text):
    run()
    leave, seen = threading.Event(), []

    def visit():
        while not leave.is_set():
            try:
                seen.append(fetch(port, "/", "shop.example")[0])
            except OSError as error:
                seen.append(repr(error))

    visitor = threading.Thread(target=visit)
    visitor.start()
    for number in range(5):
        run(site_text(f"body-{number}"))
    leave.set()
    visitor.join()
    assert len(seen) > 20
    assert set(seen) == {200}


def test_nginx_that_does_not_run_is_enabled_and_started(make_host, run, port):
    host = make_host(running=False)
    host.enabled = False
    assert run()["steps"][-2:] == ["enable nginx.service", "start nginx.service"]
    assert host.verbs == ["enable", "start"]
    assert fetch(port, "/", "shop.example") == (200, "first")


# --- What nginx runs is what counts ---


def test_a_configuration_that_nginx_has_not_read_yet_is_read(host, run, port, site_text):
    run()
    # As of a run that was killed between the file and the reload, long ago.
    text = site.identified(site_text("second"))
    paths(host)[0].write_text(text)
    os.utime(paths(host)[0], (1, 1))
    assert run(site_text("second"))["steps"] == ["reload nginx.service"]
    assert fetch(port, "/", "shop.example") == (200, "second")


def test_a_worker_of_nginx_that_died_and_came_back_proves_nothing(host, run, port, site_text):
    run()
    paths(host)[0].write_text(site.identified(site_text("second")))
    before = service.Service(host.run).workers()
    os.kill(min(before), signal.SIGKILL)
    host.until(lambda: len(service.Service(host.run).workers() - before) == 1)
    assert run(site_text("second"))["steps"] == ["reload nginx.service"]
    assert fetch(port, "/", "shop.example") == (200, "second")
    os.kill(min(service.Service(host.run).workers()), signal.SIGKILL)
    assert not run(site_text("second"))["changed"]


def test_a_run_is_green_only_when_the_site_has_answered_to_its_names(host, run, port):
    neighbour = host.etc / "conf.d" / "blog.conf"
    neighbour.write_text(f"server {{ listen {port}; server_name shop.example; return 200 blog; }}")
    before = host.files()
    with pytest.raises(run.failed, match=r"http://shop\.example/\.shop/nginx.*blog\.conf:1"):
        run()
    assert host.files() == before
    assert fetch(port, "/", "shop.example") == (200, "blog")
    assert host.restarts()


def test_a_site_that_a_neighbour_has_taken_over_is_reported_also_when_nothing_changed(
    host, run, port, site_text
):
    run(site_text(names="shop.example www.shop.example"))
    neighbour = host.etc / "conf.d" / "blog.conf"
    neighbour.write_text(f"server {{ listen {port}; server_name www.shop.example; return 404; }}")
    service.Service(host.run).reload(None)
    with pytest.raises(run.failed, match=r"www\.shop\.example.* 404, .*blog\.conf:1"):
        run(site_text(names="shop.example www.shop.example"))
    assert fetch(port, "/", "shop.example") == (200, "first")


def test_a_neighbour_may_have_the_loopback_address_for_itself(host, run, port):
    others = [
        address
        for address in service.own_addresses()
        if not address.startswith("127.") and "." in address
    ]
    if not others:
        pytest.skip("this machine has no other address")
    neighbour = host.etc / "conf.d" / "status.conf"
    neighbour.write_text(f"server {{ listen 127.0.0.1:{port}; return 403; }}")
    run()
    assert fetch(port, "/", "shop.example")[0] == 403
    assert fetch(port, "/", "shop.example", others[0]) == (200, "first")


@pytest.mark.parametrize(
    ("name", "host_name"),
    [("_", "shop.invalid"), ("*.shop.example", "shop.shop.example"), ("a.example", "a.example")],
)
def test_every_kind_of_name_has_a_host_name_to_ask_for(name, host_name, site_text):
    text = site.identified(site_text(names=name, port=8080))
    (probe,) = site.Probe.all_of(text, "shop")
    assert (probe.names, probe.port, probe.ipv6) == ((host_name,), 8080, False)
    assert site.ID.fullmatch(probe.id)


def test_check_mode_changes_nothing_and_shows_what_would_change(host, run, site_text):
    run(site_text("second"))
    files = host.files()
    host.verbs.clear()
    result = run(check=True)
    assert result["changed"]
    assert "200 second" in result["diff"][0]["before"]
    assert "200 first" in result["diff"][0]["after"]
    assert (host.files(), host.verbs) == (files, [])


def test_check_mode_copes_with_a_host_that_has_no_nginx(make_host, run, monkeypatch):
    host = make_host(running=False)
    monkeypatch.setattr(change, "program", lambda: "")
    for path in sorted(host.etc.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    assert run(check=True)["changed"]
    assert list(host.etc.iterdir()) == []


def test_sites_of_one_host_come_one_after_the_other(host, run, host_lock_path, monkeypatch):
    monkeypatch.setattr("ansible.module_utils.aroundtheworld.host_lock.HOST_LOCK_SECONDS", 0.1)
    with host_lock_path.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(run.failed, match="Another site on this host"):
            run()
        assert not paths(host)[0].exists()
        assert run(check=True)["changed"]  # a look need not wait
    assert run()["changed"]


# --- Where the site goes ---


def test_where_only_conf_d_is_included_the_site_is_there(make_host, run, port):
    host = make_host(includes=NGINX_ORG)
    file = host.etc / "conf.d" / "shop.conf"
    assert run()["steps"] == [f"write {file}", "reload nginx.service"]
    assert fetch(port, "/", "shop.example") == (200, "first")
    assert not run()["changed"]
    assert [path.name for path in host.etc.iterdir() if path.is_dir()] == ["conf.d"]
    assert run("")["steps"] == [f"remove {file}", "reload nginx.service"]
    assert not file.exists()


def test_empty_directories_of_debians_that_nginx_does_not_read_are_not_used(make_host, run):
    host = make_host(includes=NGINX_ORG)
    for name in ("sites-available", "sites-enabled"):
        (host.etc / name).mkdir()
    run()
    assert (host.etc / "conf.d" / "shop.conf").exists()
    assert list((host.etc / "sites-enabled").iterdir()) == []


def test_a_site_moves_with_what_nginx_includes(make_host, run, port):
    host = make_host()
    run()
    main = host.main.read_text()
    host.main.write_text(main.replace(f"include {host.etc}/sites-enabled/*;", ""))
    run()
    assert (host.etc / "conf.d" / "shop.conf").exists()
    assert not any(os.path.lexists(path) for path in paths(host)[:2])
    assert fetch(port, "/", "shop.example") == (200, "first")
    assert not run()["changed"]


@pytest.mark.parametrize(
    ("includes", "directory"),
    [
        ("include vhosts/*.conf;", "vhosts"),
        ("include {etc}/more.conf;", "vhosts"),
        ("include {etc}/vhosts/*.conf; include {etc}/conf.d/[!s]*;", "vhosts"),
        ("include {etc}/sites-enabled/*;", "sites-enabled"),
    ],
)
def test_another_directory_that_http_includes_is_taken(make_host, run, port, includes, directory):
    host = make_host(includes=includes, running=False)
    (host.etc / directory).mkdir()
    (host.etc / "more.conf").write_text("include vhosts/*;\n")
    host.start()
    run()
    assert (host.etc / directory / "shop.conf").exists()
    assert fetch(port, "/", "shop.example") == (200, "first")


@pytest.mark.parametrize(
    "includes",
    ["", "include {etc}/conf.d/*.vhost;", "include {etc}/conf.d/*.conf; include {etc}/conf.d/s*;"],
)
def test_an_nginx_that_includes_no_directory_for_it_is_refused(make_host, run, includes):
    host = make_host(includes=includes)
    files = host.files()
    with pytest.raises(run.failed, match="no directory is included in the http block"):
        run()
    assert host.files() == files


def test_passwords_are_there_as_long_as_nginx_asks_for_them(
    host, run, port, site_text, claim, monkeypatch
):
    claim(host, "shop", port)
    file = host.own / "shop" / "passwords" / "admin"
    file.parent.mkdir()
    asks = f'auth_basic ""; auth_basic_user_file {file};'
    content = site_text(more=f"location /admin {{ {asks} }}")
    whole, there = service.Service.reload, []

    def reload(self, *arguments):
        whole(self, *arguments)
        there.append(file.exists())

    monkeypatch.setattr(service.Service, "reload", reload)

    def change(content, passwords, **more):
        return run(content, passwords=json.dumps(passwords), **more)

    assert change(content, {str(file): "ada:$6$x"}, check=True)["steps"][0] == f"write {file}"
    result = change(content, {str(file): "ada:$6$x"})
    assert "$6$x" not in json.dumps(result)
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("ada:$6$x", 0o640)
    assert file in belongings.files("shop", root=host.root)
    assert fetch(port, "/admin", "shop.example")[0] == 401
    assert not change(content, {str(file): "ada:$6$x"})["changed"]
    change(content, {str(file): "ada:$6$y"})
    assert file.read_text() == "ada:$6$y"
    with pytest.raises(run.failed, match="sever"):
        change(site_text(more="sever {}"), {})
    assert file.read_text() == "ada:$6$y"
    change(site_text(), {})
    assert there == [True] * 3
    assert not file.exists()
    assert file not in belongings.files("shop", root=host.root)
