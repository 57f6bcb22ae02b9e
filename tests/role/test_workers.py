"""What the workers' module tells systemd, from what it finds."""

import contextlib
import dataclasses
import fnmatch
import functools
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest
from ansible.module_utils.aroundtheworld import lock
from ansible.module_utils.aroundtheworld.changelog import last_good
from ansible.module_utils.aroundtheworld.layout import SiteLayout, SystemLayout
from ansible.module_utils.aroundtheworld.rollout import (
    canary,
    gate,
    judgement,
    observed,
    phases,
    revert,
    unit_files,
    units,
)
from ansible.module_utils.aroundtheworld.worker_client import SILENT, WorkerHealth, parse_health

from tests.matrix import chosen
from tests.render import ADMIN, PUBLIC, render, variables_for
from tests.role.conftest import OWNER
from tests.role_files import load_python

workers = load_python("library/aroundtheworld_workers.py")
belongings = sys.modules["ansible.module_utils.aroundtheworld.belongings"]
claims = sys.modules["ansible.module_utils.aroundtheworld.claims"]

FIRST, SECOND = "111111111111", "222222222222"
OFTEN = ("migrate.service", "trial.service")
LINKS = {"service": "multi-user.target.wants", "socket": "sockets.target.wants"}


def heard(said):
    """Returns what the module hears of it."""
    if "state" in said:
        return parse_health(json.dumps(said).encode())
    return WorkerHealth(said["release"], said["config"]) if said else SILENT


class CutOffError(BaseException):
    """The module's process was killed here, so it does nothing any more."""


class Host:
    """What of a host the module sees: unit files, what systemd has read of them, workers."""

    def __init__(self, directory):
        self.root = directory
        self.units = directory / "etc/systemd/system"
        self.home = directory / "home"
        self.secrets = directory / "secrets"
        for made in (self.units, self.home, self.secrets):
            made.mkdir(parents=True)
        (self.secrets / "cookie_secret").write_text("x")
        self.claim = SystemLayout("aroundtheworld", directory).claim
        self.claim.parent.mkdir(parents=True)
        nothing = {"http_port": 80, "server_names": ["_"], "pools": [], "sockets": []}
        about = {"site": "aroundtheworld", "home": str(self.home), "user": "tornado"}
        self.claim.write_text(claims.claim_text(about | nothing | {"has": belongings.nothing()}))
        self.read = {}  # unit files as systemd knows them
        self.running = {}  # name of a service to what its process says and when it started
        self.listening = {}  # name of a socket to its address
        self.bound = set()  # services that bind their port themselves
        self.calls = []
        self.migrated = []  # releases for which the migration ran
        self.unmigratable = set()  # releases of which it fails
        self.results = {}  # name of a unit to how systemd says that it ended
        self.tried = 0  # how often commands were tried
        self.prepared = []  # releases for which the preparation ran
        self.cut_off_at = None
        self.dead = False
        self.late = None  # what befalls the module while systemd restarts something
        self.pending, self.delay = [], 0  # what it has still to restart, after so many calls
        self.counts = {}  # kind of an event to how many there were
        self.disturbed = None  # kind of an event, its number, and what befalls the module then
        self.broken = set()  # services that do not become ready
        self.sick = set()  # releases that answer the health path with an error
        self.statuses = {}  # by release, how it answers the health path
        self.checks = []  # which release was asked, and how
        self.crippled = set()  # releases that speak against themselves as the canary
        for release in (FIRST, SECOND):
            (self.home / "releases" / release).mkdir(parents=True)
            (self.home / "releases" / release / "venv").symlink_to("../../environments/e")
        (self.home / "environments" / "e").mkdir(parents=True)
        self.refused = set()  # releases of which the preparation fails

    def lives(self):
        """Raises `CutOffError` when the module's process is no more."""
        if self.dead:
            raise CutOffError

    def happens(self, kind):
        """Counts an event, at which a test may disturb the module, once."""
        number = self.counts[kind] = self.counts.get(kind, -1) + 1
        if self.disturbed and self.disturbed[:2] == (kind, number):
            disturb, self.disturbed = self.disturbed[2], None
            disturb()

    # --- What the module calls instead of systemctl and the private sockets

    def call(self, *arguments, check=True):
        verb, names = arguments[0], [one for one in arguments[1:] if not one.startswith("-")]
        if self.cut_off_at == len(self.calls):
            self.dead = True
            raise CutOffError
        if verb == "restart" and self.late:
            # systemd begins, and carries it out while the module is interrupted meanwhile.
            interrupt, self.late = self.late, None
            self.pending = names
            self.calls.append(" ".join([verb, *names]))
            interrupt()
        self.happens("call")
        self.delay -= 1
        while self.pending and (self.delay < 0 or verb == "restart"):
            self._restart(self.pending.pop())  # with what systemd has read by now
        self.calls.append(" ".join([verb, *names]))
        for name in names:
            getattr(self, f"_{verb.replace('-', '_')}", lambda name: None)(name)
        if verb == "daemon-reload":
            self.read = self._files()
            # What systemd holds for an address that its unit does not name any more, it closes.
            for name, address in list(self.listening.items()):
                if self._address(name) != address:
                    self.listening[name] = None
        return ""

    def show(self, names):
        return {name: self._show(name) for name in names}

    def loaded(self, pattern):
        return set(fnmatch.filter([*self.running, *self.listening], pattern))

    def addresses(self):
        bound = {f"0.0.0.0:{name.partition('@')[2][:5]}" for name in self.bound}
        return set(self.listening.values()) | bound | {"0.0.0.0:22"}

    def journal(self, unit, since=None):
        return f"(the journal of {unit})"

    def _behind(self, private):
        infix, _, port = private.parent.name.rpartition("-")
        return f"aroundtheworld{'-' if infix else ''}{infix}@{port}.service"

    def health(self, control):
        self.happens("look")
        said = dict(self.running.get(self._behind(control), ({}, 0))[0])
        if said.get("release") in self.crippled and said["state"] == "ready":
            said |= {"busy_seconds": 7.5, "busy_in": "Slow.get"}
        return heard(said)

    def healths(self, controls):
        return {key: self.health(control) for key, control in controls.items()}

    def accept(self, control):
        self.running[self._behind(control)][0]["state"] = "ready"

    def problem(self, check, app):
        if isinstance(app, str):  # a command, or its stand-in
            port = app.rpartition(":")[2]
            names = [f"aroundtheworld{infix}@{port}.service" for infix in ("-handover", "")]
            answering = next(name for name in names if name in self.running)
        else:
            answering = self._behind(app)
        release = self.running[answering][0]["release"]
        self.checks.append((release, check))
        if (status := self.statuses.get(release, 200)) and not check.allows(status):
            return check.wrong(status)
        sick = release in self.sick
        return f"it answers {check.path} with status 500" if sick else ""

    # --- systemd

    def _files(self):
        files = {}
        for directory, inner, names in os.walk(self.units):
            if directory == str(self.units):
                inner[:] = (name for name in inner if not name.startswith("."))
                names = (name for name in names if not name.startswith("."))
            paths = (Path(directory, name) for name in names)
            files |= {path: text for path in paths if (text := self._file(path)) is not None}
        return files

    @staticmethod
    def _file(path):
        """Returns the text of a file; none of a link or of what is not there."""
        return path.read_text() if path.is_file() and not path.is_symlink() else None

    def _sources(self, name):
        stem, _, kind = name.rpartition(".")
        template = self.units / f"{stem.partition('@')[0]}{'@' if '@' in stem else ''}.{kind}"
        return [template, self.units / f"{name}.d" / "pool.conf"]

    def _show(self, name):
        kind = name.rpartition(".")[2]
        stale = any(self._file(path) != self.read.get(path) for path in self._sources(name))
        known = name in self.running or name in self.listening or kind == "slice"
        linked = (self.units / LINKS.get(kind, "") / name).is_symlink()
        shown = {
            "Id": name,
            "ActiveState": "active" if known else "inactive",
            "UnitFileState": "enabled" if linked else "disabled",
            "NeedDaemonReload": "yes" if stale and self.read else "no",
        }
        if name in self.running:
            shown["ExecMainStartTimestampMonotonic"] = str(int(self.running[name][1] * 1e6))
        return shown

    def _text(self, name):
        # Of a unit that systemd does not know yet it reads the files now.
        sources = self._sources(name)
        disk = {path: self._file(path) for path in sources if path not in self.read}
        self.read = self.read | {path: text for path, text in disk.items() if text is not None}
        return "".join(self.read.get(path, "") for path in sources)

    def _address(self, name):
        port = name.partition("@")[2].rpartition(".")[0]
        return re.search(r"^ListenStream=(.*)$", self._text(name), re.M)[1].replace("%i", port)

    def _start(self, name):
        text = self._text(name)
        port = name.partition("@")[2].rpartition(".")[0]
        if name.endswith(".socket"):
            self.listening.setdefault(name, self._address(name))
        elif name.endswith("-prepare.service"):
            release = re.search(r"/releases/(\w+)/app$", text, re.M)[1]
            if release in self.refused:
                raise workers.HostError("systemctl start failed")
            self.prepared.append(release)
        elif name.endswith("-migrate.service"):
            release = re.search(r"/releases/(\w+)/app$", text, re.M)[1]
            if release in self.unmigratable:
                raise workers.HostError("systemctl start failed")
            self.migrated.append(release)
        elif name.endswith("-trial.service"):
            self.tried += 1
        elif name.endswith("-metrics.service"):
            self.running[name] = ({"text": text}, time.monotonic())
        elif name not in self.running:
            kind = (re.findall(r"AROUNDTHEWORLD_KIND=(.*)$", text, re.M) or ["runner"])[0]
            listens = bool(self.listening.get(f"aroundtheworld@{port}.socket"))
            assert listens is (kind != "binds"), "a worker and its socket do not fit"
            if kind == "binds":
                self.bound.add(name)
            said = {
                "release": re.search(r"AROUNDTHEWORLD_RELEASE=(.*)$", text, re.M)[1],
                "config": re.search(r"AROUNDTHEWORLD_CONFIG=(.*)$", text, re.M)[1],
                "state": "held" if "-handover@" in name else "ready",
                "responses": {"2xx": 100},
                "busy_seconds": 0.0,
                "busy_in": None,
                "loop_lag_seconds": {"max": 0.0},
                "latency_seconds": {"buckets": [[0.01, 100]]},
            }
            if kind != "runner":
                if name in self.broken:
                    return
                said = {key: said[key] for key in ("release", "config")}
            self.running[name] = ({} if name in self.broken else said, time.monotonic())

    def _stop(self, name):
        self.running.pop(name, None)
        self.listening.pop(name, None)
        self.bound.discard(name)

    def _restart(self, name):
        self._stop(name)
        self._start(name)

    def _enable(self, name):
        link = self.units / LINKS[name.rpartition(".")[2]] / name
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(self._sources(name)[0])

    def _disable(self, name):
        (self.units / LINKS[name.rpartition(".")[2]] / name).unlink(missing_ok=True)

    # --- What a test asks

    def releases(self):
        return {
            int(name.partition("@")[2].removesuffix(".service")): said.get("release")
            for name, (said, _) in self.running.items()
            if "-handover@" not in name and "@" in name
        }

    def log(self):
        return [json.loads(line) for line in (self.home / "deploys.jsonl").read_text().splitlines()]

    def restarts(self):
        """Returns what was started and stopped, but for what has tests of its own."""
        calls = [one for one in self.calls if one.startswith(("start ", "restart ", "stop "))]
        return [one for one in calls if one.partition("-")[2] not in OFTEN]

    def snapshot(self):
        links = sorted(path.name for path in self.units.glob("*.wants/*"))
        current = self.home / "current"
        running = {name: said for name, (said, _) in self.running.items()}
        target = current.readlink() if current.is_symlink() else None
        return self._files(), links, self.read, running, dict(self.listening), target


