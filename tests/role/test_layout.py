"""Directories, environment and secrets."""

import json
import os
from types import SimpleNamespace
from typing import ClassVar

import pytest
from ansible.module_utils.aroundtheworld import belongings, groundwork

from tests.role_files import load_python

layout = load_python("library/aroundtheworld_layout.py")

SECRETS = "root/etc/shop/secrets"
LOGS = "root/var/log/nginx/shop"

CLAIM = {
    "site": "shop",
    "home": "/srv/shop",
    "user": "shopkeeper",
    "http_port": 80,
    "server_names": ["_"],
    "pools": ["public"],
    "sockets": [{"address": "127.0.0.1", "port": 10001, "variable": "aroundtheworld_pools"}],
}


class Users:
    """The users of the host, with their ids."""

    known: ClassVar[dict[str, int]] = {}

    def find(self, name):
        if name in self.known:
            return SimpleNamespace(pw_name=name, pw_uid=self.known[name], pw_gid=os.getgid())
        return None

    @classmethod
    def make(cls, name, home, run):
        cls.known[name] = 997


@pytest.fixture
def run(tmp_path, run_module, monkeypatch):
    """Returns a function that runs the module below a directory of its own."""
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "usr/local").mkdir(parents=True)
    monkeypatch.setattr(groundwork.Groundwork.__init__, "__defaults__", (root,))
    monkeypatch.setattr(groundwork, "READERS", os.getgid())
    monkeypatch.setattr(groundwork, "find_user", Users().find)
    monkeypatch.setattr(groundwork, "make_user", Users.make)
    Users.known = {"shopkeeper": 998}

    def run(environment=None, secrets=None, *, mode="0755", **more):
        directories = [
            {"path": str(tmp_path / name), "owner": os.getuid(), "mode": mode}
            for name in ("home/site", "home/site/shared", "root/etc/shop", SECRETS, LOGS)
        ]
        return run_module(
            layout,
            claim=CLAIM,
            directories=directories,
            settings=json.dumps({"environment": environment or {}, "secrets": secrets or {}}),
            script="#!/bin/sh\n",
            rotation="logs {}\n",
            **{"log_days": 14, **more},
        )

    run.failed = run_module.failed
    return run


def names_in(directory):
    return [path.name for path in directory.iterdir()]


def mode_of(path):
    return path.stat().st_mode & 0o777


def test_everything_is_made_once(tmp_path, run):
    settings = {"environment": {"A": "b"}, "secrets": {"cookie_secret": "generate", "mail": "x"}}
    assert run(**settings)["changed"]
    assert (tmp_path / "home" / "site" / "shared").is_dir()
    assert not run(**settings)["changed"]


def test_what_leads_to_the_site_can_be_entered_whatever_the_umask(tmp_path, run):
    before = os.umask(0o077)
    try:
        run()
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "home") == 0o755


def test_owner_and_mode_are_put_right(tmp_path, run):
    run()
    (tmp_path / "root/etc/shop").chmod(0o777)
    assert run()["diff"]["after"] == f"owner and mode of {tmp_path}/root/etc/shop\n"
    assert mode_of(tmp_path / "root/etc/shop") == 0o755


def test_secrets_and_environment_are_for_root_alone(tmp_path, run):
    run({"A": "b"}, {"mail": "48151623"})
    environment, secret = tmp_path / "root/etc/shop/environment", tmp_path / SECRETS / "mail"
    assert secret.read_text() == "48151623"
    assert (mode_of(environment), mode_of(secret)) == (0o600, 0o600)
    secret.chmod(0o644)
    assert run({"A": "b"}, {"mail": "48151623"})["changed"]
    assert mode_of(secret) == 0o600


@pytest.mark.parametrize("value", ["a\rb", "a\r\nb\r\n", "ä", "a\nb", "a\x85b\u2028c", ""])
def test_whatever_a_value_holds_a_second_run_changes_nothing(tmp_path, run, value):
    run({"A": value}, {"mail": value})
    assert (tmp_path / SECRETS / "mail").read_bytes() == value.encode()
    assert not run({"A": value}, {"mail": value})["changed"]


