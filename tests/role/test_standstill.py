"""A site stands still for its data and then is what it was, wherever that is cut off."""

import json

import pytest
from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.layout import SiteLayout
from ansible.module_utils.aroundtheworld.maintenance import standstill as module
from ansible.module_utils.aroundtheworld.maintenance import switch as switches
from ansible.module_utils.aroundtheworld.maintenance.standstill import Standstill
from ansible.module_utils.aroundtheworld.maintenance.switch import Closing, Switch
from ansible.module_utils.aroundtheworld.systemd import HostError

CLOSING = Closing("all", ["public", "admin"], "restored", "", "60", "<page>", "{}", "ada")
OPERATORS = Closing(
    "public", ["public"], "away", "2126-01-01T00:00:00+00:00", "9", "<o>", "{1}", "o"
)
WORKERS = ("shop@10001.service", "shop@10001.socket", "shop@queue-1.service")


class KilledError(BaseException):
    """The process is gone."""


class Host:
    """Units of a site as systemd has them, by name: whether they are active, and enabled."""

    def __init__(self, layout):
        self.layout, self.left = layout, None
        self.active = {
            *WORKERS, "shop-job-mail.timer", "shop-job-mail.service", "shop-metrics.socket",
            "shop-handover@10001.service", "neighbour.service", "shop-backup.timer",
        }  # fmt: skip
        self.enabled = {*WORKERS, "shop-job-mail.timer", "shop-metrics.socket"}
        self.stubborn = set()

    def step(self):
        if self.left is not None:
            if self.left == 0:
                raise KilledError
            self.left -= 1

    def call(self, verb, *words, check=True):
        names = {word for word in words if word.startswith(("shop", "neighbour"))}
        if verb == "list-units":
            return "".join(f"{name} loaded active running\n" for name in self.active & names)
        if verb == "show":
            return ""
        self.step()
        if verb == "stop":
            self.active -= names - self.stubborn
        elif verb == "start":
            self.active |= names
        elif verb == "disable":
            self.enabled -= names
        elif verb == "enable":
            self.enabled |= names
        else:
            assert verb in ("daemon-reload", "reset-failed"), verb
        return ""

    def show(self, names, more=()):
        return {
            name: {
                "ActiveState": "active" if name in self.active else "inactive",
                "UnitFileState": "enabled" if name in self.enabled else "disabled",
            }
            for name in names
        }


@pytest.fixture
def host(tmp_path, monkeypatch):
    layout = SiteLayout(tmp_path / "home", "shop", tmp_path)
    layout.home.mkdir()
    layout.units.mkdir(parents=True)
    names = ("shop-job-mail.service", "shop-job-mail.timer", "shop-metrics.socket",
             "shop-metrics.service", "shop-backup.timer", "shop@.service")  # fmt: skip
    drop_ins = [layout.drop_in(f"shop@{instance}.service") for instance in ("10001", "queue-1")]
    files = {*(layout.units / name for name in names), *drop_ins}
    monkeypatch.setattr(belongings, "files", lambda site, root: files)
    monkeypatch.setattr(switches, "PATIENCE", 0)
    return Host(layout)


def test_nothing_of_the_site_runs_or_starts_at_a_boot_meanwhile(host):
    still = Standstill(host.layout, host)
    still.begin(CLOSING)
    assert host.active == {"shop-metrics.socket", "neighbour.service", "shop-backup.timer"}
    assert host.enabled == {"shop-metrics.socket"}
    assert Switch(host.layout.home).closing() == CLOSING
    still.start()
    still.end()
    # What stood in for a worker does not, and a job comes again at its time.
    assert {*WORKERS, "shop-job-mail.timer"} <= host.active
    assert "shop-job-mail.service" not in host.active
    assert "shop-handover@10001.service" not in host.active
    assert not host.layout.maintenance.exists()
    assert still.record == {}


def test_what_cannot_be_stopped_is_told(host):
    host.stubborn = {"shop@10001.service"}
    with pytest.raises(HostError, match=r"^shop@10001\.service cannot be stopped"):
        Standstill(host.layout, host).begin(CLOSING)


class NoEnd:
    """The timer that ends a maintenance; what is set is noted."""

    def __init__(self, layout, systemd):
        self.host = systemd

    def set(self, until):
        self.host.step()
        self.host.until = until


@pytest.mark.parametrize("operators", [None, OPERATORS], ids=["open", "closed by an operator"])
def test_wherever_it_is_cut_off_the_next_run_brings_back_what_was(host, monkeypatch, operators):
    monkeypatch.setattr(module, "End", NoEnd)
    written = module.write_atomically

    def write(*arguments):
        host.step()
        written(*arguments)

    monkeypatch.setattr(module, "write_atomically", write)
    for name in ("close", "note", "open"):
        real = getattr(Switch, name)

        def step(self, *arguments, real=real):
            host.step()
            return real(self, *arguments)

        monkeypatch.setattr(Switch, name, step)
    switch, before, cut = Switch(host.layout.home), None, 0
    for cut in range(99):
        again = Host(host.layout)
        host.active, host.enabled = again.active, again.enabled
        host.left, host.until = None, "" if operators is None else operators.until
        if operators:
            switch.close(operators)
            switch.note(switch.expected_state(operators))
        before = switch.closing()
        host.left = cut
        still = Standstill(host.layout, host)
        try:
            still.begin(CLOSING)
            still.start()
            still.end()
            break
        except KilledError:
            host.left = None
        if still.record:
            still = Standstill(host.layout, host)
            still.begin(CLOSING)
            assert host.active == {"shop-metrics.socket", "neighbour.service", "shop-backup.timer"}
            still.start()
            still.end()
        assert set(WORKERS) <= host.active
        assert set(WORKERS) <= host.enabled
        assert switch.closing() == before
        assert host.until == ("" if operators is None else operators.until)
        assert not host.layout.standstill.exists()
    assert cut > 8


def test_a_maintenance_that_was_over_meanwhile_does_not_come_back(host):
    still = Standstill(host.layout, host)
    still.begin(CLOSING)
    record = still.record
    record["closing"] = {**vars(OPERATORS), "until": "2020-01-01T00:00:00+00:00"}
    host.layout.standstill.write_text(json.dumps(record))
    still.end()
    assert Switch(host.layout.home).closing() is None
