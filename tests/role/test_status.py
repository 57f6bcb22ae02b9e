"""What `--tags status` says of a host."""

import datetime
import json
import time
from dataclasses import replace

import pytest
from ansible.module_utils.aroundtheworld import hold, journal, status, untrusted
from ansible.module_utils.aroundtheworld.certificate import parse
from ansible.module_utils.aroundtheworld.changelog import append_log
from ansible.module_utils.aroundtheworld.claims import KEYS
from ansible.module_utils.aroundtheworld.crashes import Crashes
from ansible.module_utils.aroundtheworld.data.journal import write_journal
from ansible.module_utils.aroundtheworld.data.undo_copies import record_path
from ansible.module_utils.aroundtheworld.layout import SiteLayout, SystemLayout
from ansible.module_utils.aroundtheworld.worker_client import SILENT, WorkerStatus

from tests.certificates import root
from tests.render import ADMIN, MODELS, PUBLIC, render, variables_for
from tests.role.acme.certificates import make
from tests.role.rendered import unit_texts

GROUP = "/aroundtheworld.slice/aroundtheworld-admin.slice"


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        (
            ["cpu.weight", "io.weight", "memory.high", "memory.max", "pids.max"],
            [],
        ),
        (
            ["cpu.weight", "memory.high", "memory.max", "pids.max"],
            ["io_weight"],
        ),
        ([], ["cpu_weight", "io_weight", "memory_high", "memory_max", "tasks_max"]),
    ],
)
def test_limits_that_the_kernel_lacks_are_told_with_one_tree(tmp_path, files, missing):
    group = tmp_path / GROUP.strip("/")
    group.mkdir(parents=True)
    for file in files:
        (group / file).touch()
    assert status.not_enforced(GROUP, tmp_path) == missing


def test_limits_that_the_kernel_lacks_are_told_with_a_tree_for_each_controller(tmp_path):
    for file in ("cpu,cpuacct/cpu.shares", "memory/memory.limit_in_bytes", "pids/pids.max"):
        tree, _, name = file.partition("/")
        group = tmp_path / tree / GROUP.strip("/")
        group.mkdir(parents=True)
        (group / name).touch()
    assert status.not_enforced(GROUP, tmp_path) == ["io_weight", "memory_high"]


READY = WorkerStatus("0123456789ab", "c0ffee", "public", "ready", uptime_seconds=3)
BUSY = replace(READY, busy_seconds=12.34, busy_in="Report.get")
COMMAND = WorkerStatus(release="0123456789ab", config="c0ffee", pool="desk")


@pytest.mark.parametrize(
    ("answer", "about"),
    [
        (READY, ""),
        (BUSY, "busy for 12.3 s in Report.get"),
        (COMMAND, "a command of its own"),
        (SILENT, "does not answer on its control socket"),
    ],
)
def test_what_a_worker_is_doing_is_said(answer, about):
    assert status.about("shop@10001.service", answer, None) == about


@pytest.mark.parametrize(
    ("crashes", "last", "expected"),
    [
        (
            Crashes(7, 32.4, "status 1"),
            "RuntimeError: no database\x1b[2J",
            "crashed 7 times (status 1), next start in 32 s: RuntimeError: no database?[2J",
        ),
        (Crashes(1, 0.2, "oom-kill"), "", "crashed (oom-kill), next start in 0 s"),
        (Crashes(2, None, ""), "x" * 1000, f"crashed 2 times: {'x' * 299}…"),
    ],
)
def test_how_a_worker_crashes_is_said_with_its_last_line(crashes, last, expected, monkeypatch):
    monkeypatch.setattr(status, "journal_lines", lambda matches, lines: last)
    assert status.about("shop@10001.service", READY, crashes) == expected


def worker(port=10001, active="active", crashes=None, answer=READY, about=""):
    return status.ObservedWorker(f"shop@{port}.service", port, active, crashes, answer, about)


RELEASE = READY.release
CRASHES = Crashes(2, None, "")


@pytest.mark.parametrize(
    ("workers", "release", "problems"),
    [
        ([worker(), worker(10004, answer=COMMAND)], RELEASE, []),
        ([], "", ["no release is deployed"]),
        ([worker(crashes=CRASHES, about="crashed")], RELEASE, ["shop@10001 crashed"]),
        ([worker(active="inactive", answer=SILENT)], RELEASE, ["shop@10001 is inactive"]),
        ([worker(answer=SILENT, about="is silent")], RELEASE, ["shop@10001 is silent"]),
        ([worker()], "ba98", [f"shop@10001 runs release {RELEASE}, not ba98"]),
        ([worker(answer=replace(READY, state="draining"))], RELEASE, ["shop@10001 is draining"]),
    ],
)
def test_a_site_is_well_only_when_every_worker_serves_the_release(workers, release, problems):
    assert list(status.worker_problems(workers, release, rollout=False)) == problems