def test_a_generated_secret_is_kept(tmp_path, run):
    path = tmp_path / SECRETS / "cookie_secret"
    run(secrets={"cookie_secret": "generate"})
    made = path.read_text()
    assert len(made) >= 43  # 256 bits
    run({"A": "other"}, {"cookie_secret": "generate"})
    assert path.read_text() == made
    path.unlink()
    run(secrets={"cookie_secret": "generate"})
    assert path.read_text() != made


def test_a_secret_that_is_given_replaces_a_generated_one(tmp_path, run):
    run(secrets={"cookie_secret": "generate"})
    run(secrets={"cookie_secret": "of the inventory"})
    assert (tmp_path / SECRETS / "cookie_secret").read_text() == "of the inventory"


def test_a_secret_that_is_not_wanted_any_more_is_removed(tmp_path, run):
    run(secrets={"old": "one value", "new": "another"})
    result = run(secrets={"new": "another"})
    assert result["diff"]["after"] == f"no {tmp_path}/{SECRETS}/old\n"
    assert names_in(tmp_path / SECRETS) == ["new"]


def test_no_value_is_in_the_result(run):
    result = run({"DATABASE_URL": "48151623"}, {"mail": "48151623", "cookie_secret": "generate"})
    # What Ansible itself adds of the task's arguments it censors.
    assert "48151623" not in json.dumps(result)
    changed = run({"DATABASE_URL": "481516"}, {"mail": "481516", "cookie_secret": "generate"})
    assert "481516" not in json.dumps(changed)
    assert changed["changed"]


def test_check_mode_changes_nothing(tmp_path, run):
    assert run({"A": "b"}, {"cookie_secret": "generate"}, check=True)["changed"]
    assert names_in(tmp_path) == ["root"]
    assert names_in(tmp_path / "root/etc") == names_in(tmp_path / "root/usr/local") == []
    run({"A": "b"}, {"cookie_secret": "generate"})
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert run({"A": "c"}, {}, check=True, mode="0700")["changed"]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == files
    assert not run({"A": "b"}, {"cookie_secret": "generate"}, check=True)["changed"]


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("plain", 'A="plain"'),
        ("two words", 'A="two words"'),
        ('say "x"', r'A="say \"x\""'),
        (r"C:\x", r'A="C:\\x"'),
        ("$HOME `id`", r'A="\$HOME \`id\`"'),
        ("100%", 'A="100%"'),
        ("a#b;c", 'A="a#b;c"'),
        ("two\nlines", 'A="two\nlines"'),
        ("", 'A=""'),
        (5, 'A="5"'),
    ],
)
def test_values_are_quoted_for_systemd(value, line):
    assert groundwork.environment_text({"A": value}) == f"{line}\n"


def test_the_order_of_the_inventory_does_not_matter():
    assert groundwork.environment_text({"B": 1, "A": 2}) == groundwork.environment_text(
        {"A": 2, "B": 1}
    )


def claim_of(tmp_path, site="shop"):
    return tmp_path / "root/etc" / site / "aroundtheworld.json"


def test_the_claim_is_there_for_other_sites_to_see(tmp_path, run):
    run()
    path = claim_of(tmp_path)
    claim = json.loads(path.read_text())
    del claim["has"]
    assert claim == CLAIM
    assert mode_of(path) == 0o644
    path.write_text("{}")
    assert run()["diff"]["after"].startswith(f"content of {path}\n")


def test_nothing_is_made_when_another_site_was_faster(tmp_path, run):
    other = claim_of(tmp_path, "game")
    other.parent.mkdir()
    other.write_text(json.dumps(CLAIM | {"site": "game", "home": "/srv/game", "http_port": 81}))
    with pytest.raises(run.failed, match="aroundtheworld_user: 'shopkeeper' is the user of"):
        run()
    assert names_in(tmp_path / "root/etc") == ["game"]
    assert names_in(tmp_path) == ["root"]


def has(tmp_path):
    return belongings.has("shop", tmp_path / "root")


