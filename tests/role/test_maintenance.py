"""A site is closed until somebody opens it, or until a time; on the controller and on the host."""

import json
import os
import shutil
import stat
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.acme.lineage import Lineage
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.maintenance import streams, toggle
from ansible.module_utils.aroundtheworld.maintenance import switch as switches
from ansible.module_utils.aroundtheworld.maintenance.switch import Switch
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from aroundtheworld_controller.nginx.maintenance import (
    closed_pools,
    end_of,
    json_body,
    retry_after,
    until_text,
    way_in,
)
from aroundtheworld_controller.variables import BadInputError
from tests import certificates
from tests.render import find_plugins, render, variables_for
from tests.role.refusals import case, problems_with
from tests.role_files import ROLE, load_python, load_yaml

END = datetime(2126, 12, 24, 17, 30, tzinfo=UTC)


# --- Until when ---


@pytest.fixture
def berlin(monkeypatch):
    """The controller's zone."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


NOW = datetime.fromisoformat("2026-11-26T12:00:30+01:00")
ENDS = {
    "": None,
    "18:30": "2026-11-26T18:30+01:00",
    "7:05": "2026-11-27T07:05+01:00",
    "12:00": "2026-11-27T12:00+01:00",
    "12:01": "2026-11-26T12:01+01:00",
    "2026-12-24T18:30": "2026-12-24T18:30+01:00",
    "2026-12-24 18:30:15": "2026-12-24T18:30:15+01:00",
    "2026-12-24T18:30Z": "2026-12-24T18:30+00:00",
    "2027-07-01T18:30": "2027-07-01T18:30+02:00",
    "2027-10-31T02:30+01:00": "2027-10-31T02:30+01:00",
}


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("text", ENDS)
def test_an_end_is_the_next_such_time_here_or_the_time_itself(text):
    end = end_of(text, NOW)
    assert end == (datetime.fromisoformat(ENDS[text]) if ENDS[text] else None)


REFUSED = {
    "1110": """a time without quotes as a number. Write it in quotes, as in '"18:30"'.""",
    "99999": """as in '"18:30"'.""",
    "24:00": "must be a time of day, as in '18:30', or a time as ISO 8601 writes it",
    "half past six": "must be a time of day, as in '18:30', or a time as ISO 8601 writes it",
    "2026-12-24": "must be a time of day, as in '18:30', or a time as ISO 8601 writes it",
    "9999-12-31T23:59": "the year must be between 1970 and 2199. For a site that does not open by",
    "0001-01-01T00:00": "the year must be between 1970 and 2199",
    "2026-11-26T12:00": "it is 2026-11-26 12:00 CET now, so that is in the past.",
    "2026-11-26T12:00:30+01:00": "that is in the past",
    "2027-03-28T02:30": (
        "on 2027-03-28 there is no such time, because clocks go forward. Say which you mean: "
        "'2027-03-28T01:30+01:00' or '2027-03-28T03:30+02:00'."
    ),
    "2027-10-31T02:30": (
        "on 2027-10-31 there are two of it, because clocks go back. Say which you mean: "
        "'2027-10-31T02:30+02:00' or '2027-10-31T02:30+01:00'."
    ),
}


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("text", REFUSED)
def test_a_time_that_is_none_or_two_or_past_is_refused(text):
    with pytest.raises(BadInputError) as refused:
        end_of(text, NOW)
    assert str(refused.value).startswith("aroundtheworld_maintenance_until: ")
    assert REFUSED[text] in str(refused.value)


@pytest.mark.usefixtures("berlin")
def test_the_next_time_of_day_may_be_one_that_there_are_two_of():
    with pytest.raises(BadInputError, match="two of it"):
        end_of("02:30", datetime.fromisoformat("2027-10-30T12:00+02:00"))


# --- What ---


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        case(
            "scope",
            {"aroundtheworld_maintenance": "adnim"},
            "aroundtheworld_maintenance: 'adnim' ",
            "'public', 'all' or the name of a pool: public, admin.",
        ),
        case(
            "reason",
            {"aroundtheworld_maintenance_reason": "two\nlines"},
            "aroundtheworld_maintenance_reason: 'two\\nlines'… is not allowed",
        ),
        case(
            "address",
            {"aroundtheworld_maintenance_allow": ["192.0.2.7", "192.0.2.300"]},
            "aroundtheworld_maintenance_allow[1]: '192.0.2.300' is not allowed",
            "as in '192.0.2.10'",
        ),
        case(
            "network",
            {"aroundtheworld_maintenance_allow": ["192.0.2.7/24"]},
            "aroundtheworld_maintenance_allow[0]: '192.0.2.7/24' ",
        ),
        case(
            "everybody",
            {"aroundtheworld_maintenance_allow": ["::/0"]},
            "aroundtheworld_maintenance_allow[0]: '::/0' ",
            "that is everybody",
        ),
        case(
            "everybody in parts",
            {"aroundtheworld_maintenance_allow": ["0.0.0.0/1", "128.0.0.0/1"]},
            "aroundtheworld_maintenance_allow: '0.0.0.0/1', '128.0.0.0/1' is not allowed; that is",
        ),
    ],
)
def test_variables_are_refused(changes, parts):
    (problem,) = problems_with(changes)
    for part in parts:
        assert part in problem


def test_a_scope_is_what_closes():
    pools = [{"name": "public", "open_in_maintenance": False}]
    pools += [{"name": name, "open_in_maintenance": name == "admin"} for name in ("admin", "api")]
    found = {scope: closed_pools(scope, pools) for scope in ("public", "all", "admin", "api")}
    assert found == {
        "public": ["public", "api"],
        "all": ["public", "admin", "api"],
        "admin": ["admin"],
        "api": ["api"],
    }


def test_visitors_and_programs_learn_the_end():
    now = datetime(2126, 12, 24, 8, tzinfo=UTC)
    assert until_text(END, now) == "17:30 UTC"
    assert until_text(END, NOW) == "17:30 UTC on 2126-12-24"
    assert until_text(None, now) == ""
    assert retry_after(END, 600) == "Tue, 24 Dec 2126 17:30:00 GMT"
    assert retry_after(None, 600) == "600"
    assert json.loads(json_body("", None))["error"]["until"] is None


def test_the_page_has_reason_and_end_and_reads_well_without():
    def page(**maintenance):
        return render("maintenance.html.j2", {**variables_for({}), "maintenance": maintenance})

    text = page(reason="New <disks>", until="17:30 UTC")
    assert "New &lt;disks&gt;" in text
    assert "17:30 UTC" in text
    assert "in a few minutes" not in text
    assert "in a few minutes" in page(reason="", until="")


def test_the_secret_link_has_the_sites_name_or_the_hosts():
    health = {"scheme": "https", "host": "shop.example:8443"}
    assert way_in("shop", health, "h", "0a") == "https://shop.example:8443/.shop/enter/0a"
    health = {"scheme": "http", "host": "localhost"}
    assert way_in("shop", health, "192.0.2.7", "0a") == "http://192.0.2.7/.shop/enter/0a"


# --- On the host ---


class Systemd:
    """Notes what it is called for."""

    def __init__(self):
        self.calls = []

    def call(self, *arguments, check=True):
        self.calls.append(" ".join(arguments))
        return ""


class Host:
    """A host with a site, which closes and opens."""

    def __init__(self, root):
        self.layout = SiteLayout(root / "home", "shop", root)
        for directory in (self.layout.home, self.layout.units, self.layout.etc):
            directory.mkdir(parents=True)
        nginx = self.layout.nginx_files[0]
        nginx.parent.mkdir(parents=True)
        lines = [
            f"{self.layout.switch}/keys/",
            *(f"(-f /x/$shop_closed/{pool})" for pool in ("public", "admin")),
        ]
        nginx.write_text("\n".join([*lines, "    192.0.2.7 yes;", ""]))
        claim = {"site": "shop", "home": str(self.layout.home), "sockets": [], "pools": []}
        claim["has"] = belongings.nothing() | {"files": [str(nginx)]}
        self.layout.claim.write_text(json.dumps(claim))
        self.nginx, self.systemd = nginx, Systemd()
        self.switch = Switch(self.layout.home)

    def close(self, *, check=False, **changes):
        pool = {"name": "public", "ports": [10001], "command": False}
        usual = {
            "scope": "public",
            "pools": [pool],
            "allow": [],
            "reason": "",
            "until": "",
            "retry_after": "600",
            "page": "page",
            "json": "{}",
            "who": "ada",
            "name": "shop.example",
        }
        parameters = usual | changes
        return toggle.close_site(self.layout, self.systemd, parameters, check_mode=check)

    def open(self, *, check=False):
        return toggle.open_site(self.layout, self.systemd, {}, check_mode=check)

    def tree(self):
        return sorted(
            (str(path), path.lstat().st_ino, path.lstat().st_mtime_ns)
            for path in self.layout.root.rglob("*")
        )


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setattr(switches, "PATIENCE", 0)
    os.umask(0o022)
    return Host(tmp_path)


UNTIL = "2126-12-24T17:30:00+00:00"


def test_closing_is_changed_once_and_the_rest_stays(host):
    untouched = host.tree()
    assert host.close(check=True)["changed"]
    assert host.tree() == untouched
    assert host.close(until=UNTIL)["changed"]
    closed = host.tree()
    again = host.close(until=UNTIL, who="bob")
    assert (again["changed"], host.tree()) == (False, closed)
    assert again["token"] == host.switch.token()
    assert host.close(until=UNTIL, reason="x")["changed"]
    assert host.open(check=True)["changed"]
    assert host.open()["changed"]
    assert not host.open()["changed"]
    listed = belongings.files("shop", host.layout.root)
    assert listed == {host.nginx}
    names = {path.name for path in host.layout.root.rglob("*") if path.is_file()}
    assert names == {host.nginx.name, host.layout.claim.name}


def test_a_timer_opens_it_with_nothing_of_a_release(host):
    host.close(until=UNTIL)
    started = ["daemon-reload", "start -- shop-maintenance.timer"]
    assert host.systemd.calls == started
    link = host.layout.units / "timers.target.wants" / "shop-maintenance.timer"
    assert link.resolve() == host.layout.end_files[1]
    service, timer = (path.read_text() for path in host.layout.end_files)
    assert "OnCalendar=2126-12-24 17:30:00 UTC\n" in timer
    assert "Persistent=yes\n" in timer
    assert f"RequiresMountsFor={host.layout.home}\n" in service
    commands = [line for line in service.splitlines() if line.startswith("Exec")]
    home = host.layout.home
    assert commands == [
        f"ExecStart=/usr/bin/rm -f {home}/maintenance.html",
        "ExecStart=/usr/bin/sleep 1",
        f"ExecStart=/usr/bin/rm -rf {home}/maintenance",
    ]
    for text in (service, timer):
        assert text.startswith(belongings.mark("shop"))
    assert {*host.layout.end_files} <= belongings.files("shop", host.layout.root)
    assert host.layout.end_stamp.stat().st_mtime < time.time()
    host.systemd.calls.clear()
    host.close(until="2126-12-25T17:30:00+00:00")
    assert host.systemd.calls == [
        "stop -- shop-maintenance.timer shop-maintenance.service",
        *started,
    ]
    host.close()
    assert not any(path.exists() for path in (*host.layout.end_files, link.parent))


@pytest.mark.parametrize("verb", ["stop", "daemon-reload", "start"])
def test_a_change_of_the_end_that_was_cut_off_is_made_by_the_next_run(host, monkeypatch, verb):
    call = host.systemd.call

    def cut_off(*arguments, check=True):
        call(*arguments, check=check)
        if arguments[0] == verb:
            raise KeyboardInterrupt

    host.close(until=UNTIL)
    later = "2126-12-25T17:30:00+00:00"
    with monkeypatch.context() as patch:
        patch.setattr(host.systemd, "call", cut_off)
        with pytest.raises(KeyboardInterrupt):
            host.close(until=later)
    host.systemd.calls.clear()
    assert host.close(until=later)["changed"]
    assert host.systemd.calls[-1] == "start -- shop-maintenance.timer"
    assert not host.close(until=later)["changed"]


def test_a_unit_of_the_same_name_that_somebody_else_made_stays(host):
    unit = host.layout.end_files[0]
    unit.write_text("[Service]\nExecStart=/usr/local/bin/vacuum\n")
    assert host.close()["changed"]
    before = host.tree()
    with pytest.raises(toggle.RefusedError, match=r"shop-maintenance\.service, which the role did"):
        host.close(until=UNTIL)
    assert host.tree() == before
    assert host.open()["changed"]
    assert "vacuum" in unit.read_text()
    assert host.systemd.calls == []


def test_an_end_that_passes_before_the_timer_starts_is_made_up_for(host, monkeypatch):
    monkeypatch.setattr(toggle, "now", lambda: "2025-12-24T17:29:59+00:00")
    host.close(until="2025-12-24T17:30:00+00:00")
    end = datetime(2025, 12, 24, 17, 30, tzinfo=UTC).timestamp()
    assert host.layout.end_stamp.stat().st_mtime == end - 1


def test_the_end_is_set_before_the_site_is_closed(host, monkeypatch):
    def fail(*_):
        raise OSError("no room")

    monkeypatch.setattr(Switch, "close", fail)
    with pytest.raises(OSError, match="no room"):
        host.close(until=UNTIL)
    assert host.layout.end_files[1].exists()
    assert not host.layout.maintenance.exists()


def test_another_closing_keeps_since_when_and_the_secret_link(host):
    host.close(check=False)
    state = host.switch.directory / "state.json"
    before = {**json.loads(state.read_text()), "since": "2026-01-01T00:00:00+00:00"}
    state.write_text(json.dumps(before))
    token = host.switch.token()
    host.close(scope="admin", reason="x", who="bob")
    after = json.loads(state.read_text())
    assert (after["since"], after["who"], after["scope"]) == (before["since"], "bob", "admin")
    assert host.switch.token() == token
    assert len(list((host.switch.directory / "switches").iterdir())) == 1


def test_the_secret_link_is_over_https_where_nginx_has_a_certificate_for_its_name(host):
    assert host.close()["https"] is False
    lineage = Lineage("shop", host.layout.root)
    for directory in (lineage.renewal.parent, lineage.certificate.parent):
        directory.mkdir(parents=True)
    lineage.renewal.write_text(f"renew_hook = {lineage.hook}\n")
    lineage.certificate.write_text(certificates.root().issue("shop.example")[0])
    assert host.close()["https"] is True
    assert host.close(name="new.shop.example")["https"] is False


def test_answers_that_somebody_removed_are_put_back(host):
    host.close(scope="admin")
    (switch,) = (host.switch.directory / "switches").iterdir()
    shutil.rmtree(switch)  # also by a run that closed the site at the same moment
    assert host.close(scope="admin")["changed"]
    assert (switch / "page.json").read_text() == "{}"
    assert not host.close(scope="admin")["changed"]


def test_only_root_can_list_the_keys(host):
    host.close()
    assert stat.S_IMODE(host.switch.keys.stat().st_mode) == 0o711
    (key,) = host.switch.keys.iterdir()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_site_that_was_closed_by_hand_is_closed_and_can_be_opened(host):
    host.layout.maintenance.write_text("by hand")
    assert host.close()["changed"]
    assert host.open()["changed"]
    host.layout.maintenance.write_text("by hand")
    assert host.open()["changed"]
    assert not host.layout.maintenance.exists()


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"until": "2026-01-01T00:00:00+00:00"}, "in the past on this host"),
        (
            {"pools": [{"name": "api", "ports": [1], "command": False}], "scope": "api"},
            "'api' is not on this host yet",
        ),
    ],
    ids=["the host's clock", "an unknown pool"],
)
def test_what_does_not_fit_the_host_changes_nothing(host, changes, part):
    before = host.tree()
    with pytest.raises(toggle.RefusedError, match=part):
        host.close(**changes)
    assert host.tree() == before


@pytest.mark.parametrize("scope", ["public", "all"])
def test_a_pool_that_the_next_deployment_brings_does_not_keep_the_others_open(host, scope):
    pools = [{"name": name, "ports": [1], "command": False} for name in ("public", "new")]
    assert host.close(scope=scope, pools=pools)["changed"]
    assert host.layout.maintenance.exists()


def test_all_closes_a_pool_too_that_only_the_host_still_has(host):
    host.close(scope="all", reason="x")
    assert (host.switch.link / "closed" / "admin").exists()
    assert not host.close(scope="all", reason="x")["changed"]
    host.close(reason="x")
    assert not (host.switch.link / "closed").exists()


def test_what_a_deployment_makes_effective_is_said(host):
    (note,) = host.close(allow=["192.0.2.7", "192.0.2.8"])["notes"]
    assert "192.0.2.8 may come in only after" in note
    host.nginx.write_text("of a former version")
    (note,) = host.close()["notes"]
    assert "former version" in note
    with pytest.raises(toggle.RefusedError, match="Deploy first"):
        host.close(scope="all")


def test_how_much_ends_is_said_and_within_how_long(host, monkeypatch):
    control = host.layout.private(host.layout.service(10001), "control")
    control.parent.mkdir(parents=True)
    control.touch()
    ended = {"a": (3, 0, 5.0), "b": (0, 1, 20.0), "c": (0, 0, 60.0), "d": None}
    monkeypatch.setattr(streams.worker_client, "end_all_streams", lambda _: ended)
    pool = {"name": "public", "ports": [10001], "command": False}
    first, silent = host.close(pools=[pool])["notes"]
    assert first == "3 WebSockets and 1 event streams end within 20 seconds."
    assert silent.startswith("d: open WebSockets and streams go on")


def test_a_pool_with_a_command_is_left_alone_and_that_is_said(host):
    pool = {"name": "public", "ports": [10001], "command": True}
    (note,) = host.close(pools=[pool])["notes"]
    assert note.startswith("public: open WebSockets and streams go on")
    # It was closed already.
    assert host.close(pools=[pool], reason="x")["notes"] == []


def test_a_run_that_was_cut_off_has_the_next_one_end_what_is_open(host, monkeypatch):
    ended = []

    def end_streams(_, pools):
        ended.append([pool["name"] for pool in pools])
        if len(ended) == 1:
            raise KeyboardInterrupt
        return []

    monkeypatch.setattr(toggle, "end_streams", end_streams)
    host.layout.maintenance.write_text("by hand")
    with pytest.raises(KeyboardInterrupt):
        host.close()
    assert host.close(check=True)["changed"]
    assert host.close()["changed"]
    assert not host.close()["changed"]
    assert ended == [["public"]] * 2


# --- The task ---

plugin = load_python("action_plugins/aroundtheworld_maintenance.py")


@pytest.fixture
def act(monkeypatch):
    """Returns a function that runs the task, and returns the module's arguments and the output."""
    find_plugins()
    lines = []
    monkeypatch.setattr(plugin.display, "display", lines.append)
    defaults = load_yaml("defaults/main.yml") | {
        "aroundtheworld_home": "/var/lib/tornado/x",
        "aroundtheworld_secrets": {"password": trust_as_template("{{ of_the_vault }}")},
        "aroundtheworld_server_names": ["shop.example", "www.shop.example"],
    }

    def act(state="closed", *, check=False, https=True, **changes):
        action = plugin.ActionModule.__new__(plugin.ActionModule)
        action._task = SimpleNamespace(args={"state": state}, check_mode=check)
        action._templar = Templar(DataLoader(), {})
        arguments = {}

        def module(name, given, task_vars):
            arguments.update(given)
            token = {"token": "0a" * 16, "https": https} if given["state"] == "closed" else {}
            return {"changed": True, "notes": ["A note."], **token}

        action.module = module
        variables = defaults | {f"aroundtheworld_{key}": value for key, value in changes.items()}
        place = {"inventory_hostname": "web1", "ansible_search_path": [str(ROLE)]}
        result = action.act(variables | place)
        assert "0a" not in str(result)
        output = "\n".join(lines)
        lines.clear()
        return arguments, output

    return act