def test_workers_that_a_run_is_replacing_are_no_problem_but_crashes_are():
    replaced = [worker(active="inactive", answer=SILENT), worker(answer=SILENT)]
    assert not list(status.worker_problems(replaced, RELEASE, rollout=True))
    crashing = [worker(crashes=CRASHES, about="crashed")]
    assert list(status.worker_problems(crashing, RELEASE, rollout=True)) == ["shop@10001 crashed"]


class FakeModule:
    """Knows the packages of a host on which an upgrade of Debian was cut off."""

    def run_command(self, command):
        assert command[0] == "dpkg-query"
        return 0, "nginx unpacked\nsystemd installed\n", ""


class FakeSystemd:
    """Has a worker that is in memory, and knows nothing of another."""

    module = FakeModule()

    def loaded(self, pattern):
        return {"shop@10001.service"} if "@" in pattern else set()

    def show(self, units, more=()):
        states = {"shop@10001.service": "active", "nginx.service": "inactive"}
        return {unit: {"ActiveState": states.get(unit, "inactive")} for unit in units}


def test_a_worker_that_should_be_there_and_is_not_is_listed(tmp_path):
    layout = SiteLayout(tmp_path / "home", "shop", tmp_path)
    layout.etc.mkdir(parents=True)
    socket = {"address": "127.0.0.1", "variable": "aroundtheworld_pools"}
    claim = dict.fromkeys(KEYS, "")
    claim["sockets"] = [{**socket, "port": 10001}, {**socket, "port": 10002}]
    layout.claim.write_text(json.dumps(claim))
    workers = status.observe_workers(FakeSystemd(), layout, {"shop@10001.service"})
    assert [(worker.port, worker.active) for worker in workers] == [
        (10001, "active"),
        (10002, "inactive"),
    ]


def test_workers_without_ports_are_known_by_the_sites_own_units(tmp_path):
    layout = SiteLayout(tmp_path / "home", "shop", tmp_path)
    own = {"shop@mail-1.service", "shop@10001.service", "shop@10001.socket", "shop-mail.slice"}
    workers = status.observe_workers(FakeSystemd(), layout, own)
    assert [(worker.unit, worker.port, worker.active) for worker in workers] == [
        ("shop@10001.service", 10001, "active"),
        ("shop@mail-1.service", None, "inactive"),
    ]
    problems = status.worker_problems(workers, RELEASE, rollout=False)
    assert "shop@mail-1 is inactive" in list(problems)
    assert status.about("shop@mail-1.service", COMMAND, None) == "takes work from a queue"
    assert status.about("shop@10004.service", COMMAND, None) == "a command of its own"


class CrashingSystemd:
    """Has a worker that waits for its next start, and another unit of an operator's."""

    def loaded(self, pattern):
        return {"shop@10001.service", "shop@backup.service"}

    def show(self, units, more=()):
        properties = {
            "ActiveState": "activating",
            "SubState": "auto-restart",
            "NRestarts": "6",
            "Result": "exit-code",
            "ExecMainCode": "1",
            "ExecMainStatus": "1",
            "RestartUSec": "1min",
            "StateChangeTimestampMonotonic": str(int(time.monotonic() * 1e6)),
        }
        shown = {name: properties.get(name, "") for name in ("ActiveState", *more)}
        return dict.fromkeys(units, shown)


def test_a_worker_that_crashes_is_found_and_its_own_journal_is_read(tmp_path, monkeypatch):
    read = []

    def journal_lines(matches, lines):
        read.append((matches, lines))
        return "no database"

    monkeypatch.setattr(status, "journal_lines", journal_lines)
    layout = SiteLayout(tmp_path / "home", "shop", tmp_path)
    (worker,) = status.observe_workers(CrashingSystemd(), layout, {"shop@10001.service"})
    assert (worker.crashes.times, worker.crashes.cause) == (7, "status 1")
    assert worker.crashes.next_start == pytest.approx(60, abs=30)
    assert worker.about.endswith(" s: no database")
    described = worker.to_json()
    assert described["crashes"] == worker.crashes._asdict()
    assert (described["unit"], described["port"]) == ("shop@10001.service", 10001)
    assert (described["active"], described["state"]) == ("activating", "")
    assert read == [(["_SYSTEMD_UNIT=shop@10001.service"], 1)]