def test_what_is_made_is_written_down(tmp_path, run):
    Users.known = {}
    result = run()
    assert "user shopkeeper\n" in result["diff"]["after"]
    root = tmp_path / "root"
    assert has(tmp_path)["users"] == [{"name": "shopkeeper", "uid": 997}]
    files = ("etc/logrotate.d/shop", "usr/local/sbin/shop-run")
    assert has(tmp_path)["files"] == [str(root / file) for file in files]
    made = ("root/etc/shop", "root/usr/local/sbin", "home", "home/site", SECRETS)
    assert {str(tmp_path / path) for path in made} < set(has(tmp_path)["directories"])
    assert str(tmp_path) not in has(tmp_path)["directories"]
    assert not run()["changed"]


def test_a_directory_is_written_down_before_it_is_made(tmp_path, run, monkeypatch):
    made = groundwork.Path.mkdir

    def cut_off(path, *arguments, **more):
        if path == tmp_path / "home/site":
            raise KeyboardInterrupt
        made(path, *arguments, **more)

    monkeypatch.setattr(groundwork.Path, "mkdir", cut_off)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert {str(tmp_path / path) for path in ("home", "home/site")} < set(
        has(tmp_path)["directories"]
    )


def test_a_disk_that_is_full_is_told(run, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(groundwork.Groundwork, "write_settings", full)
    with pytest.raises(run.failed, match=r"could not be made: \[Errno 28\] No space left"):
        run()


def test_a_user_who_is_there_stays_as_they_are(tmp_path, run):
    Users.known = {"shopkeeper": 998}
    run()
    assert Users.known == {"shopkeeper": 998}
    assert has(tmp_path)["users"] == []


@pytest.mark.parametrize(("alone", "mode"), [(True, 0o750), (False, 0o700)])
def test_a_group_that_others_are_in_reads_nothing(tmp_path, run, monkeypatch, alone, mode):
    monkeypatch.setattr(groundwork, "is_alone", lambda name, gid: alone)
    user = SimpleNamespace(pw_name="shopkeeper", pw_uid=997, pw_gid=os.getgid())
    monkeypatch.setattr(groundwork, "READERS", os.getgid())
    monkeypatch.setattr(groundwork, "find_user", lambda name: user)
    run(mode="0750")
    assert mode_of(tmp_path / "home/site/shared") == mode
    assert not run(mode="0750")["changed"]


def test_a_home_that_somebody_made_for_the_site_keeps_owner_and_mode(tmp_path, run, monkeypatch):
    home = tmp_path / "home/site"
    home.mkdir(parents=True)
    home.chmod(0o775)
    monkeypatch.setitem(CLAIM, "home", str(home))
    run()
    assert mode_of(home) == 0o775
    assert str(home) not in has(tmp_path)["directories"]
    assert mode_of(home / "shared") == 0o755
    assert not run()["changed"]


def test_what_is_written_down_survives_a_change_of_the_claim(tmp_path, run, monkeypatch):
    run()
    before = has(tmp_path)
    monkeypatch.setitem(CLAIM, "http_port", 8080)
    assert run()["changed"]
    assert has(tmp_path) == before


def test_the_command_is_put_back(tmp_path, run):
    run()
    script = tmp_path / "root/usr/local/sbin/shop-run"
    assert (script.read_text(), mode_of(script)) == ("#!/bin/sh\n", 0o755)
    script.chmod(0o600)
    assert run()["diff"]["after"] == f"content of {script}\n"
    assert mode_of(script) == 0o755


def test_no_value_is_shown_and_nothing_else_is_hidden(tmp_path, run, monkeypatch):
    """Also not the paths whose parts are the values of a variable, as short as a letter."""
    logged = []
    monkeypatch.setattr(layout.AnsibleModule, "log", lambda self, text, **_: logged.append(text))
    values = {"environment": {"A": "etc", "URL": "postgresql://ada:48151623@db/shop"}}
    values["secrets"] = {"mail": "x", "cookie_secret": "site", "key": "48151623"}
    result = run(**values)
    for part in (f"directory {tmp_path}/{SECRETS}\n", f"{tmp_path}/{SECRETS}/mail (not shown)\n"):
        assert part in result["diff"]["after"]
    text = f"{json.dumps(result)} {logged}"
    assert "48151623" not in text
    assert "postgresql" not in text
    assert result["invocation"]["module_args"]["settings"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
    assert "***" not in json.dumps(result)
    assert "NOT_LOGGING_PARAMETER" in logged[0]
    assert f"{tmp_path}/{SECRETS}" in logged[0]
    assert "***" not in logged[0]


def test_logs_are_there_before_nginx_makes_them_for_everybody_to_read(tmp_path, run):
    run()
    logs = [tmp_path / LOGS / name for name in ("access.log", "error.log")]
    assert [mode_of(path) for path in logs] == [0o640, 0o640]
    assert sorted(names_in(tmp_path / LOGS)) == ["access.log", "error.log"]
    logs[0].write_text("a visit\n")
    logs[0].chmod(0o600)
    assert not run()["changed"]
    assert (logs[0].read_text(), mode_of(logs[0])) == ("a visit\n", 0o600)


def test_logs_of_a_former_version_go_on_in_the_sites_own_directory(tmp_path, run):
    nginx = tmp_path / "root/var/log/nginx"
    nginx.mkdir(parents=True)
    names = ("access.log", "access.log.1", "access.log.2.gz", "error.log")
    for name in names:
        (nginx / f"shop.{name}").write_text(name)
    (nginx / "shop.example.access.log").write_text("another's")
    with (nginx / "shop.access.log").open("a") as nginxs:  # nginx has it open
        diff = run(check=True)["diff"]["after"]
        assert f"{nginx}/shop.access.log becomes {nginx}/shop/access.log\n" in diff
        assert len(names_in(nginx)) == 5
        run()
        nginxs.write(" goes on")
    assert {path.name: path.read_text() for path in (nginx / "shop").iterdir()} == {
        **{name: name for name in names},
        "access.log": "access.log goes on",
    }
    assert sorted(names_in(nginx)) == ["shop", "shop.example.access.log"]
    # One that nginx made since, as after a failed run, does not take the place of the new one.
    (nginx / "shop.access.log").write_text("later")
    assert not run()["changed"]


@pytest.mark.parametrize("place", ["shop/error.log", "shop.error.log"])
def test_a_log_that_nginx_made_is_for_everybody_to_read_no_more(tmp_path, run, place):
    nginx, log = tmp_path / "root/var/log/nginx", tmp_path / LOGS / "error.log"
    log.parent.mkdir(parents=True)
    (nginx / place).write_text("an error\n")
    (nginx / place).chmod(0o644)
    run()
    assert (log.read_text(), mode_of(log)) == ("an error\n", 0o640)
    assert not run()["changed"]
    log.chmod(0o644)
    assert run(check=True)["diff"]["after"] == f"group and mode of {log}\n"
    assert mode_of(log) == 0o644


def test_logs_from_when_more_were_kept_are_removed(tmp_path, run):
    run()
    logs = tmp_path / LOGS
    for name in ("access.log.1", "access.log.3.gz", "error.log.4", "access.log.14.gz", "notes.4"):
        (logs / name).touch()
    assert not run()["changed"]
    diff = f"no {logs}/access.log.14.gz\nno {logs}/error.log.4\n"
    assert run(log_days=3, check=True)["diff"]["after"] == diff
    assert len(names_in(logs)) == 7
    assert run(log_days=3)["diff"]["after"] == diff
    kept = {"access.log", "access.log.1", "access.log.3.gz", "error.log", "notes.4"}
    assert set(names_in(logs)) == kept
    assert not run(log_days=3)["changed"]


def test_logrotate_finds_one_entry_also_after_a_run_that_was_killed(tmp_path, run):
    entry = tmp_path / "root/etc/logrotate.d/shop"
    run()
    assert (entry.read_text(), mode_of(entry)) == ("logs {}\n", 0o644)
    listed = belongings.has("shop", tmp_path / "root")
    assert str(entry) in listed["files"]
    assert str(tmp_path / LOGS) in listed["directories"]
    entry.write_text("older")
    (entry.parent / ".shop.ab12cd_x").write_text("logs {")  # as `write_atomically` calls it
    run()
    assert names_in(entry.parent) == ["shop"]
