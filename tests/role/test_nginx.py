"""How the site comes into nginx, and what is left when nginx does not want it."""

import fcntl
import os
import time
from pathlib import Path

import pytest

from tests.role_files import load_python

nginx = load_python("library/aroundtheworld_nginx.py")

SITE = "server { listen 80; }\n"
OTHER = "server { listen 81; }\n"


class Host:
    """An nginx that has read its configuration at some time, and refuses what it is told to."""

    def __init__(self, etc):
        self.etc = etc
        self.available = etc / "sites-available" / "shop.conf"
        self.enabled = etc / "sites-enabled" / "shop.conf"
        self.default = etc / "sites-enabled" / "default"
        for path in (self.available, self.enabled):
            path.parent.mkdir()
        (self.available.parent / "default").write_text("server { listen 80 default_server; }\n")
        self.default.symlink_to(self.available.parent / "default")
        self.state = {"ActiveState": "active", "UnitFileState": "enabled", "MainPID": "1"}
        self.generation = 1  # of the processes that serve
        self.reads_at = time.time() - 100
        self.serves = ""
        self.refuses_alone = self.refuses_all = self.ignores_reloads = False
        self.told = []
        self.tried = []

    def run_command(self, command):
        if command[:2] == ["systemctl", "show"]:
            return 0, "".join(f"{key}={value}\n" for key, value in self.state.items()), ""
        if command[:2] == ["nginx", "-t"]:
            return self._test(command)
        self.told.append(" ".join(command))
        verb = command[1]
        if verb == "enable":
            self.state["UnitFileState"] = "enabled"
        elif verb == "start" or (verb == "reload" and not self.ignores_reloads):
            self.state["ActiveState"] = "active"
            self.generation += 1
            self.reads_at = time.time() + 1  # the clock of file systems is a coarse one
            self.serves = self.enabled.read_text() if self.enabled.exists() else ""
        return 0, "", ""

    def _test(self, command):
        if "-c" in command:
            site = Path(command[-1]).read_text().split("include ")[2].split(";")[0]
            self.tried.append(Path(site).read_text())
            refused = self.refuses_alone
        else:
            site = self.enabled.read_text() if self.enabled.exists() else ""
            self.tried.append((site, self.default.is_symlink()))
            refused = self.refuses_all
        return (1, "", 'unknown directive "sever"\n') if refused else (0, "", "")

    def snapshot(self):
        files = {
            path: (path.readlink() if path.is_symlink() else path.read_text())
            for path in self.etc.rglob("*")
            if path.is_symlink() or path.is_file()
        }
        return files, dict(self.state), self.generation


@pytest.fixture
def host(tmp_path, monkeypatch):
    host = Host(tmp_path)
    monkeypatch.setitem(nginx.Nginx.__init__.__kwdefaults__, "etc", tmp_path)
    monkeypatch.setattr(nginx.Nginx, "workers", lambda self: {host.generation})
    monkeypatch.setattr(nginx.Nginx, "read_at", lambda self: host.reads_at)
    monkeypatch.setattr(
        nginx.AnsibleModule, "run_command", lambda self, command: host.run_command(command)
    )
    monkeypatch.setattr(nginx, "RELOAD_SECONDS", 0.1)
    return host


@pytest.fixture
def run(run_module):
    def run(content=SITE, *, remove_default=True, **more):
        return run_module(
            nginx, site="shop", content=content, remove_default=remove_default, **more
        )

    run.failed = run_module.failed
    return run


def test_the_site_is_written_linked_and_served(host, run):
    result = run()
    assert result["steps"] == [
        f"write {host.available}",
        f"link {host.enabled}",
        f"remove {host.default}",
        "reload nginx.service",
    ]
    assert host.serves == SITE
    assert host.enabled.resolve() == host.available
    assert not host.default.exists()


def test_the_site_is_tried_alone_and_then_with_everything_else(host, run):
    run()
    assert host.tried == [SITE, (SITE, False)]


def test_a_second_run_does_nothing(host, run):
    run()
    host.told.clear()
    result = run()
    assert (result["changed"], result["steps"]) == (False, [])
    assert host.told == []


def test_the_welcome_page_stays_where_that_is_wanted(host, run):
    result = run(remove_default=False)
    assert host.default.is_symlink()
    assert not any("remove" in step for step in result["steps"])


def test_a_welcome_page_that_is_not_debians_link_stays(host, run):
    host.default.unlink()
    host.default.write_text("server {}\n")
    run()
    assert host.default.read_text() == "server {}\n"


