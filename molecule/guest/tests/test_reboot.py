"""After a reboot everybody on the host comes up, as before."""


def test_everything_comes_up(host, reboot, note_restarts, ask, neighbours_are_well):
    reboot()
    note_restarts()
    assert host.check_output("systemctl --failed --plain --no-legend") == ""
    assert (ask("/").status, ask("/admin").status) == (200, 200)
    neighbours_are_well()