KINDS = {
    "runner": {},
    "takes": {"command": "serve"},
    "binds": {"command": "serve {port}", "binds": True},
}


@functools.cache
def units_text(ports, address, secrets, kinds, metrics=0):
    pools = [PUBLIC | {"ports": list(ports[0])} | KINDS[kinds[0]]]
    if ports[1]:
        pools.append(ADMIN | {"ports": list(ports[1])} | KINDS[kinds[1]])
    variables = variables_for(
        {
            "aroundtheworld_pools": pools,
            "aroundtheworld_listen_address": address,
            "aroundtheworld_secrets": dict.fromkeys(secrets, "generate"),
            "aroundtheworld_metrics_port": metrics,
        }
    )
    plan = variables["__aroundtheworld_plan"]
    plan["release"]["id"] = "@RELEASE@"
    return render("units.j2", variables), plan["workers"]


@pytest.fixture
def host(tmp_path, monkeypatch):
    host = Host(tmp_path)
    monkeypatch.setattr(workers, "SiteLayout", functools.partial(SiteLayout, root=tmp_path))
    monkeypatch.setattr(workers, "Systemd", lambda module: host)
    monkeypatch.setattr(workers, "HostSockets", lambda: host)
    revert_all = revert.Revert.run
    monkeypatch.setattr(revert.Revert, "run", lambda *all: host.lives() or revert_all(*all))
    write = unit_files.write_atomically
    monkeypatch.setattr(
        unit_files, "write_atomically", lambda *all: host.happens("write") or write(*all)
    )
    clock = Clock()
    for room in (observed, gate, canary, phases):
        monkeypatch.setattr(room, "time", clock)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    return host


class Clock:
    """The time, but nobody waits for it to pass."""

    def __init__(self):
        self.slept = 0.0

    def time(self):
        return time.time() + self.slept

    def monotonic(self):
        return time.monotonic() + self.slept

    def sleep(self, seconds):
        self.slept += seconds


@pytest.fixture
def run(host, run_module):
    """Returns a function that runs the module for a release and returns its result."""

    def run(
        release=FIRST,
        *,
        ports=((10001, 10002, 10003), (10004,)),
        address="127.0.0.1",
        secrets=("cookie_secret",),
        kinds=("runner", "runner"),
        metrics=0,
        change=lambda text: text,
        **more,
    ):
        host.calls.clear()
        host.dead = False
        text, wanted = units_text(ports, address.strip("[]"), secrets, kinds, metrics)
        text = text.replace("/etc/systemd/system", str(host.units)).replace("@RELEASE@", release)
        return run_module(
            workers,
            site="aroundtheworld",
            home=str(host.home),
            release=release,
            address=address,
            units=change(text),
            workers=wanted,
            watch=[str(host.secrets)],
            key=str(host.secrets.parent / "settings.key"),
            **more,
        )

    run.failed = run_module.failed
    return run


EVERY_WORKER_ON_FIRST = dict.fromkeys([10001, 10002, 10003, 10004], FIRST)


def exchange(*batches):
    """Returns what systemd is told to exchange workers, each by its port or several at once."""
    calls = []
    for batch in batches:
        ports = batch if isinstance(batch, tuple) else (batch,)
        services = " ".join(f"aroundtheworld@{port}.service" for port in ports)
        stand_ins = services.replace("@", "-handover@")
        calls += [f"stop {stand_ins}", f"start {stand_ins}"]
        calls += [f"restart {services}", f"stop {stand_ins}"]
    return calls


def test_a_bare_host_gets_all_workers(host, run):
    result = run()
    assert result["changed"]
    assert host.releases() == EVERY_WORKER_ON_FIRST
    assert host.listening["aroundtheworld@10001.socket"] == "127.0.0.1:10001"
    assert host.prepared == [FIRST]
    assert (host.home / "current").readlink() == Path("releases") / FIRST
    assert sorted(path.name for path in host.units.glob("*.wants/*")) == sorted(
        f"aroundtheworld@{port}.{kind}" for port in EVERY_WORKER_ON_FIRST for kind in LINKS
    )