def test_the_task_prints_the_secret_link_and_nothing_else_has_it(act):
    arguments, output = act(maintenance_reason="New <disks>")
    link = f"http://shop.example/.aroundtheworld/enter/{'0a' * 16}"
    assert output.splitlines() == [
        "web1: A note.",
        f"web1: closed; the way in until it opens: {link}",
    ]
    assert [pool["name"] for pool in arguments["pools"]] == ["public"]
    assert "New &lt;disks&gt;" in arguments["page"]
    more = {"tls": "host", "https_port": 8443, "canonical_name": "www.shop.example"}
    assert "https://www.shop.example:8443/.aroundtheworld/enter/" in act(**more)[1]
    arguments, output = act(https=False, **more)
    assert "http://www.shop.example/.aroundtheworld/enter/" in output
    assert arguments["name"] == "www.shop.example"
    assert "http://web1/.aroundtheworld/enter/" in act(server_names=["_"])[1]


def test_check_mode_does_not_say_that_the_site_is_closed_as_it_would_be(act):
    assert act(check=True, maintenance_until="2126-12-24T18:30")[1] == "web1: A note."


@pytest.mark.usefixtures("berlin")
def test_the_task_says_which_end_it_understood(act):
    arguments, output = act(maintenance="all", maintenance_until="2126-12-24T18:30")
    assert "web1: closed until 2126-12-24 18:30 CET; the way in" in output
    assert arguments["until"] == "2126-12-24T17:30:00+00:00"
    assert arguments["retry_after"] == "Tue, 24 Dec 2126 17:30:00 GMT"
    assert "17:30 UTC on 2126-12-24" in arguments["page"]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"maintenance_untill": "18:30"}, "did you mean aroundtheworld_maintenance_until?"),
        ({"maintenance_until": 1110}, "Write it in quotes"),
        ({"maintenance_until": [1]}, "must be a text"),
        ({"maintenance": "adnim"}, "the name of a pool"),
        ({"maintenance_page": "nowhere.j2"}, "aroundtheworld_maintenance_page: "),
    ],
    ids=["name", "number", "list", "scope", "page"],
)
def test_the_task_refuses_bad_input(act, changes, part):
    with pytest.raises(BadInputError) as refused:
        act(**changes)
    assert part in str(refused.value)


def test_opening_takes_no_more_than_the_site(act):
    arguments, _ = act("open", pools="broken")
    assert arguments == {
        "site": "aroundtheworld",
        "home": "/var/lib/tornado/x",
        "state": "open",
    }