def test_nginx_that_does_not_run_is_enabled_and_started(host, run):
    host.state |= {"ActiveState": "inactive", "UnitFileState": "disabled"}
    result = run()
    assert result["steps"][-2:] == ["enable nginx.service", "start nginx.service"]
    assert host.told == [
        "systemctl enable --quiet nginx.service",
        "systemctl start --quiet nginx.service",
    ]


@pytest.mark.parametrize("path", ["available", "enabled"])
def test_a_configuration_that_nginx_has_not_read_yet_is_read(host, run, path):
    run()
    os.utime(getattr(host, path), (time.time() + 50,) * 2, follow_symlinks=False)
    assert run()["steps"] == ["reload nginx.service"]


def test_a_link_that_leads_elsewhere_is_put_right(host, run):
    run()
    host.enabled.unlink()
    host.enabled.symlink_to(host.available.parent / "default")
    run()
    assert host.enabled.resolve() == host.available


@pytest.mark.parametrize("before", ["bare", "deployed"])
@pytest.mark.parametrize("refuses", ["refuses_alone", "refuses_all"])
def test_a_configuration_that_is_refused_leaves_everything_as_it_was(host, run, before, refuses):
    if before == "deployed":
        run(OTHER)
    snapshot = host.snapshot()
    setattr(host, refuses, True)
    host.told.clear()
    with pytest.raises(run.failed, match='unknown directive "sever"'):
        run()
    assert host.snapshot() == snapshot
    assert host.told == []
    setattr(host, refuses, False)
    run()
    assert host.serves == SITE


def test_a_reload_that_does_not_come_about_is_a_failure(host, run):
    host.ignores_reloads = True
    with pytest.raises(run.failed, match="nginx did not take its new configuration"):
        run()
    host.ignores_reloads = False
    assert run()["steps"] == ["reload nginx.service"]


def test_check_mode_changes_nothing_and_shows_what_would_change(host, run):
    run(OTHER)
    snapshot = host.snapshot()
    host.told.clear()
    result = run(check=True)
    assert result["changed"]
    assert result["diff"][0]["before"] == OTHER
    assert result["diff"][0]["after"] == SITE
    assert host.snapshot() == snapshot
    assert host.told == []


def test_check_mode_copes_with_a_host_that_has_no_nginx(host, run):
    host.state = {"ActiveState": "inactive", "UnitFileState": "", "MainPID": "0"}
    host.default.unlink()
    for path in sorted(host.etc.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert run(check=True)["changed"]
    assert list(host.etc.iterdir()) == []


# --- Removal ---


def left(host):
    return [path for path in (host.enabled, host.available) if os.path.lexists(path)]


def test_a_site_is_removed_and_the_welcome_page_is_left_as_it_is(host, run):
    run()
    result = run("")
    steps = [f"remove {host.enabled}", f"remove {host.available}", "reload nginx.service"]
    assert result["steps"] == steps
    assert host.told[-1] == "systemctl reload --quiet nginx.service"
    assert left(host) == []
    assert not host.default.is_symlink()
    assert run("")["changed"] is False


@pytest.mark.parametrize("half", ["available", "enabled"])
def test_half_a_site_is_removed_as_well(host, run, half):
    run()
    getattr(host, half).unlink()
    assert run("")["steps"][1:] == ["reload nginx.service"]
    assert left(host) == []


def test_a_removal_that_was_cut_off_before_the_reload_is_completed(host, run):
    run()
    host.available.unlink()
    host.enabled.unlink()
    host.reads_at = time.time() - 50
    assert run("")["steps"] == ["reload nginx.service"]


def test_a_site_that_nginx_cannot_do_without_stays(host, run):
    run()
    snapshot = host.snapshot()
    host.refuses_all = True
    with pytest.raises(run.failed, match='unknown directive "sever"'):
        run("")
    assert host.snapshot() == snapshot


def test_nginx_that_does_not_run_is_not_started_for_a_removal(host, run):
    run()
    host.state["ActiveState"] = "inactive"
    assert "reload nginx.service" not in run("")["steps"]


def test_check_mode_only_says_what_a_removal_would_do(host, run):
    run()
    snapshot = host.snapshot()
    assert run("", check=True)["changed"]
    assert host.snapshot() == snapshot


def test_sites_of_one_host_come_one_after_the_other(host, run, host_lock, monkeypatch):
    monkeypatch.setattr("ansible.module_utils.aroundtheworld.lock.HOST_LOCK_SECONDS", 0.1)
    with host_lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(run.failed, match="Another site on this host"):
            run()
        assert not host.available.exists()
        assert run(check=True)["changed"]  # a look need not wait
    assert run()["changed"]