def test_a_second_run_does_nothing(host, run):
    run()
    result = run()
    assert (result["changed"], result["steps"], result["orphans"]) == (False, [], [])
    assert host.calls == []


def test_another_release_comes_to_blocking_workers_first_then_to_one_public_one(host, run):
    run()
    result = run(SECOND)
    assert host.restarts() == [
        "start aroundtheworld-prepare.service",
        *exchange(10004, 10001, (10002, 10003)),
    ]
    assert set(host.releases().values()) == {SECOND}
    assert host.prepared == [FIRST, SECOND]
    assert (
        f"replace aroundtheworld@10001.service (public), because it runs release {FIRST}"
        in result["steps"]
    )


@pytest.mark.parametrize("back", [False, True], ids=["to a release", "back"])
def test_a_stand_in_takes_nothing_of_its_workers_memory(host, run, monkeypatch, back):
    def start(name):
        if "-handover@" in name:
            used.append(re.search(r"^Slice=(.*)$", host._text(name), re.M)[1])
        original(name)

    run()
    original, used = host._start, []
    monkeypatch.setattr(host, "_start", start)
    if back:
        host.broken.add("aroundtheworld-handover@10003.service")
    with pytest.raises(run.failed) if back else contextlib.nullcontext():
        run(SECOND)
    assert set(used) == {f"aroundtheworld-{pool}.handover.slice" for pool in ("admin", "public")}
    assert len(used) == (6 if back else 4)


def test_only_workers_that_do_not_run_the_release_are_restarted(host, run):
    run()
    said, started = host.running["aroundtheworld@10002.service"]
    host.running["aroundtheworld@10002.service"] = (said | {"release": SECOND}, started)
    result = run()
    assert host.restarts() == ["start aroundtheworld-prepare.service", *exchange(10002)]
    assert f"because it runs release {SECOND}" in result["steps"][-1]


def test_a_worker_that_does_not_run_is_started(host, run):
    run()
    host._stop("aroundtheworld@10003.service")
    result = run()
    assert host.restarts()[-1] == "start aroundtheworld@10003.service"
    assert "because it is not running" in result["steps"][-1]
    assert host.releases() == EVERY_WORKER_ON_FIRST


def test_a_worker_that_does_not_answer_is_restarted(host, run):
    run()
    host.running["aroundtheworld@10003.service"] = ({}, time.monotonic())
    result = run()
    assert host.restarts()[1:] == exchange(10003)
    assert "because it does not answer on its private socket" in result["steps"][-1]


def test_a_secret_with_another_content_restarts_all_workers(host, run):
    run()
    (host.secrets / "cookie_secret").write_bytes(b"other\r\n\xff")
    result = run()
    assert host.restarts()[1:] == exchange(10004, 10001, (10002, 10003))
    assert "because its settings changed" in result["steps"][-1]
    assert run()["steps"] == []


def test_a_secret_that_was_written_anew_with_the_same_content_restarts_nothing(host, run):
    run()
    path = host.secrets / "cookie_secret"
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    assert run()["steps"] == []


def test_the_id_of_settings_tells_nothing_to_who_does_not_have_the_key(host, run):
    run()
    key = host.secrets.parent / "settings.key"
    assert (key.stat().st_mode & 0o777, len(key.read_text())) == (0o600, 64)
    texts, watched = ["a"], [host.secrets / "cookie_secret"]
    ids = {units.settings_id(texts, watched, other) for other in (key.read_bytes(), b"", b"guess")}
    assert len(ids) == 3
    assert units.settings_id(texts, watched, b"1") == units.settings_id(texts, watched, b"1")


def test_what_moves_from_one_setting_to_another_makes_another_id(tmp_path):
    one, other = tmp_path / "a", tmp_path / "b"
    one.write_text("x")
    other.write_text("")
    before = units.settings_id(["p", "q"], [one, other], b"k")
    one.write_text("")
    other.write_text("x")
    assert units.settings_id(["p", "q"], [one, other], b"k") != before
    assert units.settings_id(["pq", ""], [], b"k") != units.settings_id(["p", "q"], [], b"k")


def test_check_mode_makes_no_key(host, run):
    run(check=True)
    assert not (host.secrets.parent / "settings.key").exists()


@pytest.mark.parametrize(
    ("setting", "other"),
    [("--drain-timeout 300", "--drain-timeout 301"), ("CPUWeight=20", "CPUWeight=21")],
    ids=["of the workers", "of the slice"],
)
def test_a_setting_of_one_pool_restarts_its_workers_only(host, run, setting, other):
    run()
    run(change=lambda text: text.replace(setting, other))
    assert host.restarts() == ["start aroundtheworld-prepare.service", *exchange(10004)]


def test_a_unit_that_somebody_edited_is_put_right_and_its_worker_restarted(host, run):
    run()
    path = host.units / "aroundtheworld@10001.service.d" / "pool.conf"
    path.write_text(path.read_text().replace("WatchdogSec=30", "WatchdogSec=0"))
    run()
    assert "WatchdogSec=30" in path.read_text()
    assert host.restarts()[1:] == exchange(10001)
    assert run()["steps"] == []


def test_a_unit_that_was_written_after_its_worker_started_restarts_it(host, run):
    run()
    name = "aroundtheworld@10001.service"
    host.running[name] = (host.running[name][0], host.running[name][1] - 60)
    result = run()
    assert "because its unit files were edited" in result["steps"][-1]
    assert host.restarts()[1:] == exchange(10001)


def test_a_new_address_makes_sockets_anew_one_at_a_time(host, run):
    run()
    result = run(address="[::1]")
    assert result["steps"][-1].endswith("because nothing listens on [::1]:10003")
    pairs = [f"aroundtheworld@{port}" for port in (10004, 10001, 10002, 10003)]
    assert host.restarts()[1:] == [
        call
        for one in pairs
        for call in (f"stop {one}.service {one}.socket", f"start {one}.socket {one}.service")
    ]


def test_a_new_worker_joins_without_a_restart_of_the_others(host, run):
    run()
    run(ports=((10001, 10002, 10003, 10005), (10004,)))
    assert host.restarts() == [
        "start aroundtheworld-prepare.service",
        "restart aroundtheworld@10005.socket",
        "start aroundtheworld@10005.service",
    ]


def test_as_many_at_once_as_there_are_processors(host, run, monkeypatch):
    ports = ((10001, 10002, 10003, 10005, 10006), (10004,))
    for processors, batches in (
        (1, (10004, 10001, 10002, 10003, 10005, 10006)),
        (3, (10004, 10001, (10002, 10003, 10005), 10006)),
    ):
        monkeypatch.setattr(os, "cpu_count", lambda processors=processors: processors)
        run(FIRST, ports=ports)
        run(SECOND, ports=ports)
        assert host.restarts()[1:] == exchange(*batches)


def test_commands_are_exchanged_alone(host, run):
    run(ports=((10001, 10002, 10003), ()), kinds=("takes", "runner"))
    run(SECOND, ports=((10001, 10002, 10003), ()), kinds=("takes", "runner"))
    assert host.restarts()[1:] == exchange(10001, 10002, 10003)


def test_going_back_replaces_runners_of_all_pools_at_once_and_commands_alone(host, run):
    run()
    run(SECOND)
    run(FIRST, verb="rollback")
    assert host.restarts()[1:] == exchange((10004, 10001), (10002, 10003))
    assert host.releases() == EVERY_WORKER_ON_FIRST
    run(SECOND, kinds=("takes", "runner"))
    run(FIRST, kinds=("takes", "runner"), verb="rollback")
    assert host.restarts()[1:] == exchange(10001, 10002, 10003, 10004)


