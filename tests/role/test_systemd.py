"""What systemctl prints, and for which start of a unit the journal is read."""

import json

import pytest
from ansible.module_utils.aroundtheworld import systemd
from ansible.module_utils.aroundtheworld.systemd import HostError, Systemd


def test_systemctl_that_fails_is_quoted_unless_that_does_not_matter():
    class Module:
        def run_command(self, command):
            return 1, "", "Unit x.service not found.\n"

    with pytest.raises(HostError, match=r"systemctl start x\.service failed: Unit x\.serv"):
        Systemd(Module()).call("start", "x.service")
    assert Systemd(Module()).call("start", "x.service", check=False) == ""


def test_properties_of_several_units_are_read_from_one_call():
    class Module:
        def run_command(self, command):
            assert command[-2:] == ["a.service", "b.socket"]
            output = "Id=a.service\nActiveState=active\n\nId=b.socket\nNeedDaemonReload=no\n"
            return 0, output, ""

    assert Systemd(Module()).show(["a.service", "b.socket"]) == {
        "a.service": {"Id": "a.service", "ActiveState": "active"},
        "b.socket": {"Id": "b.socket", "NeedDaemonReload": "no"},
    }


@pytest.mark.parametrize(
    ("code", "out", "error", "problem"),
    [
        (0, "    Next elapse: Fri 2026-11-27 03:00:00 UTC\n", "", ""),
        (0, "    Next elapse: never\n", "", "it never comes"),
        (1, "", "Failed to parse calendar specification\n", "Failed to parse calendar"),
    ],
)
def test_systemd_says_what_is_wrong_with_a_time(code, out, error, problem):
    class Module:
        def run_command(self, command, environ_update):
            assert command[-2:] == ["--", "-x"]  # no option
            return code, out, error

    found = Systemd(Module()).calendar("-x")
    assert found.startswith(problem)
    assert bool(found) is bool(problem)


@pytest.mark.parametrize(
    ("output", "elapse"),
    [
        (
            '[{"next":2000000000000000,"unit":"a.timer"},{"next":0,"unit":"b.timer"}]',
            {"a.timer": 2e9},
        ),
        ('[{"next":null,"unit":"a.timer"}]', {}),
        ("", {}),
        ("0 timers listed.", {}),
    ],
)
def test_systemd_says_when_timers_elapse(output, elapse):
    class Module:
        def run_command(self, command):
            return 0, output, ""

    assert Systemd(Module()).next_elapse(["a.timer"]) == elapse
    assert Systemd(None).next_elapse([]) == {}


@pytest.mark.parametrize(
    ("since", "starts", "expected"),
    [
        (None, ["old"], "now"),
        (5.0, ["old", "old", "new", "new", "new"], "new"),
        # A process that only just starts may have left a line or two.
        (5.0, ["older"] * 9 + ["old"] * 5 + ["new"], "old"),
        (5.0, [], "now"),
    ],
)
def test_the_journal_is_read_for_the_start_that_shows_the_failure(
    monkeypatch, since, starts, expected
):
    class Module:
        def run_command(self, command):
            if command[0] == "systemctl":
                return 0, "now\n", ""
            lines = [json.dumps({"_SYSTEMD_INVOCATION_ID": start}) for start in starts]
            return 0, "\n".join([*lines, '{"cut off', "{}"]), ""

    matches = []
    monkeypatch.setattr(systemd, "journal_lines", lambda found, lines: matches.extend(found) or "")
    Systemd(Module()).journal("shop@10001.service", since=since)
    assert matches == [f"_SYSTEMD_INVOCATION_ID={expected}", "+", f"INVOCATION_ID={expected}"]