def test_the_status_says_that_nginx_does_not_run_and_that_a_revert_failed(tmp_path, monkeypatch):
    home = tmp_path / "home"
    (home / "releases" / RELEASE).mkdir(parents=True)
    (home / "current").symlink_to(f"releases/{RELEASE}")
    entry = {"time": "", "who": "", "verb": "", "from": "", "to": "", "cause": "", "phases": []}
    append_log(home, {**entry, "outcome": "failed"})
    known = status.site_status(FakeSystemd(), SiteLayout(home, "shop", tmp_path), 5)
    assert known["problems"][1:] == [  # after what the fake host's packages are
        "nginx does not run",
        "the last change failed, and so did its revert",
    ]


def test_the_status_says_what_an_upgrade_of_debian_left(tmp_path):
    layout = SiteLayout(tmp_path / "home", "shop", tmp_path)
    environment = layout.environment("c0ffee")
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(tmp_path / "usr" / "bin" / "python3.11")
    (environment / "pyvenv.cfg").write_text("version = 3.11.2\n")
    drop_in = layout.drop_in("shop@10001.service")
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text(f"ExecStart={environment}/bin/python -m aroundtheworld_runner\n")
    layout.etc.mkdir(parents=True)
    claim = {**dict.fromkeys(KEYS, ""), "site": "shop", "sockets": [], "pools": []}
    claim["has"] = {"files": [str(drop_in)], "directories": [], "users": []}
    layout.claim.write_text(json.dumps(claim))
    problems = status.site_status(FakeSystemd(), layout, 5)["problems"]
    assert any("its packages are for Python 3.11, which this host lost" in why for why in problems)
    assert any("an upgrade of Debian was cut off, nginx are" in why for why in problems)


def test_the_status_says_that_an_exchange_of_the_data_was_cut_off(tmp_path, monkeypatch):
    layout = SiteLayout(tmp_path / "home", "shop", tmp_path)
    undo = record_path(layout)
    undo.parent.mkdir(parents=True)
    undo.write_text(json.dumps({"copy": "", "left": "", "from": "", "to": "r1", "closing": {}}))
    write_journal(layout, {"phase": "exchanging", "backup": "8e5b80f3"})
    problems = status.site_status(FakeSystemd(), layout, 5)["problems"]
    assert any("restore of the backup 8e5b80f3 was cut off" in why for why in problems)
    assert any("to release r1 with its data was cut off" in why for why in problems)
    monkeypatch.setattr(status, "is_under_way", lambda site: True)
    problems = status.site_status(FakeSystemd(), layout, 5)["problems"]
    assert not any("cut off, and the site stands still" in why for why in problems)


def test_the_status_says_who_holds_the_site(tmp_path):
    SystemLayout("shop", hold.ROOT).etc.mkdir(parents=True)
    hold.hold_site("shop", "ada on desk", "the disk is being replaced")
    (lock,) = status.site_status(FakeSystemd(), SiteLayout(tmp_path, "shop", tmp_path), 5)["locks"]
    assert lock.startswith("ada on desk has locked this site since ")


JOURNALCTL = """\
#!/bin/sh
echo "$@" >{directory}/arguments
printf 'first\\n\\033[2Jsecond\\377\\n'
{more}
"""


