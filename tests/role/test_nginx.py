"""How the site comes into a real nginx, and what is left when nginx does not want it."""

import fcntl
import json
import os
import signal
import socket
import threading

import pytest
from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.layout import CLAIM
from ansible.module_utils.aroundtheworld.nginx import change, service, site

from tests.role.nginx_process import NGINX, NGINX_ORG, Host, ask, free_port, needs_nginx
from tests.role_files import load_python

nginx = load_python("library/aroundtheworld_nginx.py")

pytestmark = needs_nginx


def site_text(port, body="one", names="shop.example", more=""):
    return f"""{belongings.mark("shop")}
    server {{
        listen {port};
        server_name {names};
        location = /.shop/nginx {{ return 200 "@CONFIGURATION@\\n"; }}
        location / {{ return 200 {body}; }}
        {more}
    }}
    """


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def make_host(tmp_path, monkeypatch):
    hosts = []

    def make(*, running=True, **more):
        host = Host(tmp_path, **more)
        hosts.append(host)
        defaults = change.SiteChange.__init__.__kwdefaults__
        monkeypatch.setitem(defaults, "nginx", host.etc)
        monkeypatch.setitem(defaults, "etc", host.own)
        monkeypatch.setattr(change, "program", lambda: NGINX)
        monkeypatch.setattr(
            nginx.AnsibleModule, "run_command", lambda self, command: host.run(command)
        )
        monkeypatch.setattr(change, "SERVED_SECONDS", 0.5)
        monkeypatch.setattr(service, "REFUSED_SECONDS", 0.3)
        return host.start() if running else host

    yield make
    for host in hosts:
        host.stop()


@pytest.fixture
def host(make_host):
    return make_host()


@pytest.fixture
def run(run_module, port):
    def run(content=None, *, remove_default=True, **more):
        content = site_text(port) if content is None else content
        return run_module(
            nginx, site="shop", content=content, remove_default=remove_default, **more
        )

    run.failed = run_module.failed
    return run


def paths(host):
    available, enabled = host.etc / "sites-available", host.etc / "sites-enabled"
    return available / "shop.conf", enabled / "shop.conf", enabled / "default"


def test_the_site_is_written_linked_and_served(host, run, port):
    available, enabled, default = paths(host)
    main = host.pid
    assert run()["steps"] == [
        f"write {available}",
        f"link {enabled}",
        f"remove {default}",
        "reload nginx.service",
    ]
    assert ask(port, "/", "shop.example") == (200, "one")
    assert (enabled.resolve(), host.pid) == (available, main)
    assert not default.exists()


def test_a_second_run_does_nothing(host, run):
    run()
    host.told.clear()
    result = run()
    assert (result["changed"], result["steps"], host.told) == (False, [], [])


def test_another_content_is_served_when_the_run_has_ended(host, run, port):
    for number in range(5):
        run(site_text(port, f"body-{number}"))
        assert ask(port, "/", "shop.example") == (200, f"body-{number}")


def test_no_request_is_lost_while_nginx_reads_again(host, run, port):
    run()
    leave, seen = threading.Event(), []

    def visit():
        while not leave.is_set():
            try:
                seen.append(ask(port, "/", "shop.example")[0])
            except OSError as error:
                seen.append(repr(error))

    visitor = threading.Thread(target=visit)
    visitor.start()
    for number in range(5):
        run(site_text(port, f"body-{number}"))
    leave.set()
    visitor.join()
    assert len(seen) > 20
    assert set(seen) == {200}


def test_nginx_that_does_not_run_is_enabled_and_started(make_host, run, port):
    host = make_host(running=False)
    host.enabled = False
    assert run()["steps"][-2:] == ["enable nginx.service", "start nginx.service"]
    assert host.told == ["enable", "start"]
    assert ask(port, "/", "shop.example") == (200, "one")


# --- What nginx runs is what counts ---


def test_a_configuration_that_nginx_has_not_read_yet_is_read(host, run, port):
    run()
    # As of a run that was killed between the file and the reload, long ago.
    text = site.identified(site_text(port, "two"))
    paths(host)[0].write_text(text)
    os.utime(paths(host)[0], (1, 1))
    assert run(site_text(port, "two"))["steps"] == ["reload nginx.service"]
    assert ask(port, "/", "shop.example") == (200, "two")


def test_a_worker_of_nginx_that_died_and_came_back_proves_nothing(host, run, port):
    run()
    paths(host)[0].write_text(site.identified(site_text(port, "two")))
    before = service.Service(host.run).workers()
    os.kill(min(before), signal.SIGKILL)
    host.until(lambda: len(service.Service(host.run).workers() - before) == 1)
    assert run(site_text(port, "two"))["steps"] == ["reload nginx.service"]
    assert ask(port, "/", "shop.example") == (200, "two")
    os.kill(min(service.Service(host.run).workers()), signal.SIGKILL)
    assert not run(site_text(port, "two"))["changed"]


