"""The site goes, and the host is as if it had never come."""


def test_after_the_removal_there_is_no_difference(
    ansible_playbook, before, look, difference, neighbours_are_well, log_in
):
    run = ansible_playbook("--tags", "remove", "-earoundtheworld_remove_data=true")
    assert run.returncode == 0
    now = look()
    assert difference(now) == {}
    assert now["accounts"] == before["accounts"]
    neighbours_are_well(restarted=True)
    assert log_in("ada", "pwd") == "/home/ada\n"