@pytest.mark.parametrize("why", ["a canary", "it was reverted"])
def test_going_back_tries_one_worker_first_where_a_release_has_to_prove_itself(host, run, why):
    run()
    if why == "it was reverted":
        host.broken.add("aroundtheworld-handover@10003.service")
    with pytest.raises(run.failed) if host.broken else contextlib.nullcontext():
        run(SECOND)
    host.broken.clear()
    back = {"a canary": FIRST, "it was reverted": SECOND}[why]
    run(back, verb="rollback", canary_seconds=int(why == "a canary"))
    assert host.restarts()[1:] == exchange(10004, 10001, (10002, 10003))


@pytest.mark.parametrize("port", [10001, 10002, 10003, 10004])
def test_going_back_is_reverted_as_a_whole(host, run, port):
    run()
    run(SECOND)
    files = host.snapshot()[0]
    host.broken.add(f"aroundtheworld-handover@{port}.service")
    with pytest.raises(run.failed, match=f"is back on release {SECOND}"):
        run(FIRST, verb="rollback")
    assert host.releases() == dict.fromkeys(EVERY_WORKER_ON_FIRST, SECOND)
    assert host._files() == files
    nothing_is_left_over(host)


# --- The migration ------------------------------------------------------------------------------


def test_the_migration_runs_once_for_each_release(host, run):
    run()
    run()
    run(SECOND)
    assert host.migrated == [FIRST, SECOND]
    order = [one for one in host.calls if one.startswith("start ") and "@" not in one]
    assert order == [f"start aroundtheworld-{step}.service" for step in ("prepare", "migrate")]


def test_no_repair_and_no_other_setting_migrates(host, run):
    run()
    host._stop("aroundtheworld@10003.service")
    run()
    (host.secrets / "cookie_secret").write_text("other")
    assert run()["changed"]
    assert host.migrated == [FIRST]


@pytest.mark.parametrize("marked", [True, False], ids=["new", "from a role without marks"])
def test_going_back_does_not_migrate_and_neither_does_going_forth_again(host, run, marked):
    run()
    run(SECOND)
    if not marked:
        for path in host.home.glob("releases/*/.migrated"):
            path.unlink()
    run(FIRST, verb="rollback")
    run(SECOND)
    assert host.migrated == [FIRST, SECOND]


def test_a_revert_does_not_migrate(host, run):
    run()
    host.broken.add("aroundtheworld-handover@10002.service")
    with pytest.raises(run.failed):
        run(SECOND)
    host.broken.clear()
    run(SECOND)
    assert host.migrated == [FIRST, SECOND]  # it was done before the first try failed


def test_the_migration_can_be_forced(host, run):
    run()
    assert run(migrate=True)["steps"] == ["start aroundtheworld-migrate.service"]
    run(SECOND)
    run(FIRST, verb="rollback", migrate=True)
    assert host.migrated == [FIRST, FIRST, SECOND, FIRST]
    assert run(FIRST, check=True)["steps"] == []


def test_a_migration_that_fails_touches_no_worker_and_is_tried_again(host, run):
    run()
    before = host.snapshot()
    host.unmigratable.add(SECOND)
    with pytest.raises(run.failed, match=r"no worker was restarted\. aroundtheworld-migrate\.ser"):
        run(SECOND)
    assert host.snapshot() == before
    host.unmigratable.clear()
    run(SECOND)
    assert host.migrated == [FIRST, SECOND]


@pytest.mark.parametrize(
    ("step", "variable", "seconds"),
    [
        ("prepare", "aroundtheworld_import_timeout", 120),
        ("migrate", "aroundtheworld_migrate_timeout", 1800),
    ],
)
def test_what_takes_too_long_names_the_variable(host, run, monkeypatch, step, variable, seconds):
    def call(*arguments, check=True):
        if arguments[:2] == ("show", "--property=Result"):
            return "timeout\n"
        return original(*arguments, check=check)

    original = host.call
    monkeypatch.setattr(host, "call", call)
    (host.refused if step == "prepare" else host.unmigratable).add(FIRST)
    with pytest.raises(run.failed, match=f"longer than {variable} allows, {seconds} s"):
        run()


def test_commands_are_tried_after_the_migration(host, run):
    run(kinds=("runner", "takes"))
    order = [one for one in host.calls if one.startswith("start ") and "@" not in one]
    steps = ("prepare", "migrate", "trial")
    assert order == [f"start aroundtheworld-{step}.service" for step in steps]


# --- Failures -------------------------------------------------------------------------------------


def test_a_release_that_cannot_be_run_touches_no_worker(host, run):
    run()
    before = host.snapshot()
    host.refused.add(SECOND)
    with pytest.raises(run.failed) as caught:
        run(SECOND)
    assert f"The release {SECOND} cannot be run, so no worker was restarted" in str(caught.value)
    assert "(the journal of aroundtheworld-prepare.service)" in str(caught.value)
    assert host.restarts() == ["start aroundtheworld-prepare.service"]
    assert host.snapshot() == before


def test_a_release_whose_first_process_is_not_ready_never_reaches_a_worker(host, run):
    run()
    before = host.snapshot()
    host.broken.add("aroundtheworld-handover@10004.service")
    with pytest.raises(run.failed) as caught:
        run(SECOND)
    assert "aroundtheworld-handover@10004.service of pool admin is not ready" in str(caught.value)
    assert "(the journal of aroundtheworld-handover@10004.service)" in str(caught.value)
    assert f"is back on release {FIRST}" in str(caught.value)
    assert not [one for one in host.calls if one.startswith("restart ")]
    assert host.snapshot() == before
    assert run()["steps"] == []


def test_a_release_that_answers_with_errors_never_takes_a_connection(host, run, monkeypatch):
    run()
    before = host.snapshot()
    host.sick.add(SECOND)
    monkeypatch.setattr(host, "accept", lambda control: pytest.fail("it was told to accept"))
    with pytest.raises(run.failed, match="it answers / with status 500"):
        run(SECOND)
    assert host.snapshot() == before


def test_a_release_that_answers_every_visitor_404_is_not_rolled_out(host, run):
    run()
    host.statuses[SECOND] = 404
    with pytest.raises(
        run.failed, match=r"with status 404, asked as .*; allowed: 2xx, 3xx\. If that answer"
    ):
        run(SECOND)
    assert host.releases() == EVERY_WORKER_ON_FIRST


def test_a_release_that_served_with_404_until_now_is_gone_back_to(host, run, monkeypatch):
    """By the rule from before, it was right; so is it for going back, and then only."""
    run()
    host.statuses[FIRST] = 404
    original = host._restart

    def restart(name):
        original(name)
        if "@10002" in name and host.running[name][0]["release"] == SECOND:
            host.running[name][0]["responses"] = {"5xx": 100}

    monkeypatch.setattr(host, "_restart", restart)
    with pytest.raises(run.failed, match=r"are errors(.|\n)*is back on release"):
        run(SECOND)
    assert host.releases() == EVERY_WORKER_ON_FIRST
    assert {check.statuses for release, check in host.checks if release == SECOND} == {
        ("2xx", "3xx")
    }


def test_workers_that_were_exchanged_before_one_fails_are_exchanged_back(host, run):
    run()
    files = host.snapshot()[0]
    host.broken.add("aroundtheworld-handover@10002.service")
    with pytest.raises(run.failed, match=f"is back on release {FIRST}"):
        run(SECOND)
    assert host.releases() == EVERY_WORKER_ON_FIRST
    assert host._files() == files
    # The last to go back is the one that went first.
    assert host.restarts()[-5:-1] == exchange(10004)
    assert [(one["to"], one["outcome"]) for one in host.log()] == [
        (FIRST, "done"),
        (SECOND, "reverted"),
    ]
    assert "aroundtheworld-handover@10002.service" in host.log()[-1]["cause"]
    host.broken.clear()
    assert run()["steps"] == []