def test_a_run_is_green_only_when_the_site_has_answered_to_its_names(host, run, port):
    neighbour = host.etc / "conf.d" / "blog.conf"
    neighbour.write_text(f"server {{ listen {port}; server_name shop.example; return 200 blog; }}")
    before = host.files()
    with pytest.raises(run.failed, match=r"http://shop\.example/\.shop/nginx.*blog\.conf:1"):
        run()
    assert host.files() == before
    assert ask(port, "/", "shop.example") == (200, "blog")
    assert host.restarts()


def test_a_site_that_a_neighbour_has_taken_over_is_told_of_also_when_nothing_changed(
    host, run, port
):
    run(site_text(port, names="shop.example www.shop.example"))
    neighbour = host.etc / "conf.d" / "blog.conf"
    neighbour.write_text(f"server {{ listen {port}; server_name www.shop.example; return 404; }}")
    service.Service(host.run).reload(None)
    with pytest.raises(run.failed, match=r"www\.shop\.example.* 404 .*blog\.conf:1"):
        run(site_text(port, names="shop.example www.shop.example"))
    assert ask(port, "/", "shop.example") == (200, "one")


def test_a_neighbour_may_have_the_loopback_address_for_itself(host, run, port):
    others = [one for one in service.own_addresses() if not one.startswith("127.") and "." in one]
    if not others:
        pytest.skip("this machine has no other address")
    neighbour = host.etc / "conf.d" / "status.conf"
    neighbour.write_text(f"server {{ listen 127.0.0.1:{port}; return 403; }}")
    run()
    assert ask(port, "/", "shop.example")[0] == 403
    assert ask(port, "/", "shop.example", others[0]) == (200, "one")


@pytest.mark.parametrize(
    ("name", "asked"),
    [("_", "shop.invalid"), ("*.shop.example", "shop.shop.example"), ("a.example", "a.example")],
)
def test_every_kind_of_name_has_a_host_name_to_ask_for(name, asked):
    text = site.identified(site_text(8080, names=name))
    questions = site.Questions.of(text, "shop")
    assert (questions.names, questions.port, questions.ipv6) == ((asked,), 8080, False)
    assert site.ID.fullmatch(questions.id)


# --- Whatever fails, all is as it was ---


@pytest.mark.parametrize("before", ["bare", "deployed"])
@pytest.mark.parametrize("more", ["sever {}", "include /nowhere.conf;"])
def test_a_configuration_that_is_refused_leaves_everything_as_it_was(host, run, port, before, more):
    if before == "deployed":
        run(site_text(port, "two"))
    files = host.files()
    host.told.clear()
    with pytest.raises(run.failed, match=r"sever|nowhere"):
        run(site_text(port, more=more))
    assert (host.files(), host.told) == (files, [])
    assert host.restarts()
    run()
    assert ask(port, "/", "shop.example") == (200, "one")


def test_what_is_refused_only_beside_the_others_leaves_everything_as_it_was(host, run, port):
    (host.etc / "conf.d" / "a.conf").write_text("upstream x { server 127.0.0.1:9; }\n")
    files = host.files()
    with pytest.raises(run.failed, match='duplicate upstream "x"'):
        run("upstream x { server 127.0.0.1:9; }\n" + site_text(port))
    assert host.files() == files
    assert host.restarts()


def test_a_port_that_nginx_cannot_bind_leaves_everything_as_it_was(host, run, port):
    run(site_text(port, "two"))
    files, workers = host.files(), service.Service(host.run).workers()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = site_text(taken.getsockname()[1])
        with pytest.raises(run.failed, match=r"bind\(\) to .* failed") as failure:
            run(wanted)
        assert str(failure.value).endswith("nginx goes on with that.")
        assert host.files() == files
        assert ask(port, "/", "shop.example") == (200, "two")
        assert host.restarts()
    assert workers


def test_a_first_start_that_fails_leaves_nothing_that_would_stop_nginx(make_host, run):
    host = make_host(running=False)
    host.enabled = False
    files = host.files()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(run.failed, match=r"(?s)start nginx\.service failed.*journal says"):
            run(site_text(taken.getsockname()[1]))
        assert (host.files(), host.enabled, host.pid) == (files, False, 0)
        assert host.restarts()


@pytest.mark.parametrize("verb", ["reload", "enable"])
def test_a_verb_that_systemd_refuses_leaves_everything_as_it_was(host, run, port, verb):
    run(site_text(port, "two"))
    host.enabled = verb != "enable"
    files, host.fails = host.files(), verb
    with pytest.raises(run.failed, match=f"systemctl {verb} nginx.service failed"):
        run()
    assert host.files() == files
    assert ask(port, "/", "shop.example") == (200, "two")
    assert host.restarts()


def test_a_reload_that_does_not_come_about_leaves_everything_as_it_was(
    host, run, port, monkeypatch
):
    run(site_text(port, "two"))
    files = host.files()
    monkeypatch.setattr(service.Service.reload, "__defaults__", (0.3,))
    host.ignores_reloads = True
    with pytest.raises(run.failed, match="nginx did not take its new configuration"):
        run()
    assert host.files() == files
    host.ignores_reloads = False
    run()
    assert ask(port, "/", "shop.example") == (200, "one")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_run_that_is_ended_by_a_signal_leaves_everything_as_it_was(
    host, run, port, number, monkeypatch
):
    run(site_text(port, "two"))
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
    assert ask(port, "/", "shop.example") == (200, "two")
    assert host.restarts()