@pytest.fixture
def journalctl(tmp_path, monkeypatch):
    """Returns a function that puts a script in the place of journalctl."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def write(more=""):
        script = tmp_path / "journalctl"
        script.write_text(JOURNALCTL.format(directory=tmp_path, more=more))
        script.chmod(0o755)

    return write


def test_the_journal_is_read_without_what_moves_a_terminal(journalctl, tmp_path):
    journalctl()
    assert journal.journal_lines(["_SYSTEMD_UNIT=x"], 5) == "first\n?[2Jsecond\ufffd"
    assert (tmp_path / "arguments").read_text().split()[-2:] == ["--lines=5", "_SYSTEMD_UNIT=x"]


def test_a_journal_without_end_is_read_to_a_limit(journalctl):
    journalctl("exec yes")
    begun = time.monotonic()
    lines = journal.journal_lines(["x"], 20).split("\n")
    assert len(lines) == 20
    assert time.monotonic() - begun < 5


def test_a_host_without_a_journal_says_nothing(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert journal.journal_lines(["x"], 5) == ""


def test_how_a_process_calls_itself_is_shown_and_not_obeyed(tmp_path):
    """Anybody on the host may name a process, in 15 bytes that need not be text."""
    (tmp_path / "comm").write_bytes(b"\x1b[2J\xffnginx\n")
    assert untrusted.process_name(tmp_path) == "?[2J\ufffdnginx"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("one\r\ntwo\x1b[2J", "one\ntwo?[2J"), ("\n".join("abc"), "b\nc"), ("x" * 9, "xxxx…")],
)
def test_lines_of_others_are_cut_and_made_printable(text, shown):
    assert untrusted.printable_lines(text, 2, 9 if "two" in text else 5) == shown


def test_directives_of_the_operators_own_are_found_in_the_units_of_their_pool(tmp_path):
    complete = variables_for(MODELS["own_directives"])
    layout = SiteLayout(tmp_path, complete["aroundtheworld_site"], tmp_path)
    for path, text in unit_texts(complete).items():
        (layout.units / path).parent.mkdir(parents=True, exist_ok=True)
        (layout.units / path).write_text(text)
    units = [layout.service(port) for port in (10001, 10004, 10009)]  # the last has no file
    paths = [layout.drop_in(unit) for unit in units]
    lines = ["LimitNOFILE=65536", "ReadWritePaths=-/srv/a", "ReadWritePaths=-/srv/b"]
    assert status.own_directives(paths) == {"admin": lines}


def test_directives_are_found_in_the_unit_of_a_job(tmp_path):
    text = unit_texts(variables_for(MODELS["jobs"]))["aroundtheworld-job-nightly.service"]
    (tmp_path / "unit").write_text(text)
    found = status.own_directives([tmp_path / "unit"])
    assert found == {"nightly": ["LimitNOFILE=65536"]}


CLAIM = {"site": "shop", "https_port": 443, "server_names": ["www.example.org", "example.org"]}


@pytest.mark.parametrize(
    ("names", "age", "problems"),
    [
        (["www.example.org", "example.org"], 74, []),
        (["*.example.org", "example.org"], 0, []),
        (["www.example.org"], 0, ["the certificate is not for example.org"]),
        (
            ["www.example.org", "example.org"],
            76,
            ["the certificate ends at {}, and half of the last third of its lifetime is gone"],
        ),
    ],
)
def test_the_certificate_is_the_one_that_nginx_shows(monkeypatch, names, age, problems):
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    made = parse(make(names, 90, now - datetime.timedelta(days=age)).der)
    monkeypatch.setattr(status, "served", lambda port, name: {(443, names[0]): made}[port, name])
    end = (now + datetime.timedelta(days=90 - age)).isoformat()
    claim = {**CLAIM, "server_names": [names[0], *CLAIM["server_names"]]}
    monkeypatch.setattr(status, "host_name", lambda name, site: name)
    assert status.certificate_status(claim) == (
        {"names": names, "end": end},
        [problem.format(end) for problem in problems],
    )


def test_https_without_a_certificate_is_a_problem_and_a_site_without_https_has_none(monkeypatch):
    def served(port, name):
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(status, "served", served)
    problem = "nginx shows no certificate on port 443 (refused)"
    assert status.certificate_status(CLAIM) == (None, [problem])
    assert status.certificate_status({**CLAIM, "https_port": 0}) == (None, [])
    assert status.certificate_status({}) == (None, [])


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, {}),
        (
            {"allow": ["192.0.2.0/24", "::1"], "rate": "30/m", "http_port": 8081},
            {"admin": "on port 8081; from 192.0.2.0/24, ::1; at 30/m an address"},
        ),
        (
            {"basic_auth": ["ada"], "server_names": ["admin.example"], "client_ca": root().pem},
            {"admin": "under admin.example; by password of ada; by certificate of its CA"},
        ),
    ],
)
def test_who_may_ask_a_pool_is_read_from_what_nginx_has(tmp_path, more, expected):
    variables = {
        "aroundtheworld_pools": [PUBLIC, {**ADMIN, **more}],
        "aroundtheworld_passwords": {"ada": "secret"},
        "aroundtheworld_server_names": ["shop.example", "admin.example"],
        "aroundtheworld_tls": "acme",
        "aroundtheworld_acme_email": "ada@shop.example",
    }
    layout = SystemLayout("aroundtheworld", tmp_path)
    assert status.access(layout) == {}
    layout.nginx_files[0].parent.mkdir(parents=True)
    layout.nginx_files[0].write_text(render("site.conf.j2", variables_for(variables)))
    assert status.access(layout) == expected
