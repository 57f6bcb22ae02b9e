"""What systemctl prints."""

import pytest
from ansible.module_utils.aroundtheworld.systemd import HostError, Systemd


def test_systemctl_that_fails_is_quoted():
    class Module:
        def run_command(self, command):
            return 1, "", "Unit x.service not found.\n"

    with pytest.raises(HostError, match=r"systemctl start x\.service failed: Unit x\.serv"):
        Systemd(Module()).call("start", "x.service")


def test_properties_of_several_units_are_read_from_one_call():
    class Module:
        def run_command(self, command):
            assert command[-2:] == ["a.service", "b.socket"]
            said = "Id=a.service\nActiveState=active\n\nId=b.socket\nNeedDaemonReload=no\n"
            return 0, said, ""

    assert Systemd(Module()).show(["a.service", "b.socket"]) == {
        "a.service": {"Id": "a.service", "ActiveState": "active"},
        "b.socket": {"Id": "b.socket", "NeedDaemonReload": "no"},
    }