def test_an_unexpected_error_leaves_everything_as_it_was(host, run, port, monkeypatch):
    run(site_text(port, "two"))
    files = host.files()
    monkeypatch.setattr(service.Service, "try_all", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run()
    assert host.files() == files


def test_a_disk_that_is_full_leaves_everything_as_it_was(host, run, port, monkeypatch):
    files = host.files()
    link = change.link_atomically

    def full(path, target):
        if path.name == "shop.conf":
            raise OSError(28, "No space left on device")
        link(path, target)

    monkeypatch.setattr(change, "link_atomically", full)
    with pytest.raises(run.failed, match="No space left on device"):
        run()
    assert host.files() == files


def test_check_mode_changes_nothing_and_shows_what_would_change(host, run, port):
    run(site_text(port, "two"))
    files = host.files()
    host.told.clear()
    result = run(check=True)
    assert result["changed"]
    assert "200 two" in result["diff"][0]["before"]
    assert "200 one" in result["diff"][0]["after"]
    assert (host.files(), host.told) == (files, [])


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
    assert ask(port, "/", "shop.example") == (200, "one")
    assert not run()["changed"]
    assert [path.name for path in host.etc.iterdir() if path.is_dir()] == ["conf.d"]
    assert run("")["steps"] == [f"remove {file}", "reload nginx.service"]
    assert not file.exists()


def test_empty_directories_of_debians_that_nginx_does_not_read_are_not_used(make_host, run, port):
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
    assert ask(port, "/", "shop.example") == (200, "one")
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
    assert ask(port, "/", "shop.example") == (200, "one")


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
        assert ask(host.default_port, "/", "x")[1] == "own"


def test_a_site_is_removed_and_the_welcome_page_is_there_again(host, run, port):
    available, enabled, default = paths(host)
    before = host.files()
    run()
    assert json.loads((host.own / "shop" / site.NOTE).read_text())
    steps = [f"remove {enabled}", f"remove {available}", f"link {default}", "reload nginx.service"]
    assert run("")["steps"] == steps
    assert host.files() == before
    assert ask(host.default_port, "/", "x") == (200, "welcome")
    assert run("")["changed"] is False


def test_a_welcome_page_that_was_not_on_does_not_come(host, run):
    paths(host)[2].unlink()
    run()
    run("")
    assert not os.path.lexists(paths(host)[2])


def claim(host, name, port):
    keys = {"home": "/srv", "user": name, "server_names": ["_"], "pools": [], "sockets": []}
    (host.own / name).mkdir(exist_ok=True)
    text = json.dumps({"site": name, "http_port": port, **keys})
    (host.own / name / CLAIM).write_text(text)


def test_the_last_site_of_a_host_switches_the_welcome_page_on(host, run, port):
    run()
    claim(host, "other", port)
    run("")
    assert not os.path.lexists(paths(host)[2])
    assert site.read_note("other", host.own)
    # It went with its data kept, so that its claim is still there but nginx has nothing of it.
    claim(host, "other", 0)
    assert not site.read_note("shop", host.own)


def test_a_welcome_page_that_nginx_would_not_accept_any_more_stays_off(host, run, port):
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
        return ask(port, "/", "shop.example")
    except OSError:
        return None


def test_a_removal_that_was_cut_off_before_the_reload_is_completed(host, run, port):
    run()
    claim(host, "shop", port)
    for path in paths(host)[:2]:
        path.unlink()
    assert run("")["steps"][-1:] == ["reload nginx.service"]
    assert not _answers(port)
    assert run("")["changed"] is False


def test_a_site_that_nginx_cannot_do_without_stays(host, run, port):
    run(site_text(port) + "upstream shop_backends { server 127.0.0.1:9; }\n")
    neighbour = host.etc / "conf.d" / "blog.conf"
    neighbour.write_text("include ../sites-enabled/shop.conf*;\nlimit_req zone=gone;\n")
    neighbour.write_text("server { listen 127.0.0.1:9; proxy_pass_x on; }\n")
    files = host.files()
    with pytest.raises(run.failed, match="proxy_pass_x"):
        run("")
    assert host.files() == files
    assert ask(port, "/", "shop.example") == (200, "one")


def test_nginx_that_does_not_run_is_not_started_for_a_removal(host, run):
    run()
    host.stop()
    host.told.clear()
    run("")
    assert host.told == []
    assert not paths(host)[0].exists()


def test_check_mode_only_says_what_a_removal_would_do(host, run):
    run()
    files = host.files()
    assert run("", check=True)["changed"]
    assert host.files() == files


def test_nothing_is_left_of_what_was_tried(host, run):
    run()
    assert not list(host.etc.rglob(".*"))