def test_a_worker_that_fails_behind_its_stand_in_is_taken_back(host, run, monkeypatch):
    run()
    original = host._restart

    def restart(name):
        host.broken = {name} if name == "aroundtheworld@10001.service" and not tried else set()
        tried.append(name) if host.broken else None
        original(name)

    tried = []
    monkeypatch.setattr(host, "_restart", restart)
    with pytest.raises(run.failed, match=r"aroundtheworld@10001\.service of pool public is not"):
        run(SECOND)
    assert host.releases() == EVERY_WORKER_ON_FIRST
    assert run()["steps"] == []


def test_the_canary_is_watched_and_given_up(host, run):
    run()
    host.crippled.add(SECOND)
    with pytest.raises(run.failed, match=r"as the canary, its event loop was blocked for 7\.5 s"):
        run(SECOND, canary_seconds=5)
    assert host.releases() == EVERY_WORKER_ON_FIRST
    touched = {one for one in host.restarts() if one.startswith("restart ")}
    assert touched == {
        "restart aroundtheworld@10004.service",
        "restart aroundtheworld@10001.service",
    }


def test_a_stand_in_that_is_blocked_speaks_against_the_canary(host, run, monkeypatch):
    run()
    said = host.health

    def health(control):
        if "handover-10001" in str(control) and said(control).state != "held":
            return WorkerHealth(state="draining", busy_seconds=3.5, busy_in="Slow.post")
        return said(control)

    monkeypatch.setattr(host, "health", health)
    with pytest.raises(run.failed, match=r"was blocked for 3\.5 s in Slow\.post"):
        run(SECOND, canary_seconds=5)


def test_a_stand_in_that_fails_before_it_has_visitors_is_killed(host, run):
    run()
    host.sick.add(SECOND)
    with pytest.raises(run.failed, match="with status 500"):
        run(SECOND)
    assert "kill aroundtheworld-handover@10004.service" in host.calls


def test_no_stand_in_of_a_batch_stays_when_one_of_them_fails(host, run):
    run()
    host.broken.add("aroundtheworld-handover@10003.service")
    accepted = []
    original = host.accept
    host.accept = lambda control: accepted.append(control.parent.name) or original(control)
    with pytest.raises(run.failed, match=r"aroundtheworld-handover@10003\.service of pool public"):
        run(SECOND)
    both = "aroundtheworld-handover@10002.service aroundtheworld-handover@10003.service"
    assert f"kill {both}" in host.calls
    assert "handover-10002" not in accepted
    assert host.releases() == EVERY_WORKER_ON_FIRST


def test_a_worker_that_fails_more_often_after_the_canary_is_given_up(host, run, monkeypatch):
    run()
    original = host._restart

    def restart(name):
        original(name)
        if "@10002" in name and host.running[name][0]["release"] == SECOND:
            host.running[name][0]["responses"] = {"2xx": 90, "5xx": 10}

    monkeypatch.setattr(host, "_restart", restart)
    with pytest.raises(
        run.failed, match=r"10002\.service .* 10% of its 100 .*, where 0% are usual"
    ):
        run(SECOND)
    assert host.releases() == EVERY_WORKER_ON_FIRST


def test_errors_of_the_last_worker_are_seen_before_the_end(host, run, monkeypatch):
    run()

    def stop(name):
        if "handover@10003" in name and (
            worker := host.running.get("aroundtheworld@10003.service")
        ):
            worker[0]["responses"] = {"5xx": 100}
        original(name)

    original = host._stop
    monkeypatch.setattr(host, "_stop", stop)
    with pytest.raises(run.failed, match=r"10003\.service .* 100% of its 100 answers are errors"):
        run(SECOND)
    monkeypatch.undo()
    assert host.releases() == EVERY_WORKER_ON_FIRST


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_errors_that_the_release_before_has_too_are_not_the_new_ones(host, run, monkeypatch, when):
    def fail():
        for said, _ in host.running.values():
            said["responses"] = {"2xx": 100, "5xx": 100}

    def restart(name):
        original(name)
        fail()

    run()
    original = host._restart
    monkeypatch.setattr(host, "_restart", restart)
    if when == "before":
        fail()
    assert run(SECOND)["changed"]
    assert set(host.releases().values()) == {SECOND}


def test_a_worker_that_still_runs_the_old_release_does_not_pass(host, run, monkeypatch):
    run()
    monkeypatch.setattr(host, "_restart", lambda name: None)
    with pytest.raises(run.failed, match=f"it runs release {FIRST}, not {SECOND}"):
        run(SECOND)
    assert host.releases() == EVERY_WORKER_ON_FIRST


def raises(error):
    def disturb():
        raise error

    return disturb


def fills_the_disk(host, monkeypatch):
    """Has every write of a unit file fail from now on; names can still be given."""

    def fail(path, text, mode):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(unit_files, "write_atomically", fail)
    raise OSError(28, "No space left on device")


DISTURBANCES = {
    "an error of systemd": (raises(workers.HostError("it failed")), "."),
    "an error of the system": (raises(OSError(28, "No space left on device")), "No space left"),
    "a bug": (raises(KeyError("busy_seconds")), "KeyError: 'busy_seconds'"),
    "TERM": (lambda: os.kill(os.getpid(), signal.SIGTERM), "asked to end \\(SIGTERM\\)"),
    "INT": (lambda: os.kill(os.getpid(), signal.SIGINT), "asked to end \\(SIGINT\\)"),
    "HUP": (lambda: os.kill(os.getpid(), signal.SIGHUP), "asked to end \\(SIGHUP\\)"),
}


def nothing_is_left_over(host):
    assert not [name for name in host.running if "handover" in name]
    assert not list(host.units.glob("*handover@*.d/pool.conf"))
    assert not list(host.units.glob(".*.before*"))
    assert host.read.items() <= host._files().items()
    assert host._files().keys() == {path for path in host.read if path.exists()}


# At which call of systemd, look at a worker, or file that is written.
EVENTS = [("call", number) for number in range(24)]
EVENTS += [("look", number) for number in (4, 5, 8, 11, 14, 17, 20, 24, 28)]
EVENTS += [("write", number) for number in range(10)]


CASES = [
    (event, disturbance)
    for number, event in enumerate(EVENTS)
    for place, disturbance in enumerate(DISTURBANCES)
    if place % 3 == number % 3 or disturbance == "a bug"
]


@pytest.mark.parametrize(("event", "disturbance"), chosen(CASES))
def test_whatever_disturbs_a_rollout_all_workers_run_one_release(host, run, event, disturbance):
    run()
    files = host.snapshot()[0]
    disturb, said = DISTURBANCES[disturbance]
    host.counts.clear()
    host.disturbed = (*event, disturb)
    reverted = False
    try:
        run(SECOND, canary_seconds=1)
    except run.failed as failure:
        reverted = re.search(said, str(failure))
    if reverted:
        assert host.releases() == EVERY_WORKER_ON_FIRST
        assert host._files() == files
        assert host.log()[-1]["outcome"] == "reverted"
        assert re.search(said, host.log()[-1]["cause"])
        assert run()["steps"] == []
    else:  # where a failure does not matter, or where there was none
        assert host.releases() == dict.fromkeys(EVERY_WORKER_ON_FIRST, SECOND)
        assert host.log()[-1]["outcome"] == "done"
    nothing_is_left_over(host)
    run(SECOND)
    assert host.releases() == dict.fromkeys(EVERY_WORKER_ON_FIRST, SECOND)
    assert run(SECOND)["steps"] == []


@pytest.mark.parametrize("delay", range(4))
@pytest.mark.parametrize("disturbance", ["a bug", "TERM"])
def test_a_restart_that_goes_on_after_the_module_was_interrupted_is_reverted_too(
    host, run, disturbance, delay
):
    run()
    files = host.snapshot()[0]
    disturb, said = DISTURBANCES[disturbance]

    def interrupt():
        host.delay = delay
        disturb()

    host.late = interrupt
    with pytest.raises(run.failed, match=said):
        run(SECOND)
    assert host.releases() == EVERY_WORKER_ON_FIRST
    assert host._files() == files
    nothing_is_left_over(host)
    assert run()["steps"] == []


def test_the_rollout_that_is_disturbed_is_seen_to_the_end(host, run):
    run()
    host.counts.clear()
    run(SECOND, canary_seconds=1)
    for kind in ("call", "write"):
        assert (kind, host.counts[kind]) in EVENTS


def test_a_second_signal_does_not_break_the_revert(host, run):
    run()
    files = host.snapshot()[0]

    def again():
        host.disturbed = ("call", host.counts["call"] + 3, DISTURBANCES["INT"][0])
        os.kill(os.getpid(), signal.SIGTERM)

    host.counts.clear()
    host.disturbed = ("call", 12, again)
    with pytest.raises(run.failed, match="SIGTERM"):
        run(SECOND)
    assert host.disturbed is None  # it came
    assert host.releases() == EVERY_WORKER_ON_FIRST
    assert host._files() == files


@pytest.mark.parametrize("number", range(9))
def test_a_disk_that_stays_full_does_not_keep_workers_from_going_back(
    host, run, monkeypatch, number
):
    run()
    files = host.snapshot()[0]
    host.counts.clear()
    host.disturbed = ("write", number, lambda: fills_the_disk(host, monkeypatch))
    with pytest.raises(run.failed, match="No space left on device"):
        run(SECOND)
    assert host.releases() == EVERY_WORKER_ON_FIRST
    assert host._files() == files
    nothing_is_left_over(host)


@pytest.mark.parametrize("number", range(9))
@pytest.mark.parametrize("disturbance", ["a bug", "TERM"])
def test_a_first_deployment_that_fails_leaves_nothing_running(host, run, number, disturbance):
    disturb, said = DISTURBANCES[disturbance]
    host.disturbed = ("call", number, disturb)
    with pytest.raises(run.failed, match=said) if number < 5 else contextlib.suppress(run.failed):
        run(metrics=9145)
    if number < 5:
        assert (host.running, host.listening) == ({}, {})
        assert not list(host.units.glob("*.wants/*"))
        assert not (host.home / "current").is_symlink()
    run(metrics=9145)
    assert host.releases() == EVERY_WORKER_ON_FIRST


def test_a_worker_that_cannot_start_is_stopped_when_it_is_the_first(host, run):
    host.broken.add("aroundtheworld@10002.service")
    with pytest.raises(run.failed, match=r"\(the journal of aroundtheworld@10002") as failure:
        run()
    assert "everything that was started is stopped again" in str(failure.value)
    assert (host.running, host.listening) == ({}, {})
    assert not list(host.units.glob("*.wants/*"))


def test_a_second_change_meets_the_story_of_the_first(host, run):
    run()
    before = host.snapshot()
    mine = {**OWNER, "site": "aroundtheworld"}
    lock.release(mine)
    other = {**mine, "run": "2"}
    lock.take(other)
    with pytest.raises(run.failed) as caught:
        run(SECOND)
    assert "ada on desk has been changing this site since" in str(caught.value)
    assert host.snapshot() == before
    lock.release(other)
    assert run(SECOND)["changed"]


def test_the_lock_tells_each_phase_when_it_begins(host, run, monkeypatch):
    run()
    stories = {}

    def start(name):
        record = lock.read_record("aroundtheworld")
        stories[name] = record["phases"][-1][0]
        assert f"at this moment: {stories[name]}." in lock.state(record)
        original(name)

    original = host._start
    monkeypatch.setattr(host, "_start", start)
    run(SECOND)
    assert stories["aroundtheworld-prepare.service"] == "prepare"
    assert stories["aroundtheworld-handover@10002.service"] == "replace 10002, 10003"
    assert lock.read_record("aroundtheworld")["phases"] == []


def test_every_change_is_logged_with_its_phases(host, run):
    run(who="ada on desk")
    run(SECOND, who="ada on desk", verb="deploy")
    entry = host.log()[-1]
    phases = [phase["name"] for phase in entry["phases"]]
    assert phases == [
        "prepare",
        *(f"replace {which}" for which in ("10004", "10001", "10002, 10003")),
    ]
    assert (entry["who"], entry["from"], entry["to"]) == ("ada on desk", FIRST, SECOND)
    assert last_good(host.home, SECOND) == [FIRST]


def test_a_rollback_is_not_undone_by_the_next(host, run):
    run()
    run(SECOND)
    run(FIRST, verb="rollback")
    assert last_good(host.home, FIRST) == []


def test_old_releases_go_but_never_the_current_or_the_one_before(host, run):
    for name in ("000000000001", "000000000002", "000000000003"):
        (host.home / "releases" / name).mkdir()
    run()
    run(SECOND, keep_releases=1)
    assert {path.name for path in (host.home / "releases").iterdir()} == {FIRST, SECOND}
    assert (host.home / "environments" / "e").is_dir()


def test_a_canary_is_compared_over_the_time_of_the_watch():
    def said(good, bad=0, slow=0):
        return WorkerHealth(
            state="ready",
            responses={"2xx": good, "5xx": bad},
            loop_lag_max=0.01,
            latencies=((0.01, good), (2.0, slow)),
        )

    sibling = [(said(1000, 500, 500), said(1100, 500, 500))]
    assert judgement.canary_problem(said(0), said(100), sibling) == ""
    assert "10% of its 111 answers" in judgement.canary_problem(said(0), said(100, 11), sibling)
    assert judgement.canary_problem(said(0), said(30, 2), sibling) == ""  # may be chance
    few_slow = dataclasses.replace(said(80, 0, 20), responses={"2xx": 100})
    assert judgement.canary_problem(said(0), few_slow, sibling) == ""
    assert "took 2000 ms or more, of its siblings' 10 ms" in judgement.canary_problem(
        said(0), dataclasses.replace(said(70, 0, 30), responses={"2xx": 100}), sibling
    )
    assert judgement.canary_problem(said(0), said(5, 5), sibling) == ""  # too few to judge
    assert "any more" in judgement.canary_problem(said(0), SILENT, sibling)


@pytest.mark.parametrize(
    ("mine", "siblings", "bad"),
    [
        ((0, 20), (57, 3), True),  # a release that refuses everybody, at the first look
        ((60, 40), (285, 15), True),  # it refuses what every third visitor wants
        ((140, 60), (570, 30), True),
        ((18, 2), (59, 1), False),  # chance
        ((14, 6), (54, 6), False),
        ((50, 50), (140, 160), False),  # a robot asks all of them for what is not there
        ((180, 20), (570, 30), False),  # ten percent, where five are usual
        ((0, 19), (60, 0), False),  # too few to judge
        ((0, 100), (0, 0), False),  # nobody to compare with
    ],
)
def test_a_canary_that_refuses_more_than_its_siblings_is_given_up(mine, siblings, bad):
    nothing = WorkerHealth(state="ready", responses={})

    def said(good, refused):
        return dataclasses.replace(nothing, responses={"2xx": good, "4xx": refused})

    problem = judgement.canary_problem(nothing, said(*mine), [(nothing, said(*siblings))])
    assert ("refusals (status 4xx)" in problem) is bad


@pytest.mark.parametrize(
    ("before", "after", "bad"),
    [
        ({"2xx": 950, "4xx": 50}, {"2xx": 0, "4xx": 100}, True),
        ({"2xx": 950, "4xx": 50}, {"2xx": 60, "4xx": 40}, False),  # maybe a robot's visit
        ({"2xx": 400, "4xx": 600}, {"2xx": 0, "4xx": 100}, False),
        ({}, {"2xx": 0, "4xx": 100}, False),
    ],
)
def test_the_only_worker_of_a_pool_is_compared_with_before(
    host, run, monkeypatch, before, after, bad
):
    only = {"ports": ((10001,), (10004,))}
    run(**only)
    host.running["aroundtheworld@10001.service"][0]["responses"] = before
    original = host._restart

    def restart(name):
        original(name)
        if "@10001" in name and host.running[name][0]["release"] == SECOND:
            host.running[name][0]["responses"] = after

    monkeypatch.setattr(host, "_restart", restart)
    if bad:
        with pytest.raises(run.failed, match=r"100% of its 100 answers are refusals"):
            run(SECOND, **only)
    else:
        run(SECOND, **only)
    assert host.releases() == dict.fromkeys((10001, 10004), FIRST if bad else SECOND)


CHANGES = {
    "bare host": {},
    "other release": {"release": SECOND},
    "other address": {"address": "10.0.0.1"},
    "other workers": {"ports": ((10001, 10005), (10004, 10006)), "release": SECOND},
}


@pytest.mark.parametrize("step", range(10))
@pytest.mark.parametrize("change", CHANGES)
def test_a_run_that_was_cut_off_anywhere_is_completed_by_the_next(host, run, change, step):
    if change != "bare host":
        run(FIRST)
    wanted = CHANGES[change]
    host.cut_off_at = step
    # The shortest of these runs tells systemd five things.
    with pytest.raises(CutOffError) if step < 5 else contextlib.suppress(CutOffError):
        run(**wanted)
    host.cut_off_at = None
    run(**wanted)
    assert run(**wanted)["steps"] == []
    release, address = wanted.get("release", FIRST), wanted.get("address", "127.0.0.1")
    ports = [port for pool in wanted.get("ports", [EVERY_WORKER_ON_FIRST]) for port in pool]
    assert {port: host.releases()[port] for port in ports} == dict.fromkeys(ports, release)
    assert {f"{address}:{port}" for port in ports} <= host.addresses()
    assert host.read.items() <= host._files().items()
    assert host.prepared[-1] == release


def test_workers_that_a_failed_run_left_on_the_old_address_are_found(host, run):
    run()
    host.broken.add("aroundtheworld@10004.service")
    with pytest.raises(run.failed):
        run(address="10.0.0.1")
    host.broken.clear()
    run(address="10.0.0.1")
    assert {f"10.0.0.1:{port}" for port in EVERY_WORKER_ON_FIRST} <= host.addresses()


@pytest.mark.parametrize("file", ["aroundtheworld-prepare.service", "aroundtheworld-admin.slice"])
def test_a_file_that_was_written_but_not_read_by_systemd_is_read(host, run, file):
    run()
    host.read[host.units / file] = "what it was before"
    result = run()
    assert result["changed"]
    assert host.calls == ["daemon-reload"]
    assert run()["steps"] == []


# --- Commands -------------------------------------------------------------------------------------


def test_a_command_is_exchanged_behind_a_stand_in_on_its_socket(host, run):
    run(kinds=("runner", "takes"), release=FIRST)
    run(kinds=("runner", "takes"), release=SECOND)
    assert host.restarts()[1:5] == exchange(10004)
    assert host.releases() == dict.fromkeys(EVERY_WORKER_ON_FIRST, SECOND)
    assert run(kinds=("runner", "takes"), release=SECOND)["steps"] == []


def test_a_command_that_binds_its_port_has_no_socket_and_is_restarted(host, run):
    run(kinds=("runner", "binds"), release=FIRST)
    assert "aroundtheworld@10004.socket" not in host.listening
    assert not list(host.units.glob("*.wants/aroundtheworld@10004.socket"))
    run(kinds=("runner", "binds"), release=SECOND)
    assert host.restarts()[1:3] == [
        "stop aroundtheworld@10004.service aroundtheworld@10004.socket",
        "start aroundtheworld@10004.service",
    ]
    assert host.releases()[10004] == SECOND
    assert run(kinds=("runner", "binds"), release=SECOND)["steps"] == []


@pytest.mark.parametrize("after", ["runner", "takes", "binds"])
@pytest.mark.parametrize("before", ["runner", "takes", "binds"])
@pytest.mark.parametrize("step", chosen([*range(14), None]))
def test_a_pool_becomes_another_kind_also_when_the_run_is_cut_off(host, run, before, after, step):
    run(FIRST, kinds=("runner", before))
    host.cut_off_at = step
    with contextlib.suppress(CutOffError):
        run(SECOND, kinds=("runner", after))
    host.cut_off_at = None
    result = run(SECOND, kinds=("runner", after))
    if result["orphans"]:
        run(SECOND, kinds=("runner", after), remove_orphans=True)
    result = run(SECOND, kinds=("runner", after))
    assert (result["steps"], result["orphans"]) == ([], [])
    assert host.releases() == dict.fromkeys(EVERY_WORKER_ON_FIRST, SECOND)
    assert ("aroundtheworld@10004.socket" in host.listening) is (after != "binds")


@pytest.mark.parametrize("after", ["takes", "binds"])
@pytest.mark.parametrize("before", ["runner", "takes", "binds"])
@pytest.mark.parametrize("fault", ["ends", "answers with errors"])
def test_a_command_that_fails_is_exchanged_back(host, run, before, after, fault):
    run(FIRST, kinds=("runner", before))
    original, worker = host._start, "aroundtheworld@10004.service"

    def start(name):
        of_second = SECOND in host._text(name) if name == worker else False
        if not (fault == "ends" and of_second):
            original(name)

    host._start = start
    if fault != "ends":
        host.sick.add(SECOND)
    said = "its command has ended" if fault == "ends" else "it answers / with status 500"
    with pytest.raises(run.failed, match=said) as failure:
        run(SECOND, kinds=("runner", after))
    assert f"{worker} of pool admin is not ready" in str(failure.value)
    assert f"(the journal of {worker})" in str(failure.value)
    host.sick.clear()
    assert host.releases() == EVERY_WORKER_ON_FIRST
    assert ("aroundtheworld@10004.socket" in host.listening) is (before != "binds")
    assert run(FIRST, kinds=("runner", before))["steps"] == []


def test_a_command_has_no_canary(host, run):
    run(FIRST, kinds=("takes", "takes"))
    run(SECOND, kinds=("takes", "takes"), canary_seconds=5)
    assert host.releases() == dict.fromkeys(EVERY_WORKER_ON_FIRST, SECOND)
    assert not any(phase["name"].startswith("watch") for phase in host.log()[-1]["phases"])


# --- Orphans --------------------------------------------------------------------------------------

FEWER = ((10001,), ())


def test_workers_that_no_pool_lists_are_reported_and_left_alone_at_first(host, run):
    run()
    result = run(ports=FEWER)
    assert result["orphans"] == sorted(
        [
            "aroundtheworld-admin.slice",
            "aroundtheworld-admin.handover.slice",
            *(
                f"aroundtheworld@{port}.{kind}"
                for port in (10002, 10003, 10004)
                for kind in ("service", "socket")
            ),
        ]
    )
    assert host.releases() == EVERY_WORKER_ON_FIRST


def test_workers_that_no_pool_lists_are_stopped_and_leave_nothing_behind(host, run):
    run()
    run(ports=FEWER)
    result = run(ports=FEWER, remove_orphans=True)
    assert result["changed"]
    assert host.releases() == {10001: FIRST}
    assert list(host.listening) == ["aroundtheworld@10001.socket"]
    left = sorted(str(path.relative_to(host.units)) for path in host.units.rglob("*"))
    assert [one for one in left if re.search("1000[234]|admin", one)] == []
    assert run(ports=FEWER)["orphans"] == []


def test_sockets_of_orphans_are_stopped_before_their_services(host, run):
    run()
    run(ports=FEWER, remove_orphans=True)
    stops = [one for one in host.calls if one.startswith("stop ")]
    assert [stop.rpartition(".")[2] for stop in stops] == ["socket", "service", "slice"]


@pytest.mark.parametrize("step", range(6))
def test_a_removal_that_was_cut_off_anywhere_is_completed_by_the_next(host, run, step):
    run()
    run(ports=FEWER)
    host.cut_off_at = step
    with pytest.raises(CutOffError):
        run(ports=FEWER, remove_orphans=True)
    host.cut_off_at = None
    run(ports=FEWER, remove_orphans=True)
    assert run(ports=FEWER)["orphans"] == []
    assert host.releases() == {10001: FIRST}
    assert not any(re.search(r"1000[234]|admin", path.name) for path in host.units.rglob("*"))


@pytest.fixture
def former(host, run):
    """Returns the drop-in of a worker that there was, as the site wrote down."""
    run()
    drop_in = host.units / "aroundtheworld@10009.service.d" / "pool.conf"
    belongings.take("aroundtheworld", [drop_in], root=host.root)
    return drop_in


@pytest.mark.usefixtures("former")
def test_a_link_that_is_left_over_is_an_orphan(host, run):
    host._enable("aroundtheworld@10009.service")
    assert run()["orphans"] == ["aroundtheworld@10009.service"]


@pytest.mark.usefixtures("former")
def test_a_unit_that_is_only_in_memory_is_an_orphan(host, run):
    host.listening["aroundtheworld@10009.socket"] = "127.0.0.1:10009"
    assert run()["orphans"] == ["aroundtheworld@10009.socket"]


# What an operator may have, with names that a pattern would take for the site's.
OPERATORS = (
    "aroundtheworld-backup.slice",
    "aroundtheworld-backup.service",
    "aroundtheworld-metrics.timer",
    "aroundtheworld@10009.service",
    "aroundtheworld@10010.service.d/pool.conf",
    "aroundtheworld-handover@10010.service.d/pool.conf",
    "aroundtheworld-admin.slice.d/override.conf",
    "aroundtheworld@10004.service.d/override.conf",
    "aroundtheworld-handover@10004.service.d/override.conf",
    "aroundtheworld@.service.d/override.conf",
)


def test_what_an_operator_made_is_no_orphan_and_stays(host, run):
    for name in OPERATORS:
        path = host.units / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("[Unit]\nDescription=of the operator\n")
    run()
    host.listening["aroundtheworld@10010.socket"] = "127.0.0.1:10010"
    host.running["aroundtheworld@10009.service"] = ({}, 0)
    host._enable("aroundtheworld@10010.service")
    assert run()["orphans"] == []
    run(SECOND)
    fewer = run(SECOND, ports=FEWER)["orphans"]
    assert not any("10009" in name or "10010" in name or "backup" in name for name in fewer)
    run(SECOND, ports=FEWER, remove_orphans=True)
    assert [name for name in OPERATORS if not (host.units / name).exists()] == []
    assert "aroundtheworld@10010.socket" in host.listening
    assert (host.units / "multi-user.target.wants/aroundtheworld@10010.service").is_symlink()


def test_what_the_site_has_is_written_down_before_it_is_made(host, run):
    host.cut_off_at = 0
    with pytest.raises(CutOffError):
        run()
    host.cut_off_at = None
    run()
    listed = belongings.files("aroundtheworld", host.root)
    made = {path for path in host.units.rglob("*") if path.is_file() and not path.is_symlink()}
    assert made
    assert made <= listed


def test_a_run_that_changes_nothing_writes_nothing_down(host, run):
    run()
    run(SECOND)
    before = host.claim.stat().st_mtime_ns
    run(SECOND)
    assert host.claim.stat().st_mtime_ns == before


# --- Check mode and what it shows -----------------------------------------------------------------


@pytest.mark.parametrize("start", ["bare", "deployed"])
@pytest.mark.parametrize("more", [{}, {"remove_orphans": True}])
def test_check_mode_changes_nothing(host, run, start, more):
    if start == "deployed":
        run()
    before = host.snapshot()
    result = run(SECOND, ports=FEWER, check=True, **more)
    assert result["changed"] is (start == "deployed" or not more)
    assert host.calls == []
    assert host.snapshot() == before


def test_check_mode_says_what_the_run_does(host, run):
    said = run(check=True)
    assert said["steps"] == run()["steps"]
    assert "+AROUNDTHEWORLD_POOL" not in said["diff"]["prepared"]
    assert "+Environment=AROUNDTHEWORLD_POOL=public" in said["diff"]["prepared"]


# --- Its parts ------------------------------------------------------------------------------------


def test_units_are_split_at_their_paths():
    text = "# /a/x.service\n[Unit]\n# a comment\nA=1\n\n# /a/y.socket\n[Socket]\nB=2\n"
    assert units.split_units(text) == {
        Path("/a/x.service"): "[Unit]\n# a comment\nA=1\n",
        Path("/a/y.socket"): "[Socket]\nB=2\n",
    }


def test_systemctl_that_fails_is_quoted():
    class Module:
        def run_command(self, command):
            return 1, "", "Unit x.service not found.\n"

    with pytest.raises(workers.HostError, match=r"systemctl start x\.service failed: Unit x\.serv"):
        workers.Systemd(Module()).call("start", "x.service")


def test_properties_of_several_units_are_read_from_one_call():
    class Module:
        def run_command(self, command):
            assert command[-2:] == ["a.service", "b.socket"]
            said = "Id=a.service\nActiveState=active\n\nId=b.socket\nNeedDaemonReload=no\n"
            return 0, said, ""

    assert workers.Systemd(Module()).show(["a.service", "b.socket"]) == {
        "a.service": {"Id": "a.service", "ActiveState": "active"},
        "b.socket": {"Id": "b.socket", "NeedDaemonReload": "no"},
    }


METRICS = "aroundtheworld-metrics.socket"


def test_metrics_get_their_socket_and_no_process_until_somebody_asks(host, run):
    run(metrics=9145)
    assert host.listening[METRICS] == "127.0.0.1:9145"
    assert (host.units / "sockets.target.wants" / METRICS).is_symlink()
    assert "aroundtheworld-metrics.service" not in host.running
    assert run(metrics=9145)["steps"] == []


def test_metrics_are_added_without_touching_a_worker(host, run):
    run()
    run(metrics=9145)
    assert host.restarts() == [
        f"stop aroundtheworld-metrics.service {METRICS}",
        f"start {METRICS}",
    ]
    assert host.listening[METRICS] == "127.0.0.1:9145"


@pytest.mark.parametrize("what", ["stopped", "elsewhere", "older than its file", "disabled"])
def test_metrics_that_are_not_as_they_should_be_are_mended(host, run, what):
    run(metrics=9145)
    host._start("aroundtheworld-metrics.service")
    if what == "stopped":
        host._stop(METRICS)
    elif what == "elsewhere":
        host.listening[METRICS] = "127.0.0.1:9999"
    elif what == "disabled":
        host._disable(METRICS)
    else:
        moment = time.time() - 1000
        for path in host.units.glob("*-metrics.*"):
            os.utime(path, (moment, moment))
        host.running["aroundtheworld-metrics.service"] = ({}, time.monotonic() - 2000)
    assert run(metrics=9145)["changed"]
    assert host.listening[METRICS] == "127.0.0.1:9145"
    assert "aroundtheworld-metrics.service" not in host.running or what == "disabled"
    assert run(metrics=9145)["steps"] == []


@pytest.mark.parametrize("step", range(6))
def test_metrics_that_a_run_was_cut_off_from_are_completed(host, run, step):
    run()
    host.calls.clear()
    host.cut_off_at = step
    with contextlib.suppress(CutOffError):
        run(metrics=9146)
    host.cut_off_at = None
    run(metrics=9146)
    assert host.listening[METRICS] == "127.0.0.1:9146"
    assert run(metrics=9146)["steps"] == []


def test_metrics_that_are_not_wanted_any_more_leave_nothing_behind(host, run):
    run(metrics=9145)
    host._start("aroundtheworld-metrics.service")
    result = run()
    assert set(result["orphans"]) == {METRICS, "aroundtheworld-metrics.service"}
    run(remove_orphans=True)
    assert METRICS not in host.listening
    assert "aroundtheworld-metrics.service" not in host.running
    assert list(host.units.rglob("*-metrics*")) == []
    assert run()["orphans"] == []
